//! A node with pods that come, change and go, planned after each event; what every plan must hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::cpu_set::CpuSet;
use crate::pools::{
    PodCpus, PodReason, Pool, PoolInput, PoolKind, PoolParams, PoolPlan, PoolPod, PoolReason,
    names, plan_pools,
};
use crate::qos::{CpuWishes, Level, NumaSet, NumaWish};
use crate::topology::Topology;
use crate::units::{Bytes, Millicpu};

use super::machines::without;

/// A pod that wishes nothing.
pub(super) fn pod(uid: &str, level: Level, millicpu: u64) -> PoolPod {
    PoolPod {
        uid: uid.to_owned(),
        level,
        request: Millicpu::new(millicpu),
        limit: None,
        usage: None,
        wishes: CpuWishes::default(),
        numa_binding: false,
        numa_exclusive: false,
        numa_bind_result: None,
        memory_request: Bytes::ZERO,
        age_seconds: 1000.0,
        runs_wild: false,
        kubelet_cpus: CpuSet::new(),
        current: None,
    }
}

/// A pod that is yet to come.
pub(super) fn any_pod() -> impl Strategy<Value = PoolPod> {
    let level = prop_oneof![
        4 => Just(Level::Shared),
        4 => Just(Level::Dedicated),
        2 => Just(Level::Reclaimed),
        1 => Just(Level::System)
    ];
    let request =
        prop_oneof![1 => Just(0), 6 => (1..40_u64).prop_map(|half| half * 500), 1 => 0..40_000_u64];
    let pool = prop_oneof![5 => Just(None), 3 => prop::sample::select(vec!["share-a", "share-b", "batchy"]).prop_map(|name| Some(name.to_owned()))];
    let numa = prop_oneof![
        6 => Just(NumaWish::Any),
        1 => (1..4_u32).prop_map(NumaWish::Number),
        1 => prop::collection::btree_set(0..6_u32, 1..3).prop_map(|ids| NumaWish::Ids(NumaSet::from_ids(ids).unwrap()))
    ];
    let chosen = prop_oneof![6 => Just(None), 1 => prop::collection::btree_set(0..6_u32, 1..3).prop_map(NumaSet::from_ids)];
    (
        level,
        request,
        pool,
        numa,
        chosen,
        any::<[bool; 6]>(),
        0..4000_u64,
    )
        .prop_map(
            |(
                level,
                request,
                pool,
                numa,
                numa_bind_result,
                [even, by_socket, binding, exclusive, private, limited],
                used,
            )| PoolPod {
                wishes: CpuWishes {
                    cpuset_pool: pool,
                    distribute_evenly_across_numa: even && by_socket,
                    align_by_socket: by_socket,
                    numa_private: private && even,
                    numa,
                    ..CpuWishes::default()
                },
                limit: limited.then(|| Millicpu::new(request * 2)),
                usage: (used > 100).then(|| Millicpu::new(used)),
                numa_binding: binding,
                numa_exclusive: exclusive && level == Level::Dedicated,
                numa_bind_result,
                ..pod("", level, request)
            },
        )
}

/// What happens on a node. Numbers choose among what there is.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Arrive(Box<PoolPod>),
    Leave(usize),
    Resize(usize, u64),
    Use(usize, u64),
    Wild(usize, bool),
    /// Time goes by.
    Wait(f64),
    /// Kubelet gives a pod exclusive CPUs, or takes them away.
    Kubelet(usize, Vec<u32>),
    /// CPUs go offline, all others come back.
    Offline(Vec<u32>),
    /// The agent starts again without its state.
    Restart,
}

pub(super) fn event(settled: bool) -> BoxedStrategy<Event> {
    let common = prop_oneof![
        8 => any_pod().prop_map(|pod| Event::Arrive(Box::new(pod))),
        4 => any::<usize>().prop_map(Event::Leave),
        2 => (any::<usize>(), 0..6000_u64).prop_map(|(pod, used)| Event::Use(pod, used)),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(pod, wild)| Event::Wild(pod, wild)),
        3 => (0.0..100.0_f64).prop_map(Event::Wait),
        2 => Just(Event::Restart)
    ];
    if settled {
        return common.boxed();
    }
    prop_oneof![
        20 => common,
        2 => (any::<usize>(), 0..20_000_u64).prop_map(|(pod, request)| Event::Resize(pod, request)),
        1 => (any::<usize>(), prop::collection::vec(0..64_u32, 0..4)).prop_map(|(pod, cpus)| Event::Kubelet(pod, cpus)),
        1 => prop::collection::vec(1..64_u32, 0..6).prop_map(Event::Offline)
    ]
    .boxed()
}

