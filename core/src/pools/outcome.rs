//! From the finished draft to the plan: CPUs and memory nodes of every pool and pod.

use std::collections::BTreeMap;

use crate::cpu_set::CpuSet;
use crate::qos::NumaSet;

use super::bound::place_reclaimed;
use super::draft::{Draft, Got, Planned, Want};
use super::held::bound_name;
use super::memory_nodes::{memory_of, nearest_memory};
use super::sets::{Sets, sets};
use super::sizing::{Shared, Tally, in_default, pool_of};
use super::{PodCpus, PodReason, Pool, PoolKind, PoolPlan, PoolReason, names};

/// The plan.
pub(super) fn finish(mut draft: Draft<'_>, shared: &Shared) -> PoolPlan {
    let mut sets = sets(&draft, shared);
    place_reclaimed(&mut draft, &sets.reclaim);
    let mut plan = PoolPlan::default();
    let mut placed: Vec<Option<(PodCpus, PodReason)>> = Vec::with_capacity(draft.pods.len());
    let mut tallies: BTreeMap<String, (PoolKind, Tally, CpuSet)> = BTreeMap::new();
    let names: BTreeMap<&str, usize> = shared
        .sized
        .iter()
        .enumerate()
        .map(|(index, pool)| (pool.name.as_str(), index))
        .collect();
    for (index, planned) in draft.pods.iter().enumerate() {
        let pod = planned.pod;
        let (cpus, reason, kind) = place_of(
            &draft,
            shared,
            &mut sets,
            &names,
            index,
            planned,
            is_new(&draft, planned),
        );
        if planned.want == Want::LeftAlone {
            plan.left_alone.insert(pod.uid.clone());
        }
        let counted = pool_of(&draft, planned).is_some() || in_default(planned);
        if !counted {
            let entry = tallies
                .entry(cpus.pool.clone())
                .or_insert_with(|| (kind, Tally::default(), CpuSet::new()));
            entry.1.add(pod.request, pod.usage);
            entry.2.insert_all(&cpus.cpus);
        }
        placed.push(Some((cpus, reason)));
    }
    // A map made of sorted entries is built as a whole; hundreds of insertions compare ten UIDs each. A UID met twice keeps its last place, as by insertion.
    let in_order = draft.by_uid.iter().filter_map(|index| {
        let uid = &draft.pods.get(*index)?.pod.uid;
        Some((uid.clone(), placed.get_mut(*index)?.take()?))
    });
    let (pods, reasons): (Vec<_>, Vec<_>) = in_order
        .map(|(uid, (cpus, reason))| ((uid.clone(), cpus), (uid, reason)))
        .unzip();
    plan.pods = pods.into_iter().collect();
    plan.reasons = reasons.into_iter().collect();
    for (name, (kind, tally, cpus)) in tallies {
        plan.pools
            .insert(name, pool(kind, cpus, tally, PoolReason::Pods));
    }
    fixed_pools(&draft, shared, &sets, &mut plan);
    let Draft { mut refused, .. } = draft;
    refused.sort_by(|a, b| (&a.uid, a.reason).cmp(&(&b.uid, b.reason)));
    plan.refused = refused;
    plan
}

fn is_new(draft: &Draft<'_>, planned: &Planned<'_>) -> bool {
    // Written so that what is not a number counts as new.
    let warm = planned.pod.age_seconds >= draft.params.ramp_up_seconds;
    !warm
}

