//! What the binder remembers from decision to decision, and the decision itself.
//!
//! One move at a time: while the kernel moves pages nothing is decided. What was changed is remembered with its time, so that a pod is not changed
//! again within the cool-down; what was moved counts for an hour. Neither is kept over a restart: pods that an earlier run
//! moved are recognised by their groups, which hold fewer memory nodes than the records say they had, and their cool-down starts anew;
//! the hour's budget starts anew too, which the cool-down keeps from being spent on the same pods.

use std::collections::{BTreeMap, VecDeque};

use katalyst_core::{
    qos::NumaSet,
    rebind::{MemoryPod, NodeMemory, Rebind, RebindInput, RebindKind, RebindPlan, plan_rebind},
    topology::Topology,
    units::Bytes,
};

use super::{
    config::{RebindConfig, RebindPods},
    metrics::RebindMetrics,
    nodes::Nodes,
    pods::{BinderPod, Resident, read_resident, resident},
    view::{LastMove, NodeView, RebindView},
};
use crate::{
    cgroup::{Hierarchy, PodUid},
    kernel::memory_numa_stat,
    pools,
};

/// Length of the window in which bytes are counted.
const HOUR_SECONDS: f64 = 3_600.0;

/// A pod whose memory nodes were changed.
#[derive(Debug, Clone)]
struct Changed {
    /// What it may use; `None`: all nodes again.
    mems: Option<NumaSet>,
    at_seconds: f64,
}

/// A move that was decided and is not measured yet.
#[derive(Debug)]
struct UnderWay {
    uid: PodUid,
    name: String,
    group: std::path::PathBuf,
    change: Rebind,
    before: Resident,
    /// Its settings were handed to the executor.
    begun: bool,
}

/// The binder.
#[derive(Debug)]
pub struct Binder {
    config: RebindConfig,
    metrics: RebindMetrics,
    nodes: Nodes,
    last_nanos: Option<u64>,
    changed: BTreeMap<PodUid, Changed>,
    moved: VecDeque<(f64, Bytes)>,
    under_way: Option<UnderWay>,
    plan: RebindPlan,
    shown: Vec<NodeView>,
    last: Option<LastMove>,
}

/// What a decision follows from.
pub struct BinderInput<'a> {
    /// The machine.
    pub topology: &'a Topology,
    /// Its cgroups.
    pub hierarchy: &'a Hierarchy,
    /// Pods with a group.
    pub pods: &'a [BinderPod<'a>],
    /// A pod's pages on each node, as the sampler read them.
    pub pages: &'a dyn Fn(&PodUid) -> &'a [memory_numa_stat::NodeMemory],
    /// The monotonic clock.
    pub now_nanos: u64,
}

impl Binder {
    /// A binder that has changed nothing.
    pub fn new(mut config: RebindConfig, metrics: RebindMetrics) -> Self {
        config.params.move_shared = config.pods == RebindPods::All;
        Self {
            nodes: Nodes::new(config.root.clone()),
            config,
            metrics,
            last_nanos: None,
            changed: BTreeMap::new(),
            moved: VecDeque::new(),
            under_way: None,
            plan: RebindPlan::default(),
            shown: Vec::new(),
            last: None,
        }
    }

    /// Memory nodes of a pod: what the binder leaves of those that the plan gives.
    pub fn mems(&self, uid: &PodUid, planned: Option<&NumaSet>) -> Option<NumaSet> {
        let own = self
            .changed
            .get(uid)
            .and_then(|changed| changed.mems.as_ref());
        match (own, planned) {
            (Some(own), None) => Some(own.clone()),
            // The plan's nodes change with exclusive pods; where nothing is left, the plan knows better.
            (Some(own), Some(planned)) => {
                let both = own.iter().filter(|id| planned.contains(*id));
                NumaSet::from_ids(both).or_else(|| Some(planned.clone()))
            }
            (None, planned) => planned.cloned(),
        }
    }

    /// Whether a decision is due; never on a machine of one NUMA node.
    pub fn is_due(&self, topology: &Topology, now_nanos: u64) -> bool {
        let pause = u64::try_from(self.config.interval.as_nanos()).unwrap_or(u64::MAX);
        self.config.pods != RebindPods::Off
            && topology.numa_nodes().nth(1).is_some()
            && self
                .last_nanos
                .is_none_or(|last| now_nanos.saturating_sub(last) >= pause)
    }

    /// Decides. True when a pod's memory nodes change.
    pub fn decide(&mut self, input: &BinderInput<'_>) -> bool {
        let first = self.last_nanos.replace(input.now_nanos).is_none();
        let now = input.now_nanos as f64 / 1e9;
        self.changed
            .retain(|uid, _| input.pods.iter().any(|pod| pod.uid == uid));
        if first {
            self.adopt(input.pods, now);
        }
        if self.under_way.is_some() {
            return false;
        }
        while self
            .moved
            .front()
            .is_some_and(|(at, _)| now - at >= HOUR_SECONDS)
        {
            self.moved.pop_front();
        }
        let mut nodes = self.nodes.read(input.topology, input.now_nanos);
        for pod in input.pods.iter().filter(|pod| pod.exclusive) {
            let own = |node: &NodeMemory| pod.planned.is_some_and(|mems| mems.contains(node.id));
            for node in nodes.iter_mut().filter(|node| own(node)) {
                node.exclusive = true;
            }
        }
        self.shown = nodes
            .iter()
            .map(|node| NodeView::of(node, &self.config.params))
            .collect();
        let away = self.away();
        let quiet = away == 0 && !self.shown.iter().any(|node| node.hot);
        self.plan = if quiet {
            RebindPlan::default()
        } else {
            self.plan(input, &nodes, now)
        };
        let changed = self.take(input, now);
        self.metrics.decided(&self.plan, self.away());
        changed
    }

