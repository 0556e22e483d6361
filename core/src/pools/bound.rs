//! Pods bound to one NUMA node without CPUs of their own: shared ones, and batch.
//!
//! A shared pod stays in the NUMA node it is in. A new one goes to the scheduler's choice or among those it asks for, to where most is left; it must leave
//! those who float their requests, as a dedicated pod must. Batch has no guarantee to break, so it only needs CPUs there.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::cpu_set::CpuSet;

use super::RefusalReason;
use super::dedicated::{Leave, No, spare};
use super::draft::{Draft, Got, Planned, Want, fixed_nodes};
use super::held::is_plain;
use super::machine::{Bound, Machine, Node};
use super::names;

/// Keeps shared pods in their NUMA nodes.
pub(super) fn keep(draft: &mut Draft<'_>, plain: &BTreeSet<&CpuSet>) {
    for index in 0..draft.pods.len() {
        let Some(planned) = draft.pods.get(index) else {
            continue;
        };
        let Want::NumaShared(pool) = planned.want else {
            continue;
        };
        let node = held_node(&draft.machine, planned, pool, plain).filter(|node| {
            let allowed = fixed_nodes(planned.pod, &draft.machine);
            allowed.is_ok_and(|allowed| allowed.is_none_or(|allowed| allowed.contains(node)))
                && draft
                    .machine
                    .nodes
                    .get(*node)
                    .is_some_and(|node| node.free > 0)
        });
        if let Some(node) = node {
            bind(draft, index, pool, node);
        }
    }
}

/// Finds a NUMA node for a shared pod.
pub(super) fn place(draft: &mut Draft<'_>, index: usize) {
    let Some(planned) = draft.pods.get(index) else {
        return;
    };
    let Want::NumaShared(pool) = planned.want else {
        return;
    };
    match choose(
        &draft.machine,
        planned,
        pool,
        draft.leave_beside(planned.pod),
    ) {
        Ok(node) => bind(draft, index, pool, node),
        Err(no) => draft.refuse(index, no),
    }
}

fn held_node(
    machine: &Machine<'_>,
    planned: &Planned<'_>,
    pool: &str,
    plain: &BTreeSet<&CpuSet>,
) -> Option<usize> {
    let held = planned.held?;
    if !held.pool.is_empty() {
        let id = held.pool.strip_prefix(pool)?.strip_prefix(names::NUMA)?;
        return machine.node_index(id.parse().ok()?);
    }
    let room = (held.cpus.len() as u64).saturating_mul(1000);
    match machine.topology.numa_of(held.cpus).as_slice() {
        [id] if !is_plain(plain, held.cpus) && room >= planned.pod.request.get() => {
            machine.node_index(*id)
        }
        _ => None,
    }
}

fn choose(
    machine: &Machine<'_>,
    planned: &Planned<'_>,
    pool: &str,
    leave: Leave,
) -> Result<usize, No> {
    let allowed = fixed_nodes(planned.pod, machine)?;
    let request = planned.pod.request.get();
    let private = planned.pod.wishes.numa_private;
    let candidates = (0..)
        .zip(&machine.nodes)
        .filter(|(index, _)| {
            allowed
                .as_ref()
                .is_none_or(|allowed| allowed.contains(index))
        })
        .filter(|(_, node)| node.free > 0 && tolerates(node, pool, private));
    let left = |node: &Node| {
        let after = promised_with(node, pool, request, leave.minimum);
        node.free
            .checked_sub(after)
            .map(|left| (left, after - node.promised(leave.minimum)))
    };
    let most = candidates
        .clone()
        .map(|(_, node)| node.free.saturating_sub(node.promised(leave.minimum)))
        .max();
    let Some((_, more, node)) = candidates
        .filter_map(|(index, node)| left(node).map(|(left, more)| (left, more, index)))
        .max_by_key(|(left, _, index)| (*left, Reverse(*index)))
    else {
        return Err((RefusalReason::NoRoom, most.unwrap_or(0)));
    };
    let spare = spare(machine, leave);
    if spare < more {
        return Err((RefusalReason::SharedRequests, spare));
    }
    Ok(node)
}

