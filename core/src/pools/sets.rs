//! From cores and their owners to sets of CPUs by who may use them.
//!
//! No set that a pod may end up with is empty: where nothing is left for a pool it runs on what the default pool has, where that has nothing on what nobody
//! has to himself, and at the very last on everything.

use std::collections::BTreeMap;

use crate::cpu_set::CpuSet;
use crate::qos::NumaSet;

use super::PoolKind;
use super::draft::{Draft, Want, is_exclusive};
use super::machine::{Machine, Owner};
use super::sizing::Shared;

/// CPUs by who may use them.
pub(super) struct Sets {
    /// The default pool.
    pub(super) default: CpuSet,
    pub(super) default_overlaps: bool,
    /// All that is not bound to a NUMA node, where pods of named pools warm up.
    pub(super) warm: CpuSet,
    /// Everything that nobody has to himself, reserved CPUs included.
    pub(super) system: CpuSet,
    pub(super) reclaim: CpuSet,
    pub(super) reclaim_overlaps: bool,
    /// Memory nodes of batch; `None`: all.
    pub(super) reclaim_mems: Option<NumaSet>,
    /// By place among the sized pools.
    pub(super) sized: Vec<CpuSet>,
    /// By place in the draft.
    pub(super) own: BTreeMap<usize, CpuSet>,
}

/// Sorts every CPU by who may use it.
pub(super) fn sets(draft: &Draft<'_>, shared: &Shared) -> Sets {
    let machine = &draft.machine;
    let mut sized = vec![CpuSet::new(); shared.sized.len()];
    let mut own: BTreeMap<usize, CpuSet> = BTreeMap::new();
    let mut default = CpuSet::new();
    let mut nobodys = CpuSet::new();
    let mut warm = CpuSet::new();
    let mut taken = CpuSet::new();
    for core in &machine.cores {
        match core.owner {
            Owner::Free => {
                default.insert_all(&core.cpus);
                warm.insert_all(&core.cpus);
            }
            Owner::Pool(pool) => {
                if let Some(cpus) = sized.get_mut(pool) {
                    cpus.insert_all(&core.cpus);
                }
                let bound = shared
                    .sized
                    .get(pool)
                    .is_none_or(|pool| pool.node.is_some() || pool.kind == PoolKind::Reclaimed);
                if !bound {
                    warm.insert_all(&core.cpus);
                }
            }
            Owner::Pod(pod) => {
                own.entry(pod).or_default().insert_all(&core.cpus);
                taken.insert_all(&core.cpus);
                continue;
            }
        }
        nobodys.insert_all(&core.cpus);
    }
    let system = machine
        .online
        .difference(&machine.kubelet)
        .difference(&taken);
    let last = |set: &CpuSet| first_of([set, &nobodys, &system, &machine.online]);
    let default_overlaps = default.is_empty();
    let default = last(&default);
    if warm.is_empty() {
        warm = default.clone();
    }
    for (cpus, pool) in sized
        .iter_mut()
        .zip(&shared.sized)
        .filter(|(cpus, pool)| cpus.is_empty() && pool.kind != PoolKind::Reclaimed)
    {
        *cpus = match pool.node {
            Some(node) => {
                let there = machine
                    .cores_of(node)
                    .iter()
                    .filter(|core| !matches!(core.owner, Owner::Pod(_)));
                let mut all = CpuSet::new();
                there.for_each(|core| all.insert_all(&core.cpus));
                first_of([&all, &default, &default, &default])
            }
            None => default.clone(),
        };
    }
    let mut reclaim = last(&nobodys);
    let mut reclaim_overlaps = nobodys.is_empty();
    if !draft.params.reclaimed_overlaps {
        let apart = shared
            .sized
            .iter()
            .position(|pool| pool.kind == PoolKind::Reclaimed);
        reclaim = apart
            .and_then(|index| sized.get(index))
            .cloned()
            .unwrap_or_default();
        reclaim_overlaps |= lend(
            machine,
            &mut reclaim,
            draft.params.reclaimed_minimum_cpus.max(1),
            &default,
        );
    }
    let exclusive: Vec<u32> = machine
        .nodes
        .iter()
        .filter(|node| node.exclusive.is_some())
        .map(|node| node.id)
        .collect();
    let mut reclaim_mems = None;
    if draft.params.reclaimed_on_exclusive {
        for (pod, cpus) in &own {
            let exclusive = draft.pods.get(*pod).is_some_and(|planned| {
                planned.want == Want::Dedicated && is_exclusive(planned.pod)
            });
            if exclusive {
                reclaim.insert_all(cpus);
            }
        }
    } else if !exclusive.is_empty() {
        let others = machine
            .nodes
            .iter()
            .filter(|node| node.memory && node.exclusive.is_none())
            .map(|node| node.id);
        reclaim_mems = NumaSet::from_ids(others);
    }
    Sets {
        default,
        default_overlaps,
        warm,
        system: last(&system),
        reclaim,
        reclaim_overlaps,
        reclaim_mems,
        sized,
        own,
    }
}

fn first_of<const N: usize>(sets: [&CpuSet; N]) -> CpuSet {
    sets.into_iter()
        .find(|set| !set.is_empty())
        .cloned()
        .unwrap_or_default()
}

/// Lets batch onto the last cores of the default pool where it has too few; whether it had to.
fn lend(machine: &Machine<'_>, reclaim: &mut CpuSet, minimum: u32, default: &CpuSet) -> bool {
    let mut size = reclaim.len() as u32;
    let lent = size < minimum;
    for core in machine
        .cores
        .iter()
        .rev()
        .filter(|core| core.owner == Owner::Free)
    {
        if size < minimum {
            reclaim.insert_all(&core.cpus);
            size += core.width;
        }
    }
    if reclaim.is_empty() {
        reclaim.insert_all(default);
    }
    lent
}
