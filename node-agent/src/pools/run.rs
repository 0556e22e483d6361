//! The loop: reads, plans, writes, tells.
//!
//! A pass runs when a pod comes or goes (between samples too), when the runtime is about to start one, every `interval`, and a second
//! after one that could not write everything. It works on what is known: without a complete list of pods there is no plan,
//! and what groups hold stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use katalyst_core::{
    cpu_set::CpuSet,
    pools::{PoolInput, PoolPlan, PoolPod, RefusalReason, plan_pools},
    topology::Topology,
};
use tokio::sync::watch;

use super::{
    config::PoolsConfig,
    inputs::{PodFacts, current, kubelet_cpus, pool_pod, taking_part},
    metrics::PoolMetrics,
    pass::Pass,
    view::PoolsView,
    wild::Wild,
};
use crate::{
    cgroup::{Controller, PodDir, PodUid, file::read},
    events::Events,
    hold::{Executor, Knob, Purpose},
    kubelet::Kubelet,
    notices::Notices,
    pods::{PodIndex, PodInfo},
    rebind::{Binder, BinderInput},
    reflex::Located,
    sample::{Sampler, Usage},
    topology,
};

/// Subject of the notice while there can be no pools.
const NOTICE_OFF: &str = "pools";

/// Time to the next try after a pass that could not write everything.
const RETRY_NANOS: u64 = 1_000_000_000;

/// State of the loop.
pub struct Pools {
    config: PoolsConfig,
    pub(super) notices: Notices,
    pub(super) metrics: PoolMetrics,
    pub(super) events: Option<Events>,
    pub(super) view: watch::Sender<Arc<PoolsView>>,
    topology: Topology,
    /// Text of `cpu/online` that the topology belongs to.
    online: Option<String>,
    plan: Option<PoolPlan>,
    /// Pods that the runtime starts and the API server has not told yet.
    only_runtime: BTreeMap<PodUid, PodInfo>,
    /// Refusals that an event told.
    pub(super) told: BTreeSet<(PodUid, RefusalReason)>,
    last_nanos: Option<u64>,
    /// Pods of the last pass.
    pods_seen: u64,
    /// A pod of the last pass had no group yet.
    waiting: bool,
    troubled: bool,
    /// Pods that ran before records began, and whose sets a pass has brought to what they should be: nothing of an earlier run is left in them, and
    /// their groups need not be listed at each pass.
    settled: BTreeSet<PodUid>,
    pub(super) binder: Binder,
    pub(super) wild: Wild,
}

/// What the reflex has measured.
#[derive(Clone, Copy)]
pub struct Sensed<'a> {
    /// Use in the last interval; `None` before the first.
    pub usage: Option<&'a Usage>,
    /// Knows where pods' pages are.
    pub sampler: &'a Sampler,
}

impl Pools {
    /// `events` tells owners about refused wishes.
    pub fn new(
        config: PoolsConfig,
        notices: Notices,
        metrics: PoolMetrics,
        events: Option<Events>,
    ) -> Self {
        let binder = Binder::new(config.rebind.clone(), metrics.rebind.clone());
        Self {
            binder,
            wild: Wild::default(),
            config,
            notices,
            metrics,
            events,
            view: watch::channel(Arc::default()).0,
            topology: Topology::default(),
            online: None,
            plan: None,
            only_runtime: BTreeMap::new(),
            told: BTreeSet::new(),
            last_nanos: None,
            pods_seen: 0,
            waiting: false,
            troubled: false,
            settled: BTreeSet::new(),
        }
    }

    /// What others see.
    pub fn view(&self) -> watch::Receiver<Arc<PoolsView>> {
        self.view.subscribe()
    }

    /// The runtime starts a pod. Until the API server tells of it, what its annotations say counts.
    pub fn meet(&mut self, index: &PodIndex, pod: PodInfo) {
        if index.get(&pod.uid).is_none() {
            self.only_runtime.insert(pod.uid.clone(), pod);
        }
        self.last_nanos = None;
    }

