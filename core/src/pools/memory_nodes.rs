//! Memory nodes of pods that are bound to NUMA nodes.
//!
//! A node without memory cannot stand in `cpuset.mems`, and one that a pod has to itself is nobody else's.

use crate::cpu_set::CpuSet;
use crate::qos::{NumaSet, NumaWish};

use super::draft::{Planned, fixed_nodes};
use super::machine::Machine;

/// Memory nodes of a bound dedicated pod: those chosen for it, else those of its CPUs.
pub(super) fn memory_of(
    machine: &Machine<'_>,
    index: usize,
    planned: &Planned<'_>,
    cpus: &CpuSet,
) -> Option<NumaSet> {
    let chosen = fixed_nodes(planned.pod, machine)
        .ok()
        .flatten()
        .and_then(|_| match &planned.pod.numa_bind_result {
            Some(nodes) => Some(nodes.iter().collect::<Vec<_>>()),
            None => match &planned.pod.wishes.numa {
                NumaWish::Ids(nodes) => Some(nodes.iter().collect()),
                _ => None,
            },
        });
    nearest_memory(
        machine,
        &chosen.unwrap_or_else(|| machine.topology.numa_of(cpus)),
        Some(index),
    )
}

/// Those of the nodes that have memory; where none has, the nearest node that has some and that no other pod has to itself. `None` where there is none.
pub(super) fn nearest_memory(
    machine: &Machine<'_>,
    nodes: &[u32],
    owner: Option<usize>,
) -> Option<NumaSet> {
    let with_memory = || {
        let nodes = machine.nodes.iter().filter(|node| node.memory);
        let own = nodes.filter(|node| node.exclusive.is_none() || node.exclusive == owner);
        own.map(|node| node.id)
    };
    NumaSet::from_ids(with_memory().filter(|id| nodes.contains(id))).or_else(|| {
        let nearest = with_memory().min_by_key(|id| {
            (
                nodes
                    .iter()
                    .map(|from| machine.topology.distance(*from, *id))
                    .min(),
                *id,
            )
        })?;
        NumaSet::from_ids([nearest])
    })
}
