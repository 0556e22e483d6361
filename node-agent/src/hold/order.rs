//! The order in which sets of CPUs (or memory nodes) of groups change, so that the kernel takes every write and no process is without a
//! CPU at any moment. Pure.
//!
//! Version 1 (`cgroup-v1/cpusets.rst`, `validate_change` in `kernel/cgroup/cpuset.c`): a group's set is part of its parent's (else EACCES), contains
//! those of its children (else EBUSY), and is not empty while processes are in the group (else ENOSPC). So a group with
//! groups below first gets what it has and what it shall have, parents before children; then each gets its own, children before parents.
//!
//! Version 2: what counts is the part of a group's set that its parent has, or all of the parent's where that is empty. Any order is
//! allowed; parents go first.
//!
//! Trees that only lose CPUs change before those that gain some: room is made before it is taken.

use std::path::PathBuf;

use katalyst_core::cpu_set::CpuSet;

use crate::cgroup::Version;

/// What one group has and shall have. `None` is "all of the parent's", which only version 2 knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    /// The group, relative to the mount.
    pub group: PathBuf,
    /// Its set now.
    pub current: Option<CpuSet>,
    /// Its set afterwards. In version 1 within the parent's, and of every group below that is given here a superset.
    pub target: Option<CpuSet>,
}

impl Move {
    fn gains(&self) -> bool {
        match (&self.current, &self.target) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(current), Some(target)) => !target.is_subset(current),
        }
    }
}

/// One write: the place of the group among the moves, and the set.
pub(super) type Step = (usize, Option<CpuSet>);

/// The writes, in order. `moves` must be sorted by group, so that a tree's groups stand together with parents first.
pub(super) fn order(version: Version, moves: &[Move]) -> Vec<Step> {
    let mut trees: Vec<std::ops::Range<usize>> = Vec::new();
    for (index, of) in moves.iter().enumerate() {
        match trees.last_mut() {
            Some(tree)
                if moves
                    .get(tree.start)
                    .is_some_and(|root| of.group.starts_with(&root.group)) =>
            {
                tree.end = index.saturating_add(1);
            }
            _ => trees.push(index..index.saturating_add(1)),
        }
    }
    trees.sort_by_key(|tree| moves.get(tree.start).is_some_and(Move::gains));
    let mut steps = Vec::new();
    for tree in trees {
        let groups: Vec<(usize, &Move)> = moves
            .iter()
            .enumerate()
            .skip(tree.start)
            .take(tree.len())
            .collect();
        match version {
            Version::V1 => tree_v1(&groups, &mut steps),
            Version::V2 => steps.extend(
                groups
                    .iter()
                    .filter(|(_, of)| of.current != of.target)
                    .map(|(index, of)| (*index, of.target.clone())),
            ),
        }
    }
    steps
}

fn tree_v1(groups: &[(usize, &Move)], steps: &mut Vec<Step>) {
    let all = CpuSet::new();
    let mut holds: Vec<CpuSet> = Vec::with_capacity(groups.len());
    for (place, (index, of)) in groups.iter().enumerate() {
        let current = of.current.clone().unwrap_or_default();
        let target = of.target.as_ref().unwrap_or(&all);
        let has_below = groups
            .get(place.saturating_add(1))
            .is_some_and(|(_, next)| next.group.starts_with(&of.group));
        if has_below && !target.is_subset(&current) {
            let both = current.union(target);
            steps.push((*index, Some(both.clone())));
            holds.push(both);
        } else {
            holds.push(current);
        }
    }
    for ((index, of), held) in groups.iter().zip(&holds).rev() {
        let target = of.target.as_ref().unwrap_or(&all);
        if target != held {
            steps.push((*index, Some(target.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> CpuSet {
        CpuSet::parse(text).unwrap()
    }

    fn moves(of: &[(&str, &str, &str)]) -> Vec<Move> {
        of.iter()
            .map(|(group, current, target)| Move {
                group: PathBuf::from(group),
                current: Some(set(current)),
                target: Some(set(target)),
            })
            .collect()
    }

    fn written(version: Version, moves: &[Move]) -> Vec<String> {
        order(version, moves)
            .into_iter()
            .map(|(index, to)| {
                let to = to.map(|to| to.to_string()).unwrap_or_default();
                format!("{}={to}", moves[index].group.display())
            })
            .collect()
    }

    #[test]
    fn a_pod_that_moves_keeps_its_containers_inside() {
        let moves = moves(&[("a", "0-1", "2-3"), ("a/x", "0-1", "2-3")]);
        assert_eq!(written(Version::V1, &moves), ["a=0-3", "a/x=2-3", "a=2-3"]);
        assert_eq!(written(Version::V2, &moves), ["a=2-3", "a/x=2-3"]);
    }

    #[test]
    fn room_is_made_before_it_is_taken() {
        let moves = moves(&[("a", "0-1", "0-2"), ("b", "0-3", "3"), ("b/x", "0-3", "3")]);
        assert_eq!(written(Version::V1, &moves), ["b/x=3", "b=3", "a=0-2"]);
    }

    #[test]
    fn what_is_right_is_not_written() {
        let moves = moves(&[("a", "0-1", "0-1"), ("a/x", "0", "0-1")]);
        assert_eq!(written(Version::V1, &moves), ["a/x=0-1"]);
    }

    #[test]
    fn a_name_that_begins_like_another_is_no_child_of_it() {
        let moves = moves(&[("a", "0-1", "2"), ("ab", "0-1", "2")]);
        assert_eq!(written(Version::V1, &moves), ["a=2", "ab=2"]);
    }
}