    /// The runtime ended a pod.
    pub fn part(&mut self, uid: &PodUid) {
        self.only_runtime.remove(uid);
        self.last_nanos = None;
    }

    /// The next look makes a pass.
    pub fn hurry(&mut self) {
        self.last_nanos = None;
    }

    /// Whether a pass is due.
    pub fn is_due(&self, now_nanos: u64, index: &PodIndex) -> bool {
        let Some(last) = self.last_nanos else {
            return true;
        };
        let interval = u64::try_from(self.config.interval.as_nanos()).unwrap_or(u64::MAX);
        let pause = if self.troubled {
            interval.min(RETRY_NANOS)
        } else {
            interval
        };
        self.waiting || now_nanos.saturating_sub(last) >= pause || pods_of(index) != self.pods_seen
    }

    /// Plans and writes.
    pub fn pass(
        &mut self,
        executor: &mut Executor,
        located: &Located,
        index: &PodIndex,
        sensed: Sensed<'_>,
        now_nanos: u64,
    ) {
        let usage = sensed.usage;
        let began = Instant::now();
        self.last_nanos = Some(now_nanos);
        self.pods_seen = pods_of(index);
        let off = Self::off(located);
        self.notices.put(NOTICE_OFF, off.clone());
        if off.is_some() || !index.synced {
            self.waiting = false;
            return;
        }
        let Ok(dirs) = located.kubepods.pods(&located.hierarchy) else {
            // The tree moved; the sampler finds it again.
            return;
        };
        let dirs: BTreeMap<PodUid, PodDir> =
            dirs.into_iter().map(|dir| (dir.uid.clone(), dir)).collect();
        // kubelet makes a pod's group before it asks for a sandbox and removes it at once at the end; the runtime tells of a removal minutes later.
        self.only_runtime
            .retain(|uid, _| index.get(uid).is_none() && dirs.contains_key(uid));
        self.read_topology();
        let kubelet = Kubelet::read(&self.config.root.join(relative(&self.config.kubelet)));
        let only_runtime = std::mem::take(&mut self.only_runtime);
        let pods = taking_part(index, &only_runtime, &dirs);
        self.waiting = pods
            .iter()
            .any(|seen| seen.dir.is_none() && !seen.info.terminating);

        let everyone = match kubelet.shared_cpus() {
            Some(shared) => shared.intersection(&self.topology.all_cpus()),
            None => self.topology.all_cpus(),
        };
        let reserved = self
            .config
            .reserved
            .clone()
            .or_else(|| kubelet.reserved.clone())
            .unwrap_or_default();
        self.settled
            .retain(|uid| pods.iter().any(|seen| &seen.info.uid == uid));
        let settled = std::mem::take(&mut self.settled);
        let pass = Pass {
            settled: &settled,
            hierarchy: &located.hierarchy,
            kubelet: &kubelet,
            everyone: &everyone,
            pods: &pods,
        };
        if self.config.isolate {
            let (hierarchy, plan) = (&located.hierarchy, self.plan.as_ref());
            self.wild
                .follow(hierarchy, &pods, plan, usage, now_nanos as f64 / 1e9);
        }
        let plan = self.plan(executor, &pass, &reserved, usage, now_nanos);
        self.rebind(executor, &pass, &plan, sensed.sampler, now_nanos);
        let settings = pass.settings(executor, &plan, &self.binder, usage);
        let execution = executor.execute(&located.hierarchy, Purpose::Pools, settings);
        self.binder.begun();
        self.troubled = !execution.problems.is_empty() || execution.pending;
        self.settled = if execution.acted && !self.troubled {
            pass.with_groups(executor)
        } else {
            settled.clone()
        };
        for change in execution.changes.iter().filter(|_| execution.acted) {
            tracing::info!(pod = %change.pod, group = %change.group.display(), file = change.knob.file(), from = change.from, to = change.to.trim(), "pool");
        }
        for uid in &plan.left_alone {
            executor.leave(&located.hierarchy, &PodUid::new(uid.as_str()));
        }
        executor.retain_groups(|group| {
            [Controller::Cpuset, Controller::Cpu]
                .into_iter()
                .any(|controller| located.hierarchy.dir(controller, group).exists())
        });
        self.tell(&pass, &plan);
        self.publish(&pass, &plan, reserved);
        self.plan = Some(plan);
        self.only_runtime = only_runtime;
        self.metrics
            .passed(began.elapsed().as_secs_f64(), execution.written);
    }

