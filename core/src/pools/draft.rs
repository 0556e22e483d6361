//! A plan in the making: the pods with what each wants and got so far.

use std::cmp::Ordering;

use crate::cpu_set::CpuSet;
use crate::qos::{Level, NumaWish};

use super::dedicated::{Ask, Leave, No};
use super::held::{HeldPod, held_pod};
use super::machine::{Machine, Owner, cpus_for};
use super::{PoolInput, PoolParams, PoolPod, Refusal, RefusalReason, names};

/// What a pod wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want<'a> {
    /// Kubelet sees to it.
    LeftAlone,
    /// CPUs of its own.
    Dedicated,
    /// One NUMA node, in the pool of this name there.
    NumaShared(&'a str),
    /// The pool of this name.
    Shared(&'a str),
    /// Batch.
    Reclaimed,
    /// Batch within a NUMA node.
    ReclaimedNuma,
    /// Everything that nobody has to himself, or the pool of this name.
    System(Option<&'a str>),
}

/// What a pod got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Got {
    /// What follows from its level alone.
    Plain,
    /// Cores of its own ([`Owner::Pod`]).
    Cores {
        /// It had them before.
        kept: bool,
    },
    /// A place in this NUMA node.
    Node(usize),
    /// Not what it wanted.
    Refused,
}

/// One pod in the draft.
#[derive(Debug)]
pub(super) struct Planned<'a> {
    pub(super) pod: &'a PoolPod,
    pub(super) want: Want<'a>,
    pub(super) got: Got,
    pub(super) held: Option<HeldPod<'a>>,
}

/// A plan in the making.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) machine: Machine<'a>,
    pub(super) params: PoolParams,
    /// Oldest first, then by UID.
    pub(super) pods: Vec<Planned<'a>>,
    /// Places in `pods`, by UID; of pods with one UID the oldest first.
    pub(super) by_uid: Vec<usize>,
    pub(super) refused: Vec<Refusal>,
    /// Requests of services that have nothing of their own, in thousandths.
    pub(super) floating: u64,
}

impl<'a> Draft<'a> {
    pub(super) fn new(input: &PoolInput<'a>, params: &PoolParams) -> Self {
        let kubelet = input.pods.iter().fold(CpuSet::new(), |mut all, pod| {
            all.insert_all(&pod.kubelet_cpus);
            all
        });
        let machine = Machine::new(input.topology, input.reserved, &kubelet);
        let mut refused = Vec::new();
        let mut sorted: Vec<&PoolPod> = input.pods.iter().collect();
        sorted.sort_by(|a, b| a.uid.cmp(&b.uid).then_with(|| oldest_first(a, b)));
        // With the place among the UIDs, and whether there is but one of it.
        let mut by_age: Vec<(usize, bool, &PoolPod)> = Vec::with_capacity(sorted.len());
        for same in sorted.chunk_by(|a, b| a.uid == b.uid) {
            let unique = same.len() == 1 && same.iter().all(|pod| !pod.uid.is_empty());
            if let (false, Some(pod)) = (unique, same.first()) {
                refused.push(Refusal {
                    uid: pod.uid.clone(),
                    reason: RefusalReason::Uid,
                    needed: 0,
                    available: 0,
                });
            }
            for pod in same {
                by_age.push((by_age.len(), unique, *pod));
            }
        }
        // Stable: pods of one age stay in the order of their UIDs.
        by_age.sort_by(|(_, _, a), (_, _, b)| oldest_first(a, b));
        let mut by_uid = vec![0; by_age.len()];
        let mut pods: Vec<Planned<'a>> = Vec::with_capacity(by_age.len());
        for (rank, unique, pod) in by_age {
            if let Some(place) = by_uid.get_mut(rank) {
                *place = pods.len();
            }
            let (want, bad_name) = if unique {
                want(pod)
            } else {
                (Want::Shared(names::SHARE), false)
            };
            if bad_name {
                refused.push(refusal(pod, (RefusalReason::PoolName, 0)));
            }
            pods.push(Planned {
                pod,
                want,
                got: Got::Plain,
                held: held_pod(input, pod),
            });
        }
        let mut draft = Self {
            machine,
            params: *params,
            pods,
            by_uid,
            refused,
            floating: 0,
        };
        draft.floating = draft
            .pods
            .iter()
            .map(|planned| service_request(planned))
            .fold(0, u64::saturating_add);
        draft.floating = draft.floating.saturating_add(draft.system_beyond_reserve());
        draft
    }

