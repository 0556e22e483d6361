//! Pods with CPUs of their own: what they keep from before, and what is found for new ones.
//!
//! A pod that has its CPUs moves only when some of them vanished, went to somebody with a stronger right (kubelet, the reserve), or are no longer what
//! it asks for. Where its request changed, cores are added or given up in its NUMA nodes; the others stay.

use std::collections::BTreeSet;

use crate::cpu_set::CpuSet;

use super::dedicated::{Ask, choose, leaves_enough, take_in_node};
use super::draft::{Draft, Got, Planned, Want, ask};
use super::held::is_plain;
use super::machine::{Core, Machine, Owner};
use super::names;

/// Keeps the CPUs of dedicated pods that have them.
pub(super) fn keep(draft: &mut Draft<'_>, plain: &BTreeSet<&CpuSet>) {
    for index in 0..draft.pods.len() {
        let Some(planned) = draft
            .pods
            .get(index)
            .filter(|planned| planned.want == Want::Dedicated)
        else {
            continue;
        };
        let Ok(ask) = ask(planned.pod, &draft.machine) else {
            continue;
        };
        let Some(cores) = kept(&draft.machine, planned, &ask, plain) else {
            continue;
        };
        draft.grant(index, &cores, true);
        if !complete(draft, index, &ask) {
            draft.release(index);
        }
    }
}

/// Takes CPUs back, from the youngest, where CPUs that went away would leave nothing at all to everybody else.
pub(super) fn leave_something(draft: &mut Draft<'_>) {
    for index in (0..draft.pods.len()).rev() {
        if draft.machine.free() > 0 || !draft.machine.reserved.is_empty() {
            return;
        }
        if draft
            .pods
            .get(index)
            .is_some_and(|planned| matches!(planned.got, Got::Cores { .. }))
        {
            draft.release(index);
        }
    }
}

/// Finds CPUs for a dedicated pod that has none.
pub(super) fn place(draft: &mut Draft<'_>, index: usize) {
    let Some(planned) = draft.pods.get(index) else {
        return;
    };
    let leave = draft.leave_beside(planned.pod);
    let chosen =
        ask(planned.pod, &draft.machine).and_then(|ask| choose(&draft.machine, &ask, leave));
    match chosen {
        Ok(cores) => draft.grant(index, &cores, false),
        Err(no) => draft.refuse(index, no),
    }
}

/// Cores that a pod keeps; fewer than it needs where some vanished or its request grew.
fn kept(
    machine: &Machine<'_>,
    planned: &Planned<'_>,
    ask: &Ask,
    plain: &BTreeSet<&CpuSet>,
) -> Option<Vec<usize>> {
    let held = planned.held?;
    let certain = held.pool == names::DEDICATED;
    if !certain && (!held.pool.is_empty() || is_plain(plain, held.cpus)) {
        return None;
    }
    let touched: Vec<&Core> = machine
        .cores
        .iter()
        .filter(|core| !core.cpus.is_disjoint(held.cpus))
        .collect();
    let mut nodes: Vec<usize> = touched.iter().map(|core| core.node).collect();
    nodes.dedup();
    let elsewhere = ask
        .fixed
        .as_ref()
        .is_some_and(|fixed| nodes.iter().any(|node| !fixed.contains(node)));
    if nodes.is_empty() || elsewhere || ask.number.is_some_and(|number| nodes.len() > number) {
        return None;
    }
    if ask.exclusive {
        return keep_nodes(machine, held.cpus, ask, &nodes, certain);
    }
    let usable: Vec<&Core> = touched
        .iter()
        .copied()
        .filter(|core| core.whole && core.owner == Owner::Free)
        .collect();
    let size: u32 = usable.iter().map(|core| core.width).sum();
    let widest = usable.iter().map(|core| core.width).max().unwrap_or(1);
    let unchanged = usable.len() == touched.len() && size as usize == held.cpus.len();
    let rounded = ask
        .need
        .saturating_add(widest.saturating_mul(nodes.len() as u32));
    if unchanged && size >= ask.need && size < rounded {
        return Some(usable.iter().map(|core| core.index).collect());
    }
    // After a lost state only an exact match is evidence; an even spread is chosen anew as a whole.
    if !certain || ask.even || ask.number.is_some() {
        return None;
    }
    let mut size = 0;
    let still_needed = usable.iter().take_while(|core| {
        let needed = size < ask.need;
        size += core.width;
        needed
    });
    Some(still_needed.map(|core| core.index).collect())
}

/// Whole NUMA nodes that a pod keeps to itself.
fn keep_nodes(
    machine: &Machine<'_>,
    held: &CpuSet,
    ask: &Ask,
    nodes: &[usize],
    certain: bool,
) -> Option<Vec<usize>> {
    let taken = |node: &usize| {
        machine
            .nodes
            .get(*node)
            .is_none_or(|node| node.kubelet || node.exclusive.is_some() || node.dedicated > 0)
    };
    if nodes.iter().any(taken)
        || ask
            .fixed
            .as_ref()
            .is_some_and(|fixed| fixed.len() != nodes.len())
    {
        return None;
    }
    let of = |node: &usize| {
        machine
            .cores_of(*node)
            .iter()
            .filter(|core| core.owner == Owner::Free)
    };
    let size: u32 = nodes.iter().flat_map(of).map(|core| core.width).sum();
    let smallest: u32 = nodes
        .iter()
        .map(|node| of(node).map(|core| core.width).sum())
        .min()
        .unwrap_or(0);
    // With one node less it would do too: its request shrank, or these were never its nodes.
    let too_many =
        ask.fixed.is_none() && ask.number.is_none() && size.saturating_sub(smallest) >= ask.need;
    if size < ask.need || too_many {
        return None;
    }
    let mut cpus = CpuSet::new();
    for core in nodes.iter().flat_map(of) {
        cpus.insert_all(&core.cpus);
    }
    (certain || cpus == *held).then(|| nodes.iter().flat_map(of).map(|core| core.index).collect())
}

/// Adds to the cores that a pod kept what it needs beside them, in the same NUMA nodes; false where there is not enough.
fn complete(draft: &mut Draft<'_>, index: usize, ask: &Ask) -> bool {
    let owned: Vec<&Core> = draft
        .machine
        .cores
        .iter()
        .filter(|core| core.owner == Owner::Pod(index))
        .collect();
    let mut missing = ask
        .need
        .saturating_sub(owned.iter().map(|core| core.width).sum());
    if missing == 0 || owned.is_empty() {
        return missing == 0;
    }
    let mut nodes: Vec<usize> = owned.iter().map(|core| core.node).collect();
    nodes.dedup();
    let mut added = Vec::new();
    for node in nodes {
        let room = draft
            .machine
            .nodes
            .get(node)
            .map_or(0, |node| node.free_whole);
        let taken = take_in_node(&draft.machine, node, 1, room.min(missing), &mut added);
        missing = missing.saturating_sub(taken.unwrap_or(0));
    }
    let leave = draft.leave_beside_granted();
    if missing > 0 || !leaves_enough(&draft.machine, &added, leave) {
        return false;
    }
    draft.add(index, &added);
    true
}