    fn plan(&self, input: &BinderInput<'_>, nodes: &[NodeMemory], now: f64) -> RebindPlan {
        let pods: Vec<MemoryPod> = input
            .pods
            .iter()
            .map(|pod| MemoryPod {
                uid: pod.uid.as_str().to_owned(),
                level: pod.level,
                bound: pod.bound,
                resident: resident((input.pages)(pod.uid)),
                mems: self.mems(pod.uid, pod.planned),
                changed_seconds: self.changed.get(pod.uid).map(|changed| changed.at_seconds),
            })
            .collect();
        let input = RebindInput {
            topology: input.topology,
            nodes,
            pods: &pods,
            moved: self.moved_in_hour(),
            now_seconds: now,
        };
        plan_rebind(&input, &self.config.params)
    }

    /// Makes the plan's releases and the first of its moves what the pods are to have.
    fn take(&mut self, input: &BinderInput<'_>, now: f64) -> bool {
        let mut taken = false;
        for change in self.plan.changes.clone() {
            let Some(pod) = input.pods.iter().find(|pod| pod.uid.as_str() == change.uid) else {
                continue;
            };
            if change.kind == RebindKind::Leave {
                if self.under_way.is_some() {
                    continue;
                }
                // The sampler's number may be half a minute old; what is gone since needs no move.
                let before = read_resident(input.hierarchy, pod.group).unwrap_or_default();
                let there = change.from.and_then(|from| before.get(&from)).copied();
                if there.is_none_or(|bytes| bytes < self.config.params.smallest) {
                    continue;
                }
                self.moved.push_back((now, change.bytes));
                self.under_way = Some(UnderWay {
                    uid: pod.uid.clone(),
                    name: pod.name.clone(),
                    group: pod.group.to_owned(),
                    change: change.clone(),
                    before,
                    begun: false,
                });
            }
            tell(pod, &change);
            self.metrics.changed(change.kind);
            let changed = Changed {
                mems: change.mems,
                at_seconds: now,
            };
            self.changed.insert(pod.uid.clone(), changed);
            taken = true;
        }
        taken
    }

    /// Pods that an earlier run moved.
    fn adopt(&mut self, pods: &[BinderPod<'_>], now: f64) {
        for pod in pods {
            let may = !pod.bound && pod.planned.is_none();
            if let Some(mems) = pod.held.clone().filter(|_| may) {
                tracing::info!(pod = pod.name, %mems, "an earlier run moved its memory");
                let changed = Changed {
                    mems: Some(mems),
                    at_seconds: now,
                };
                self.changed.insert(pod.uid.clone(), changed);
            }
        }
    }

    /// The executor has been given the pods' memory nodes.
    pub fn begun(&mut self) {
        if let Some(under_way) = &mut self.under_way {
            under_way.begun = true;
        }
    }

    /// No memory nodes are being written: what was under way is done, and is measured. `seconds`: how long the kernel took.
    pub fn measure(&mut self, hierarchy: &Hierarchy, seconds: f64) {
        let Some(UnderWay {
            uid,
            name,
            group,
            change,
            before,
            ..
        }) = self.under_way.take_if(|under_way| under_way.begun)
        else {
            return;
        };
        let left = |id: u32| change.mems.as_ref().is_some_and(|mems| !mems.contains(id));
        let moved = read_resident(hierarchy, &group).map(|after| {
            before
                .iter()
                .filter(|(id, _)| left(**id))
                .map(|(id, bytes)| *bytes - after.get(id).copied().unwrap_or_default())
                .sum::<Bytes>()
        });
        self.metrics.moved(moved.map_or(0, Bytes::get));
        tracing::info!(
            pod = name,
            planned = change.bytes.get(),
            moved = moved.map(Bytes::get),
            seconds,
            "memory moved"
        );
        self.last = Some(LastMove {
            pod: uid,
            name,
            from: change.from,
            mems: change.mems.map(pools::Nodes),
            planned: change.bytes,
            moved,
            seconds,
        });
    }

    fn away(&self) -> usize {
        let away = self.changed.values().filter(|of| of.mems.is_some());
        away.count()
    }

    fn moved_in_hour(&self) -> Bytes {
        self.moved.iter().map(|(_, bytes)| *bytes).sum()
    }

    /// What others see.
    pub fn view(&self) -> RebindView {
        let away = self.changed.iter().filter_map(|(uid, changed)| {
            let mems = changed.mems.clone()?;
            Some((uid.clone(), pools::Nodes(mems)))
        });
        RebindView {
            pods: self.config.pods.as_str(),
            nodes: self.shown.clone(),
            plan: self.plan.clone(),
            away: away.collect(),
            moved_in_hour: self.moved_in_hour(),
            under_way: self.under_way.as_ref().map(|of| of.uid.clone()),
            last: self.last.clone(),
        }
    }
}

fn tell(pod: &BinderPod<'_>, change: &Rebind) {
    let mems = change
        .mems
        .as_ref()
        .map_or("all".to_owned(), ToString::to_string);
    tracing::info!(
        pod = pod.name,
        kind = ?change.kind,
        from = change.from,
        mems,
        bytes = change.bytes.get(),
        cost_seconds = change.cost_seconds,
        relief_seconds = change.relief_seconds,
        "memory nodes change"
    );
}