/// A node.
pub(super) struct World {
    whole: Topology,
    pub(super) topology: Topology,
    pub(super) reserved: CpuSet,
    pub(super) params: PoolParams,
    pub(super) pods: Vec<PoolPod>,
    pub(super) plan: Option<PoolPlan>,
    pub(super) now: f64,
    arrived: u32,
}

impl World {
    pub(super) fn new(topology: Topology, reserved: CpuSet, params: PoolParams) -> Self {
        let mut world = Self {
            whole: topology.clone(),
            topology,
            reserved,
            params,
            pods: Vec::new(),
            plan: None,
            now: 1000.0,
            arrived: 0,
        };
        // Every node runs some plain pod: a network agent, this one.
        world.arrive(pod("", Level::Shared, 100));
        world.pods[0].age_seconds = 1.0e6;
        world
    }

    pub(super) fn arrive(&mut self, pod: PoolPod) {
        // UIDs say nothing about age.
        let uid = format!(
            "{:02x}-{}",
            self.arrived.wrapping_mul(37) % 256,
            self.arrived
        );
        self.arrived += 1;
        self.pods.push(PoolPod {
            uid,
            age_seconds: 0.0,
            ..pod
        });
    }

    pub(super) fn input(&self) -> PoolInput<'_> {
        PoolInput {
            topology: &self.topology,
            reserved: &self.reserved,
            pods: &self.pods,
            previous: self.plan.as_ref(),
            now_seconds: self.now,
        }
    }

    /// Whether every core has the same number of CPUs that may be planned with.
    pub(super) fn has_equal_cores(&self) -> bool {
        let mut widths: BTreeMap<u32, u32> = BTreeMap::new();
        for cpu in self.topology.cpus() {
            let kubelets = self
                .pods
                .iter()
                .any(|pod| pod.kubelet_cpus.contains(cpu.id));
            let width = widths.entry(cpu.core).or_default();
            *width += u32::from(!kubelets && !self.reserved.contains(cpu.id));
        }
        let widths: BTreeSet<u32> = widths.into_values().filter(|width| *width > 0).collect();
        widths.len() <= 1
    }

    /// What the agent knows after a crash: no plan, and CPUs without names.
    pub(super) fn forgotten(&self) -> Vec<PoolPod> {
        let mut pods = self.pods.clone();
        for pod in &mut pods {
            if let Some(current) = &mut pod.current {
                current.pool.clear();
            }
        }
        pods
    }

    pub(super) fn happen(&mut self, event: &Event) {
        let count = self.pods.len();
        // The first pod stays as it is.
        let some = |index: usize| (count > 1).then(|| 1 + index % (count - 1));
        match event {
            Event::Arrive(pod) => self.arrive((**pod).clone()),
            Event::Leave(index) => {
                if let Some(index) = some(*index) {
                    self.pods.remove(index);
                }
            }
            Event::Resize(index, request) => {
                self.change(some(*index), |pod| pod.request = Millicpu::new(*request));
            }
            Event::Use(index, used) => {
                self.change(some(*index), |pod| pod.usage = Some(Millicpu::new(*used)));
            }
            Event::Wild(index, wild) => self.change(some(*index), |pod| pod.runs_wild = *wild),
            Event::Kubelet(index, cpus) => self.change(some(*index), |pod| {
                pod.kubelet_cpus = cpus.iter().copied().collect();
            }),
            Event::Offline(cpus) => {
                self.topology = without(&self.whole, &cpus.iter().copied().collect());
            }
            Event::Restart => {
                self.pods = self.forgotten();
                self.plan = None;
            }
            Event::Wait(seconds) => {
                self.now += seconds;
                for pod in &mut self.pods {
                    pod.age_seconds += seconds;
                }
            }
        }
    }

    fn change(&mut self, index: Option<usize>, change: impl FnOnce(&mut PoolPod)) {
        if let Some(pod) = index.and_then(|index| self.pods.get_mut(index)) {
            change(pod);
        }
    }

    /// Plans, checks the plan, and carries it out.
    pub(super) fn step(&mut self) -> Result<PoolPlan, TestCaseError> {
        let plan = plan_pools(&self.input(), &self.params);
        self.check(&plan)?;
        for pod in &mut self.pods {
            if !plan.left_alone.contains(&pod.uid) {
                pod.current = plan.pods.get(&pod.uid).cloned();
            }
        }
        self.plan = Some(plan.clone());
        Ok(plan)
    }

    /// What holds of every plan.
    fn check(&self, plan: &PoolPlan) -> Result<(), TestCaseError> {
        let online = self.topology.all_cpus();
        let kubelet: CpuSet = self
            .pods
            .iter()
            .flat_map(|pod| pod.kubelet_cpus.iter())
            .collect();
        let kubelet = kubelet.intersection(&online);
        let memory: Vec<u32> = self
            .topology
            .numa_nodes()
            .filter(|node| node.memory.get() > 0)
            .map(|node| node.id)
            .collect();
        prop_assert_eq!(plan.pods.len(), self.pods.len());
        for pod in &self.pods {
            let PodCpus { cpus, mems, .. } = &plan.pods[&pod.uid];
            prop_assert!(
                !cpus.is_empty() && cpus.is_subset(&online),
                "{} has no CPU or one that is not there: {cpus}",
                pod.uid
            );
            prop_assert!(
                mems.as_ref()
                    .is_none_or(|mems| mems.iter().all(|id| memory.contains(&id))),
                "{}: {mems:?} has no memory",
                pod.uid
            );
            let left_alone = plan.left_alone.contains(&pod.uid);
            prop_assert_eq!(left_alone, !pod.kubelet_cpus.is_empty());
            if !left_alone && kubelet != online {
                prop_assert!(
                    cpus.is_disjoint(&kubelet),
                    "{} is on kubelet's CPUs",
                    pod.uid
                );
            }
        }
        self.check_exclusive(plan, &kubelet)?;
        self.check_requests(plan)
    }

    fn check_exclusive(&self, plan: &PoolPlan, kubelet: &CpuSet) -> Result<(), TestCaseError> {
        for pod in &self.pods {
            let (own, reason) = (&plan.pods[&pod.uid], plan.reasons[&pod.uid]);
            let dedicated = matches!(reason, PodReason::DedicatedKept | PodReason::DedicatedNew);
            if !dedicated && reason != PodReason::Isolated {
                continue;
            }
            prop_assert!(own.cpus.is_disjoint(kubelet) && own.cpus.is_disjoint(&self.reserved));
            prop_assert!(
                own.cpus.len() as u64 * 1000 >= pod.request.get(),
                "{} has too few CPUs: {}",
                pod.uid,
                own.cpus
            );
            for other in self
                .pods
                .iter()
                .filter(|other| other.uid != pod.uid && !plan.left_alone.contains(&other.uid))
            {
                let theirs = &plan.pods[&other.uid].cpus;
                prop_assert!(
                    own.cpus.is_disjoint(theirs),
                    "{} and {} share {}",
                    pod.uid,
                    other.uid,
                    own.cpus.intersection(theirs)
                );
            }
            if dedicated && pod.numa_binding && pod.numa_exclusive {
                let nodes = self.topology.numa_of(&own.cpus);
                for other in self.pods.iter().filter(|other| other.uid != pod.uid) {
                    let theirs = plan.pods[&other.uid].cpus.difference(&self.reserved);
                    let met = self.topology.numa_of(&theirs);
                    prop_assert!(
                        !met.iter().any(|id| nodes.contains(id)),
                        "{} is on a NUMA node of {}",
                        other.uid,
                        pod.uid
                    );
                    let mems = &plan.pods[&other.uid].mems;
                    let elsewhere = self
                        .topology
                        .numa_nodes()
                        .any(|node| node.memory.get() > 0 && !nodes.contains(&node.id));
                    let held_off = other.level == Level::Reclaimed && other.kubelet_cpus.is_empty();
                    if held_off && elsewhere {
                        let others = plan
                            .reasons
                            .values()
                            .filter(|reason| {
                                matches!(reason, PodReason::DedicatedKept | PodReason::DedicatedNew)
                            })
                            .count();
                        prop_assert!(
                            others > 1
                                || mems
                                    .as_ref()
                                    .is_some_and(|mems| nodes.iter().all(|id| !mems.contains(*id))),
                            "batch {} may use memory of {nodes:?}",
                            other.uid
                        );
                    }
                }
            } else {
                for core in own.cpus.iter().filter_map(|id| self.topology.cpu(id)) {
                    prop_assert!(
                        self.topology.core_cpus(core.core).is_subset(&own.cpus),
                        "half a core for {}",
                        pod.uid
                    );
                }
            }
        }
        Ok(())
    }

    /// New exclusive CPUs never squeeze those who share below their requests; a pool apart has its requests or says that it is short.
    fn check_requests(&self, plan: &PoolPlan) -> Result<(), TestCaseError> {
        let new = |pod: &&PoolPod| {
            let held = self
                .plan
                .as_ref()
                .and_then(|plan| plan.pods.get(&pod.uid))
                .or(pod.current.as_ref());
            let kept = held.is_some_and(|held| held.cpus == plan.pods[&pod.uid].cpus);
            matches!(
                plan.reasons[&pod.uid],
                PodReason::DedicatedNew | PodReason::Isolated | PodReason::NumaShared
            ) && !kept
        };
        let floating = |pod: &&PoolPod| {
            pod.level != Level::Reclaimed
                && pod.level != Level::System
                && matches!(
                    plan.reasons[&pod.uid],
                    PodReason::Shared | PodReason::Named | PodReason::RampUp | PodReason::Refused
                )
        };
        let requested: u64 = self
            .pods
            .iter()
            .filter(floating)
            .map(|pod| pod.request.get())
            .sum();
        let mut shared = plan.pools[names::SHARE].cpus.clone();
        for pool in plan
            .pools
            .values()
            .filter(|pool| matches!(pool.kind, PoolKind::Named))
        {
            shared.insert_all(&pool.cpus);
        }
        if self
            .pods
            .iter()
            .any(|pod| plan.reasons[&pod.uid] == PodReason::DedicatedNew && new(&pod))
        {
            prop_assert!(
                shared.len() as u64 * 1000 >= requested,
                "{requested} millicpu are requested of {shared}"
            );
        }
        // Where nothing is left for the default pool, it and those together with it are on everybody's.
        let nothing_left = plan.pools[names::SHARE].reason == PoolReason::Overlap;
        let runs_with_others = |pool: &Pool| match pool.reason {
            PoolReason::Overlap => true,
            PoolReason::Together => nothing_left,
            _ => false,
        };
        for (name, pool) in &plan.pools {
            let apart = matches!(pool.kind, PoolKind::Named | PoolKind::NumaShared)
                && !matches!(
                    pool.reason,
                    PoolReason::Short | PoolReason::Together | PoolReason::Overlap
                );
            if apart {
                prop_assert!(
                    pool.cpus.len() as u64 * 1000 >= pool.requested.get(),
                    "{name} has {} for {}",
                    pool.cpus,
                    pool.requested
                );
                for (other, theirs) in &plan.pools {
                    let shares = matches!(
                        theirs.kind,
                        PoolKind::Named | PoolKind::NumaShared | PoolKind::Shared
                    ) && !runs_with_others(theirs);
                    prop_assert!(
                        !shares || name == other || pool.cpus.is_disjoint(&theirs.cpus),
                        "{name} and {other} meet"
                    );
                }
            }
        }
        Ok(())
    }
}