    /// What system components request beyond the CPUs kept for them, in thousandths.
    pub(super) fn system_beyond_reserve(&self) -> u64 {
        let system = self
            .pods
            .iter()
            .filter(|planned| planned.want == Want::System(None));
        let requested = system
            .map(|planned| planned.pod.request.get())
            .fold(0, u64::saturating_add);
        requested.saturating_sub((self.machine.reserved.len() as u64).saturating_mul(1000))
    }

    /// What must be left to others when this pod's wish is considered.
    pub(super) fn leave_beside(&self, pod: &PoolPod) -> Leave {
        Leave {
            floating: self.floating.saturating_sub(pod.request.get()),
            minimum: self.params.minimum_cpus,
        }
    }

    /// What must be left to others when a pod whose request no longer floats takes more.
    pub(super) fn leave_beside_granted(&self) -> Leave {
        Leave {
            floating: self.floating,
            minimum: self.params.minimum_cpus,
        }
    }

    /// Gives cores to a pod for itself.
    pub(super) fn grant(&mut self, index: usize, cores: &[usize], kept: bool) {
        if let Some(planned) = self.pods.get_mut(index) {
            self.floating = self.floating.saturating_sub(planned.pod.request.get());
            planned.got = Got::Cores { kept };
            self.add(index, cores);
        }
    }

    /// Gives a pod more cores.
    pub(super) fn add(&mut self, index: usize, cores: &[usize]) {
        let Some(planned) = self.pods.get(index) else {
            return;
        };
        let dedicated = planned.want == Want::Dedicated;
        let exclusive = dedicated && is_exclusive(planned.pod);
        for core in cores {
            self.machine.give(*core, Owner::Pod(index));
            let node = self.machine.cores.get(*core).map(|core| core.node);
            if let Some(node) = node.and_then(|node| self.machine.nodes.get_mut(node)) {
                node.dedicated += u32::from(dedicated);
                node.exclusive = if exclusive {
                    Some(index)
                } else {
                    node.exclusive
                };
            }
        }
    }

    /// Takes back what a pod was given.
    pub(super) fn release(&mut self, index: usize) {
        let Some(planned) = self.pods.get_mut(index) else {
            return;
        };
        planned.got = Got::Plain;
        self.floating = self.floating.saturating_add(planned.pod.request.get());
        let dedicated = u32::from(planned.want == Want::Dedicated);
        let cores: Vec<(usize, usize)> = self
            .machine
            .cores
            .iter()
            .filter(|core| core.owner == Owner::Pod(index))
            .map(|core| (core.index, core.node))
            .collect();
        for (core, node) in cores {
            self.machine.give(core, Owner::Free);
            if let Some(node) = self.machine.nodes.get_mut(node) {
                node.dedicated -= dedicated;
                node.exclusive = node.exclusive.filter(|owner| *owner != index);
            }
        }
    }

    /// Notes that a wish is not met.
    pub(super) fn refuse(&mut self, index: usize, no: No) {
        if let Some(planned) = self.pods.get_mut(index) {
            planned.got = Got::Refused;
            self.refused.push(refusal(planned.pod, no));
        }
    }
}

fn refusal(pod: &PoolPod, (reason, available): No) -> Refusal {
    Refusal {
        uid: pod.uid.clone(),
        reason,
        needed: cpus_for(pod.request.get()),
        available,
    }
}

/// Seconds since a pod was created; what is not a number is new.
pub(super) fn age(pod: &PoolPod) -> f64 {
    if pod.age_seconds.is_nan() {
        0.0
    } else {
        pod.age_seconds
    }
}

