//! Sets of NUMA nodes with room, best first.
//!
//! All sets of a size are looked at while there are at most [`EXHAUSTIVE`], as on every machine with eight NUMA nodes; on larger ones each node
//! with those nearest to it.

use smallvec::SmallVec;

use super::room::Rooms;
use crate::placement::machine::{Machine, Mask};

/// Most sets of one size that are all looked at: every one of a machine with 8 NUMA nodes (at most 70), pairs up to 16 nodes.
const EXHAUSTIVE: usize = 128;

/// A set with room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) zones: Mask,
    /// Sockets where the pod cares, then distance between the nodes: sets with equal order are equally near.
    pub(super) order: (u32, u32),
    /// CPU that stays free, for or against the set.
    left: u64,
}

/// Sets of `count` that have room.
pub(super) fn best_first(machine: &Machine, rooms: &Rooms, count: usize) -> SmallVec<[Set; 4]> {
    let open: SmallVec<[usize; 8]> = (0..machine.zones().len())
        .filter(|at| rooms.at(*at).open)
        .collect();
    let mut sets = SmallVec::new();
    if count == 0 || count > open.len() {
        return sets;
    }
    let mut found = |zones: Mask| {
        if !rooms.holds(zones) {
            return;
        }
        let free = zones
            .iter()
            .fold(0_u64, |sum, at| sum.saturating_add(rooms.at(at).cpu));
        let sockets = if rooms.by_socket {
            machine.sockets(zones)
        } else {
            0
        };
        sets.push(Set {
            zones,
            order: (sockets, machine.spread(zones)),
            left: if rooms.roomiest {
                u64::MAX - free
            } else {
                free
            },
        });
    };
    if combinations(open.len(), count) <= EXHAUSTIVE {
        every(&open, count, Mask::EMPTY, &mut found);
    } else {
        for seed in &open {
            let mut near = open.clone();
            near.sort_by_key(|other| (other != seed, machine.distance(*seed, *other), *other));
            found(near.into_iter().take(count).collect());
        }
    }
    sets.sort_by_key(|set| (set.order, set.left, set.zones));
    sets.dedup();
    sets
}

fn every(open: &[usize], count: usize, chosen: Mask, found: &mut impl FnMut(Mask)) {
    if count == 0 {
        found(chosen);
        return;
    }
    let mut rest = open;
    while let Some((first, after)) = rest.split_first() {
        if rest.len() < count {
            return;
        }
        every(after, count - 1, chosen.with(*first), found);
        rest = after;
    }
}

/// How many sets there are; `usize::MAX` where that does not matter any more.
fn combinations(of: usize, count: usize) -> usize {
    let count = count.min(of.saturating_sub(count));
    (0..count)
        .try_fold(1_usize, |sets, step| {
            Some(sets.checked_mul(of - step)? / (step + 1))
        })
        .unwrap_or(usize::MAX)
}
