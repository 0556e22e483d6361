//! Sets of NUMA nodes worth trying for a pod with CPUs of its own, best first.
//!
//! The order: fewest nodes, then (where wished first of all) fewest sockets, then the least sum of distances between them, then the least room left
//! over (best fit, so that large rooms stay whole for large pods), then the lowest numbers. Every set of a size is tried while there are at most [`EXHAUSTIVE`]; on
//! larger machines each node is tried with those nearest to it.

use std::cmp::Reverse;

use super::machine::Machine;

/// Most sets of one size that are all looked at: every one of a machine with 8 NUMA nodes (at most 70), and pairs up to 16 nodes.
const EXHAUSTIVE: usize = 128;

/// One NUMA node as a candidate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// Its place in the machine.
    pub(super) node: usize,
    /// CPUs it could give.
    pub(super) room: u32,
}

/// Sets of `count` of the candidates that together have room for `need` CPUs, best first.
pub(super) fn node_sets(
    machine: &Machine<'_>,
    candidates: &[Candidate],
    count: usize,
    need: u32,
    by_socket: bool,
) -> Vec<Vec<Candidate>> {
    let mut largest: Vec<u32> = candidates.iter().map(|candidate| candidate.room).collect();
    largest.sort_unstable_by_key(|room| Reverse(*room));
    let most: u32 = largest
        .iter()
        .take(count)
        .fold(0, |sum, room| sum.saturating_add(*room));
    if count == 0 || count > candidates.len() || most < need {
        return Vec::new();
    }
    let sets = if combinations(candidates.len(), count) <= EXHAUSTIVE {
        let mut sets = Vec::new();
        every_set(candidates, count, &mut Vec::new(), &mut sets);
        sets
    } else {
        neighbourhoods(machine, candidates, count)
    };
    let mut ranked: Vec<_> = sets
        .into_iter()
        .filter_map(|set| {
            let room = set
                .iter()
                .fold(0_u32, |sum, candidate| sum.saturating_add(candidate.room));
            let over = room.checked_sub(need)?;
            let sockets = if by_socket { sockets(machine, &set) } else { 0 };
            let ids: Vec<usize> = set.iter().map(|candidate| candidate.node).collect();
            Some(((sockets, spread(machine, &set), over, ids), set))
        })
        .collect();
    ranked.sort_by(|a, b| a.0.cmp(&b.0));
    ranked.dedup_by(|a, b| a.0 == b.0);
    ranked.into_iter().map(|(_, set)| set).collect()
}

fn every_set(
    rest: &[Candidate],
    count: usize,
    chosen: &mut Vec<Candidate>,
    sets: &mut Vec<Vec<Candidate>>,
) {
    if count == 0 {
        sets.push(chosen.clone());
        return;
    }
    let mut rest = rest;
    while let Some((first, after)) = rest.split_first() {
        if rest.len() < count {
            return;
        }
        chosen.push(*first);
        every_set(after, count - 1, chosen, sets);
        chosen.pop();
        rest = after;
    }
}

fn neighbourhoods(
    machine: &Machine<'_>,
    candidates: &[Candidate],
    count: usize,
) -> Vec<Vec<Candidate>> {
    candidates
        .iter()
        .map(|seed| {
            let mut near = candidates.to_vec();
            near.sort_by_key(|other| {
                let own = other.node != seed.node;
                (
                    own,
                    distance(machine, *seed, *other),
                    Reverse(other.room),
                    other.node,
                )
            });
            near.truncate(count);
            near.sort_by_key(|candidate| candidate.node);
            near
        })
        .collect()
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

fn sockets(machine: &Machine<'_>, set: &[Candidate]) -> usize {
    let mut sockets: Vec<_> = set
        .iter()
        .filter_map(|candidate| machine.nodes.get(candidate.node))
        .map(|node| node.socket)
        .collect();
    sockets.sort_unstable();
    sockets.dedup();
    sockets.len()
}

/// Sum of the distances both ways between all pairs.
fn spread(machine: &Machine<'_>, set: &[Candidate]) -> u64 {
    set.iter()
        .flat_map(|a| set.iter().map(move |b| (a, b)))
        .filter(|(a, b)| a.node != b.node)
        .map(|(a, b)| u64::from(distance(machine, *a, *b)))
        .sum()
}

fn distance(machine: &Machine<'_>, from: Candidate, to: Candidate) -> u32 {
    match (machine.nodes.get(from.node), machine.nodes.get(to.node)) {
        (Some(from), Some(to)) => machine.topology.distance(from.id, to.id),
        _ => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_sets() {
        assert_eq!(
            [(8, 4), (8, 1), (8, 8), (16, 2), (1024, 2), (1024, 512)]
                .map(|(of, count)| combinations(of, count)),
            [70, 8, 1, 120, 523_776, usize::MAX]
        );
    }
}