/// Where a pod is, and why.
fn place_of(
    draft: &Draft<'_>,
    shared: &Shared,
    sets: &mut Sets,
    names: &BTreeMap<&str, usize>,
    index: usize,
    planned: &Planned<'_>,
    warming: bool,
) -> (PodCpus, PodReason, PoolKind) {
    let pod = planned.pod;
    let at = |pool: &str, cpus: &CpuSet, mems: Option<NumaSet>| PodCpus {
        pool: pool.to_owned(),
        cpus: cpus.clone(),
        mems,
    };
    let sized = |name: &str| {
        names
            .get(name)
            .and_then(|index| Some((shared.sized.get(*index)?, sets.sized.get(*index)?)))
    };
    let machine = &draft.machine;
    match (planned.want, &planned.got) {
        (Want::LeftAlone, _) => {
            let own = pod.kubelet_cpus.intersection(&machine.online);
            (
                at(
                    names::KUBELET,
                    if own.is_empty() { &sets.default } else { &own },
                    None,
                ),
                PodReason::Kubelet,
                PoolKind::Kubelet,
            )
        }
        (Want::Dedicated, Got::Cores { kept }) => {
            let cpus = sets.own.remove(&index).unwrap_or_default();
            let mems = pod
                .numa_binding
                .then(|| memory_of(machine, index, planned, &cpus))
                .flatten();
            let reason = if *kept {
                PodReason::DedicatedKept
            } else {
                PodReason::DedicatedNew
            };
            (
                at(names::DEDICATED, &cpus, mems),
                reason,
                PoolKind::Dedicated,
            )
        }
        (Want::Shared(_), Got::Cores { .. }) => {
            let cpus = sets.own.remove(&index).unwrap_or_default();
            (
                at(&format!("{}{}", names::ISOLATION, pod.uid), &cpus, None),
                PodReason::Isolated,
                PoolKind::Isolation,
            )
        }
        (Want::Reclaimed, _)
        | (Want::ReclaimedNuma, Got::Refused | Got::Plain | Got::Cores { .. }) => {
            let reason = if planned.got == Got::Refused {
                PodReason::Refused
            } else {
                PodReason::Reclaimed
            };
            (
                at(names::RECLAIM, &sets.reclaim, sets.reclaim_mems.clone()),
                reason,
                PoolKind::Reclaimed,
            )
        }
        (Want::ReclaimedNuma, Got::Node(node)) => {
            let id = machine.nodes.get(*node).map_or(0, |node| node.id);
            let there = machine
                .topology
                .numa_node(id)
                .map(|node| node.cpus.intersection(&sets.reclaim))
                .unwrap_or_default();
            let mems = nearest_memory(machine, &[id], None);
            (
                at(&bound_name(names::RECLAIM, id), &there, mems),
                PodReason::ReclaimedNuma,
                PoolKind::Reclaimed,
            )
        }
        (Want::NumaShared(name), Got::Node(node)) => {
            let id = machine.nodes.get(*node).map_or(0, |node| node.id);
            let name = bound_name(name, id);
            let cpus = sized(&name).map_or(&sets.default, |(_, cpus)| cpus);
            (
                at(&name, cpus, nearest_memory(machine, &[id], None)),
                PodReason::NumaShared,
                PoolKind::NumaShared,
            )
        }
        (Want::System(None), _) => (
            at(names::SYSTEM, &sets.system, None),
            PodReason::System,
            PoolKind::System,
        ),
        (Want::System(Some(names::RESERVE)), _) => {
            let cpus = if machine.reserved.is_empty() {
                &sets.system
            } else {
                &machine.reserved
            };
            (
                at(names::RESERVE, cpus, None),
                PodReason::System,
                PoolKind::Reserve,
            )
        }
        (Want::System(Some(name)), _) => match sized(name) {
            Some((pool, cpus)) => (at(name, cpus, None), PodReason::System, pool.kind),
            None if name == names::SHARE => (
                at(name, &sets.default, None),
                PodReason::System,
                PoolKind::Shared,
            ),
            None => (
                at(names::SYSTEM, &sets.system, None),
                PodReason::System,
                PoolKind::System,
            ),
        },
        (Want::Shared(name) | Want::NumaShared(name), got) => {
            let refused = *got == Got::Refused;
            match sized(name) {
                Some((pool, cpus)) => {
                    let reason = match (refused, warming) {
                        (true, _) => PodReason::Refused,
                        (false, true) => PodReason::RampUp,
                        (false, false) => PodReason::Named,
                    };
                    (
                        at(name, if warming { &sets.warm } else { cpus }, None),
                        reason,
                        pool.kind,
                    )
                }
                None => (
                    at(names::SHARE, &sets.default, None),
                    if refused {
                        PodReason::Refused
                    } else {
                        PodReason::Shared
                    },
                    PoolKind::Shared,
                ),
            }
        }
        (Want::Dedicated, _) => (
            at(names::SHARE, &sets.default, None),
            PodReason::Refused,
            PoolKind::Shared,
        ),
    }
}

/// Pools that exist whether pods are in them or not, and those with a size.
fn fixed_pools(draft: &Draft<'_>, shared: &Shared, sets: &Sets, plan: &mut PoolPlan) {
    let machine = &draft.machine;
    if machine.online.is_empty() {
        return;
    }
    if !machine.reserved.is_empty() {
        let reserve = plan
            .pools
            .entry(names::RESERVE.to_owned())
            .or_insert_with(|| {
                pool(
                    PoolKind::Reserve,
                    CpuSet::new(),
                    Tally::default(),
                    PoolReason::Configured,
                )
            });
        reserve.cpus.clone_from(&machine.reserved);
        reserve.reason = PoolReason::Configured;
    }
    let size = sets.default.len() as u32;
    let reason = match () {
        () if sets.default_overlaps => PoolReason::Overlap,
        () if size < shared.target => PoolReason::Short,
        () if shared.shrinking.is_some() => PoolReason::Holding,
        () => PoolReason::Remainder,
    };
    let mut default = pool(PoolKind::Shared, sets.default.clone(), shared.tally, reason);
    default.wanted = shared.target;
    default.shrinking = shared.shrinking;
    plan.pools.insert(names::SHARE.to_owned(), default);
    let sized = shared
        .sized
        .iter()
        .zip(&sets.sized)
        .filter(|(sized, _)| sized.kind != PoolKind::Reclaimed);
    for (sized, cpus) in sized {
        let reason = if sized.size == 0 && !sized.together {
            PoolReason::Overlap
        } else {
            sized.reason(draft.params.minimum_cpus)
        };
        let mut pool = pool(sized.kind, cpus.clone(), sized.tally, reason);
        pool.wanted = sized.target;
        pool.shrinking = sized.shrinking;
        plan.pools.insert(sized.name.clone(), pool);
    }
    let reason = if sets.reclaim_overlaps {
        PoolReason::Overlap
    } else {
        PoolReason::Remainder
    };
    let reclaim = plan
        .pools
        .entry(names::RECLAIM.to_owned())
        .or_insert_with(|| pool(PoolKind::Reclaimed, CpuSet::new(), Tally::default(), reason));
    reclaim.cpus.clone_from(&sets.reclaim);
    reclaim.reason = reason;
}

fn pool(kind: PoolKind, cpus: CpuSet, tally: Tally, reason: PoolReason) -> Pool {
    Pool {
        kind,
        wanted: cpus.len() as u32,
        cpus,
        pods: tally.pods,
        requested: tally.requested,
        used: tally.used,
        reason,
        shrinking: None,
    }
}