    /// Lets pods leave NUMA nodes that run out of memory. While pages move nothing is decided.
    fn rebind(
        &mut self,
        executor: &Executor,
        pass: &Pass<'_>,
        plan: &PoolPlan,
        sampler: &Sampler,
        now_nanos: u64,
    ) {
        if executor.moves_pages() {
            return;
        }
        let took = executor.last_move().unwrap_or_default();
        self.binder.measure(pass.hierarchy, took.as_secs_f64());
        if self.binder.is_due(&self.topology, now_nanos) {
            self.binder.decide(&BinderInput {
                topology: &self.topology,
                hierarchy: pass.hierarchy,
                pods: &pass.binder_pods(executor, plan, &self.topology),
                pages: &|uid| sampler.memory_nodes(uid),
                now_nanos,
            });
        }
    }

    /// Why there can be no pools on this node.
    fn off(located: &Located) -> Option<String> {
        let hierarchy = &located.hierarchy;
        if !hierarchy.has_cpuset() {
            return Some(format!(
                "the cpuset controller is not available in cgroup {}; pods are not placed",
                hierarchy.version()
            ));
        }
        let file = hierarchy
            .dir(Controller::Cpuset, located.kubepods.relative())
            .join(Knob::CpusetCpus.file());
        (!file.exists()).then(|| format!("{} is missing; pods are not placed", file.display()))
    }

    /// CPUs come and go; the machine is read again when the list of online ones changed.
    fn read_topology(&mut self) {
        let online = read(&self.config.root.join("sys/devices/system/cpu/online")).ok();
        if self.topology.cpus().next().is_none() || online != self.online {
            let (topology, notes) = topology::read(&self.config.root);
            topology::tell(&self.notices, &notes);
            self.topology = topology;
            self.online = online;
        }
    }

    fn plan(
        &self,
        executor: &Executor,
        pass: &Pass<'_>,
        reserved: &CpuSet,
        usage: Option<&Usage>,
        now_nanos: u64,
    ) -> PoolPlan {
        let wall = Timestamp::now();
        let pods: Vec<PoolPod> = pass
            .pods
            .iter()
            .map(|seen| {
                let uid = &seen.info.uid;
                pool_pod(PodFacts {
                    seen,
                    usage: usage.and_then(|usage| Some(usage.pods.get(uid)?.cpu)),
                    kubelet_cpus: kubelet_cpus(
                        pass.kubelet,
                        pass.hierarchy,
                        executor.records(),
                        seen,
                    ),
                    current: current(self.plan.as_ref(), pass.hierarchy, pass.everyone, seen),
                    runs_wild: self.wild.runs_wild(uid),
                    wall,
                })
            })
            .collect();
        let input = PoolInput {
            topology: &self.topology,
            reserved,
            pods: &pods,
            previous: self.plan.as_ref(),
            now_seconds: now_nanos as f64 / 1e9,
        };
        let began = Instant::now();
        let plan = plan_pools(&input, &self.config.params);
        let moved = self
            .plan
            .as_ref()
            .map_or(0, |before| pass.moved(before, &plan));
        self.metrics
            .planned(&plan, began.elapsed().as_secs_f64(), moved);
        plan
    }
}

/// A number that changes when pods come, go, or end.
fn pods_of(index: &PodIndex) -> u64 {
    let mut hasher = DefaultHasher::new();
    for pod in index.iter() {
        (pod.uid.as_str(), pod.finished).hash(&mut hasher);
    }
    hasher.finish()
}

/// A path below the root, given as an absolute one.
fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}