fn oldest_first(a: &PoolPod, b: &PoolPod) -> Ordering {
    age(b).total_cmp(&age(a))
}

/// Whether a dedicated pod has its NUMA nodes to itself.
pub(super) fn is_exclusive(pod: &PoolPod) -> bool {
    pod.numa_binding && pod.numa_exclusive
}

/// What a service requests of CPUs that are shared until it has its own, in thousandths.
fn service_request(planned: &Planned<'_>) -> u64 {
    let request = planned.pod.request.get();
    match planned.want {
        Want::Reclaimed | Want::ReclaimedNuma | Want::System(None) => 0,
        Want::LeftAlone => beyond_kubelet(planned.pod),
        _ => request,
    }
}

/// What a pod with kubelet's CPUs requests for its other containers, in thousandths.
pub(super) fn beyond_kubelet(pod: &PoolPod) -> u64 {
    pod.request
        .get()
        .saturating_sub((pod.kubelet_cpus.len() as u64).saturating_mul(1000))
}

/// What a pod wants, and whether it named a pool that it cannot have.
fn want(pod: &PoolPod) -> (Want<'_>, bool) {
    let named = pod.wishes.cpuset_pool.as_deref();
    let bad = named.is_some_and(|name| !may_name(name, pod.level));
    let pool = named.filter(|_| !bad).unwrap_or(names::SHARE);
    let want = match pod.level {
        _ if !pod.kubelet_cpus.is_empty() => Want::LeftAlone,
        Level::Dedicated => return (Want::Dedicated, false),
        Level::Reclaimed if pod.numa_binding => return (Want::ReclaimedNuma, false),
        Level::Reclaimed => return (Want::Reclaimed, false),
        Level::Shared if pod.numa_binding => Want::NumaShared(pool),
        Level::Shared => Want::Shared(pool),
        Level::System => Want::System(named.filter(|_| !bad)),
    };
    (want, bad)
}

/// Whether a pod may name this pool: not one that the planner makes itself.
fn may_name(name: &str, level: Level) -> bool {
    let ours = [
        names::RESERVE,
        names::KUBELET,
        names::DEDICATED,
        names::RECLAIM,
        names::SYSTEM,
    ];
    let system = level == Level::System;
    !(name.is_empty() || name.contains(names::NUMA) || name.starts_with(names::ISOLATION))
        && (!ours.contains(&name) || system && (name == names::RESERVE || name == names::SYSTEM))
}

/// What a pod asks for that wants CPUs of its own.
pub(super) fn ask(pod: &PoolPod, machine: &Machine<'_>) -> Result<Ask, No> {
    let need = cpus_for(pod.request.get());
    if need == 0 {
        return Err((RefusalReason::NoRequest, machine.free()));
    }
    let fixed = fixed_nodes(pod, machine)?;
    let number = match pod.wishes.numa {
        // Nodes that are settled are as many as they are.
        NumaWish::Number(number) if number > 0 && fixed.is_none() => Some(number as usize),
        _ => None,
    };
    Ok(Ask {
        need,
        fixed,
        number,
        even: pod.wishes.distribute_evenly_across_numa,
        by_socket: pod.wishes.align_by_socket,
        exclusive: is_exclusive(pod),
    })
}

/// NUMA nodes with CPUs that were chosen for a pod, or that it asked for. Those without are for its memory only.
pub(super) fn fixed_nodes(pod: &PoolPod, machine: &Machine<'_>) -> Result<Option<Vec<usize>>, No> {
    let ((Some(named), _) | (None, NumaWish::Ids(named))) =
        (&pod.numa_bind_result, &pod.wishes.numa)
    else {
        return Ok(None);
    };
    let no = (RefusalReason::UnknownNuma, 0);
    let nodes: Option<Vec<usize>> = named.iter().map(|id| machine.node_index(id)).collect();
    let mut nodes = nodes.ok_or(no)?;
    nodes.retain(|node| !machine.cores_of(*node).is_empty());
    if nodes.is_empty() {
        Err(no)
    } else {
        Ok(Some(nodes))
    }
}
