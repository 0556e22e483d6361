//! What pods and pools hold before a plan: from the plan that stands, else from the kernel.
//!
//! The kernel keeps CPUs and memory nodes but no names. After a lost state a pod's CPUs are therefore a *claim*, believed only where no plan of ours would have
//! given them for another reason. A set that plain shared pods hold too is the shared pool, not a pod's own.

use std::collections::{BTreeMap, BTreeSet};

use crate::cpu_set::CpuSet;

use super::draft::{Planned, Want, fixed_nodes};
use super::machine::Machine;
use super::{PodCpus, PoolInput, PoolKind, PoolPod, Shrinking, names};

/// What one pod holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldPod<'a> {
    pub(super) cpus: &'a CpuSet,
    /// Empty where unknown.
    pub(super) pool: &'a str,
}

/// What one sized pool holds.
#[derive(Debug, Default)]
pub(super) struct HeldPool {
    pub(super) cpus: CpuSet,
    pub(super) shrinking: Option<Shrinking>,
}

/// What a pod holds: as last planned, else as its cgroup says.
pub(super) fn held_pod<'a>(input: &PoolInput<'a>, pod: &'a PoolPod) -> Option<HeldPod<'a>> {
    let planned = input.previous.and_then(|plan| plan.pods.get(&pod.uid));
    let PodCpus { pool, cpus, .. } = planned.or(pod.current.as_ref())?;
    Some(HeldPod { cpus, pool })
}

/// Sets that plain shared pods hold, where claims have to be told from them.
pub(super) fn plain_sets<'a>(pods: &[Planned<'a>]) -> BTreeSet<&'a CpuSet> {
    let claims = |planned: &Planned<'_>| {
        planned.held.is_some_and(|held| held.pool.is_empty())
            && matches!(
                planned.want,
                Want::Dedicated | Want::NumaShared(_) | Want::Shared(_)
            )
    };
    if !pods.iter().any(claims) {
        return BTreeSet::new();
    }
    pods.iter()
        .filter(|planned| {
            matches!(planned.want, Want::Shared(names::SHARE)) && !planned.pod.runs_wild
        })
        .filter_map(|planned| Some(planned.held?.cpus))
        .collect()
}

/// Whether a set is the shared pool, or a pool's together with it: nobody with CPUs of his own meets plain shared pods on them.
pub(super) fn is_plain(plain: &BTreeSet<&CpuSet>, cpus: &CpuSet) -> bool {
    plain.iter().any(|set| set.is_subset(cpus))
}

/// What the default pool and each sized pool holds, by name.
pub(super) fn held_pools(
    input: &PoolInput<'_>,
    machine: &Machine<'_>,
    pods: &[Planned<'_>],
    plain: &BTreeSet<&CpuSet>,
) -> BTreeMap<String, HeldPool> {
    let Some(previous) = input.previous else {
        return witnessed(machine, pods, plain);
    };
    previous
        .pools
        .iter()
        .filter(|(name, pool)| match pool.kind {
            PoolKind::Named | PoolKind::NumaShared | PoolKind::Shared => true,
            PoolKind::System => name.as_str() != names::SYSTEM,
            _ => false,
        })
        .map(|(name, pool)| {
            let held = HeldPool {
                cpus: pool.cpus.clone(),
                shrinking: pool.shrinking,
            };
            (name.clone(), held)
        })
        .collect()
}

/// What the pods say of their pools: the CPUs that all of a pool's pods hold, without those that another pool's pods hold to themselves.
fn witnessed(
    machine: &Machine<'_>,
    pods: &[Planned<'_>],
    plain: &BTreeSet<&CpuSet>,
) -> BTreeMap<String, HeldPool> {
    let mut common: BTreeMap<String, CpuSet> = BTreeMap::new();
    // A pod that runs wild may have been isolated; others of its pool know better.
    let (wild, tame): (Vec<_>, Vec<_>) = pods.iter().partition(|planned| planned.pod.runs_wild);
    let mut certain = BTreeSet::new();
    for planned in tame.into_iter().chain(wild) {
        let Some(held) = planned.held else { continue };
        let name = match planned.want {
            Want::Shared(name) | Want::System(Some(name)) => name.to_owned(),
            Want::NumaShared(name) => match machine.topology.numa_of(held.cpus).as_slice() {
                [node] if !is_plain(plain, held.cpus) && may_be_in(machine, planned, *node) => {
                    bound_name(name, *node)
                }
                _ => name.to_owned(),
            },
            _ => continue,
        };
        if !planned.pod.runs_wild {
            certain.insert(name.clone());
        } else if certain.contains(&name) {
            continue;
        }
        common
            .entry(name)
            .and_modify(|cpus| *cpus = cpus.intersection(held.cpus))
            .or_insert_with(|| held.cpus.clone());
    }
    let everything = machine.cpus_where(|_| true);
    let own: BTreeMap<&String, CpuSet> = common
        .iter()
        .map(|(name, cpus)| {
            // While a pool's pods warm up they hold other pools' CPUs too.
            let own = common
                .iter()
                .filter(|(other, set)| *other != name && set.len() < cpus.len())
                .fold(cpus.clone(), |own, (_, set)| own.difference(set));
            // Whoever holds everything says nothing.
            let nothing = everything.is_subset(&own) && name != names::SHARE;
            (name, if nothing { CpuSet::new() } else { own })
        })
        .collect();
    let pools = own.iter().map(|(name, cpus)| {
        // Pools whose pods all warm up cannot be told apart; they are chosen anew, in the same order.
        let alone = own
            .iter()
            .all(|(other, set)| other == name || set.is_disjoint(cpus));
        let held = HeldPool {
            cpus: if alone { cpus.clone() } else { CpuSet::new() },
            shrinking: None,
        };
        ((*name).clone(), held)
    });
    pools.collect()
}

/// Whether a bound pod's own wishes allow it a NUMA node.
fn may_be_in(machine: &Machine<'_>, planned: &Planned<'_>, node: u32) -> bool {
    let index = machine.node_index(node);
    fixed_nodes(planned.pod, machine).is_ok_and(|fixed| {
        fixed.is_none_or(|fixed| index.is_some_and(|index| fixed.contains(&index)))
    })
}

/// Name of a pool of services bound to a NUMA node.
pub(super) fn bound_name(pool: &str, node: u32) -> String {
    format!("{pool}{}{node}", names::NUMA)
}