/// Whether pods of this pool may be in a node beside those that are there.
fn tolerates(node: &Node, pool: &str, private: bool) -> bool {
    let others = node.bound.iter().filter(|bound| bound.pool != pool);
    if private {
        return node.dedicated == 0 && others.count() == 0;
    }
    others.clone().all(|bound| !bound.private)
}

fn promised_with(node: &Node, pool: &str, request: u64, minimum: u32) -> u32 {
    let there = node
        .bound
        .iter()
        .find(|bound| bound.pool == pool)
        .map(|bound| bound.requested);
    let before = there.map_or(0, |requested| node.size_for(requested, minimum));
    let after = node.size_for(there.unwrap_or(0).saturating_add(request), minimum);
    node.promised(minimum) - before + after
}

fn bind(draft: &mut Draft<'_>, index: usize, pool: &str, at: usize) {
    let (Some(planned), Some(node)) = (draft.pods.get_mut(index), draft.machine.nodes.get_mut(at))
    else {
        return;
    };
    let request = planned.pod.request.get();
    let private = planned.pod.wishes.numa_private;
    if let Some(bound) = node.bound.iter_mut().find(|bound| bound.pool == pool) {
        bound.requested = bound.requested.saturating_add(request);
        bound.private |= private;
    } else {
        node.bound.push(Bound {
            pool: pool.to_owned(),
            requested: request,
            private,
        });
    }
    planned.got = Got::Node(at);
    draft.floating = draft.floating.saturating_sub(request);
}

/// Gives each bound batch pod a NUMA node: where it is, where it must be, else where most is left for the requests there.
pub(super) fn place_reclaimed(draft: &mut Draft<'_>, reclaimed: &CpuSet) {
    let machine = &draft.machine;
    let mut left: Vec<i64> = machine
        .topology
        .numa_nodes()
        .map(|node| node.cpus.intersection(reclaimed).len() as i64 * 1000)
        .collect();
    let here: Vec<bool> = left.iter().map(|left| *left > 0).collect();
    let waiting: Vec<usize> = (0..)
        .zip(&draft.pods)
        .filter(|(_, planned)| planned.want == Want::ReclaimedNuma)
        .map(|(index, _)| index)
        .collect();
    let mut new = Vec::new();
    for index in waiting {
        let Some(planned) = draft.pods.get(index) else {
            continue;
        };
        let allowed = fixed_nodes(planned.pod, &draft.machine);
        let held = held_batch_node(&draft.machine, planned).filter(|node| {
            here.get(*node) == Some(&true) && matches!(&allowed, Ok(allowed) if allowed.as_ref().is_none_or(|allowed| allowed.contains(node)))
        });
        match (held, allowed) {
            (Some(node), _) => settle(draft, &mut left, index, node),
            (None, Ok(allowed)) => new.push((index, allowed)),
            (None, Err(no)) => draft.refuse(index, no),
        }
    }
    for (index, allowed) in new {
        let best = left
            .iter()
            .enumerate()
            .filter(|(node, _)| {
                here.get(*node) == Some(&true)
                    && allowed
                        .as_ref()
                        .is_none_or(|allowed| allowed.contains(node))
            })
            .max_by_key(|(node, left)| (**left, Reverse(*node)))
            .map(|(node, _)| node);
        match best {
            Some(node) => settle(draft, &mut left, index, node),
            None => draft.refuse(index, (RefusalReason::NoRoom, 0)),
        }
    }
}

fn settle(draft: &mut Draft<'_>, left: &mut [i64], index: usize, node: usize) {
    if let (Some(planned), Some(left)) = (draft.pods.get_mut(index), left.get_mut(node)) {
        *left = left.saturating_sub(i64::try_from(planned.pod.request.get()).unwrap_or(i64::MAX));
        planned.got = Got::Node(node);
    }
}

fn held_batch_node(machine: &Machine<'_>, planned: &Planned<'_>) -> Option<usize> {
    let held = planned.held?;
    if !held.pool.is_empty() {
        let id = held
            .pool
            .strip_prefix(names::RECLAIM)?
            .strip_prefix(names::NUMA)?;
        return machine.node_index(id.parse().ok()?);
    }
    match machine.topology.numa_of(held.cpus).as_slice() {
        [id] => machine.node_index(*id),
        _ => None,
    }
}