/// CPUs and memory nodes of each pod, without names and reasons.
pub(super) fn placed(plan: &PoolPlan) -> Vec<(&String, String, Option<String>)> {
    let text = |held: &PodCpus| {
        (
            held.cpus.to_string(),
            held.mems.as_ref().map(ToString::to_string),
        )
    };
    plan.pods
        .iter()
        .map(|(uid, held)| (uid, text(held).0, text(held).1))
        .collect()
}

/// The same, of what has to be found again after a lost state. Where pods of several pools warm up at once, the kernel does not tell which CPUs are whose: then only
/// dedicated pods. The same where batch has CPUs apart, since the border between it and the default pool is not on the record, and where cores are not equally wide, since
/// pools then settle over a few plans.
pub(super) fn settled(plan: &PoolPlan, apart: bool) -> Vec<(&String, String, Option<String>)> {
    let warming: BTreeSet<&str> = plan
        .pods
        .iter()
        .filter(|(uid, _)| {
            plan.reasons[*uid] == PodReason::RampUp
                || plan.refused.iter().any(|refusal| refusal.uid == **uid)
        })
        .map(|(_, held)| held.pool.as_str())
        .collect();
    // A bound pod that was refused looks bound where its named pool lies in one node.
    let apart = apart
        || plan.pods.iter().any(|(uid, held)| {
            plan.reasons[uid] == PodReason::Refused && held.pool != names::SHARE
        });
    let mut all = placed(plan);
    all.retain(|(uid, ..)| match plan.reasons[*uid] {
        PodReason::DedicatedKept | PodReason::DedicatedNew => true,
        // A pool for which nothing was left holds what plain pods hold, which is no evidence.
        PodReason::NumaShared => {
            let pool = &plan.pools[&plan.pods[*uid].pool];
            warming.len() <= 1 && !apart && pool.reason != PoolReason::Overlap
        }
        PodReason::RampUp | PodReason::Refused => false,
        _ => warming.len() <= 1 && !apart,
    });
    all
}
