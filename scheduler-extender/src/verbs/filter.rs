//! Filter: the few best of the candidates that can take the pod, or every candidate's reason when none can.

use katalyst_core::placement::{NodePlacement, Placement, PodRequest as Wish, Unfit};

use super::verdicts::{Memo, Verdict};
use crate::ledger::{NodeCell, NodeState, Rejection, Table, UnixMillis, fnv1a};
use crate::packing::Packing;
use crate::policy::Policy;
use crate::request::PodRequest;
use crate::wire::{Candidate, ExtenderArgs, ExtenderFilterResult, FailedNodes, NodeList};

/// What filter judges by, apart from the question.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// All nodes.
    pub table: &'a Table,
    /// What was found before.
    pub memo: &'a Memo,
    /// Ranks of nodes for pods with GPUs.
    pub packing: &'a Packing,
    /// What an operator set.
    pub policy: &'a Policy,
    /// The time.
    pub now: UnixMillis,
    /// Age in milliseconds beyond which a node's report counts for nothing.
    pub stale_after: i64,
}

impl Judge<'_> {
    /// How good a place is; the higher the better.
    fn rank(&self, node: &NodePlacement, wish: &Wish, placement: &Placement) -> f32 {
        if wish.wants_devices()
            && let Some(cost) = self.packing.cost(node, wish, placement)
        {
            return -(cost as f32);
        }
        katalyst_core::placement::score(node, wish, placement, &self.policy.score) as f32
    }

    /// The verdict about a node's state, whatever the time.
    fn verdict(&self, state: &NodeState, wish: &Wish) -> Verdict {
        match state.place(wish, UnixMillis::MIN, i64::MAX) {
            Ok(placement) => Verdict::Fits(self.rank(&state.placement, wish, &placement)),
            Err(rejection) => Verdict::Rejected(rejection),
        }
    }

    /// Whether the node's agent has been silent for too long for this pod.
    fn silent(&self, cell: &NodeCell, wish: &Wish) -> bool {
        let reported = cell.reported();
        reported != UnixMillis::MIN
            && self.now.saturating_sub(reported) > self.stale_after
            && wish.needs_agent()
    }

    /// Judges each candidate in turn.
    pub(super) fn each(
        &self,
        candidates: &[Candidate<'_>],
        pod: &PodRequest,
        mut take: impl FnMut(usize, Option<&NodeCell>, Verdict),
    ) {
        let memo = self.memo.of(&pod.wish, self.packing.epoch());
        let mut verdicts = memo.lock();
        let mut unknown = None;
        for (index, candidate) in candidates.iter().enumerate() {
            let cell = candidate.slot.and_then(|slot| self.table.at(slot));
            let verdict = match cell {
                None => {
                    *unknown.get_or_insert_with(|| self.verdict(&NodeState::default(), &pod.wish))
                }
                Some(cell) if self.silent(cell, &pod.wish) => {
                    Verdict::Rejected(Rejection::Unfit(Unfit::Stale))
                }
                Some(cell) => verdicts.get(cell.slot, cell.revision(), || {
                    let state = cell.state();
                    (state.revision, self.verdict(&state, &pod.wish))
                }),
            };
            take(index, cell.map(AsRef::as_ref), verdict);
        }
    }
}

/// What filter found, by position in the list of candidates.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The best that fit, best first.
    pub chosen: Vec<usize>,
    /// Reasons, and whether preemption may help; complete only where nothing fits.
    pub rejected: Vec<(usize, Rejection, bool)>,
    /// Placement has no preference: every candidate passes that is not rejected.
    pub pass_all: bool,
}

/// Decides about the candidates of a question.
pub fn filter(args: &ExtenderArgs<'_>, pod: &PodRequest, judge: &Judge<'_>) -> Decision {
    // Of a pod without wishes nothing but taints is judged, and whichever node it gets is as good as another here.
    let pass_all = pod.wish.is_plain();
    let seed = fnv1a(pod.uid.as_bytes());
    let mut best = Best::new(judge.policy.max_nodes);
    let mut passing = Vec::new();
    let mut rejected = Vec::new();
    judge.each(
        &args.candidates,
        pod,
        |index, cell, verdict| match verdict {
            Verdict::Fits(_) if pass_all => passing.push(index),
            Verdict::Fits(rank) => {
                let tie = tie(cell.map_or(0, |cell| cell.hash), seed);
                best.offer(rank, tie, index);
            }
            Verdict::Rejected(rejection) if best.is_empty() => {
                let lowest = cell.map_or(i32::MAX, |cell| cell.state().lowest_priority);
                let resolvable =
                    judge.policy.suggest_preemption && rejection.resolvable(lowest, pod.priority);
                rejected.push((index, rejection, resolvable));
            }
            Verdict::Rejected(_) => {}
        },
    );
    Decision {
        chosen: if pass_all {
            passing
        } else {
            best.into_indices()
        },
        rejected,
        pass_all,
    }
}

/// Pods of one size see equal ranks everywhere; without this all of them would be sent to the same nodes, and conflict there.
fn tie(node: u64, pod: u64) -> u64 {
    let mut mixed = node ^ pod.rotate_left(32);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

/// The highest few, kept sorted, best first.
struct Best {
    limit: usize,
    ranked: Vec<(f32, u64, usize)>,
}

impl Best {
    fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            ranked: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.ranked.is_empty()
    }

    fn offer(&mut self, rank: f32, tie: u64, index: usize) {
        let better = |kept: &(f32, u64, usize)| {
            kept.0.total_cmp(&rank).then(kept.1.cmp(&tie)) == std::cmp::Ordering::Greater
        };
        let full = self.ranked.len() == self.limit;
        if full && self.ranked.last().is_some_and(better) {
            return;
        }
        if self.ranked.last().is_none_or(better) {
            self.ranked.push((rank, tie, index));
        } else {
            let at = self.ranked.partition_point(better);
            self.ranked.insert(at, (rank, tie, index));
        }
        self.ranked.truncate(self.limit);
    }

    fn into_indices(self) -> Vec<usize> {
        self.ranked.into_iter().map(|(_, _, index)| index).collect()
    }
}

impl Decision {
    /// True when at least one candidate may take the pod.
    pub fn feasible(&self) -> bool {
        !self.chosen.is_empty()
    }

    /// The answer, in the form of the question: names to names, objects to objects.
    pub fn answer<'a>(&self, args: &'a ExtenderArgs<'_>) -> ExtenderFilterResult<'a> {
        let mut result = ExtenderFilterResult::default();
        if let Some(items) = &args.nodes {
            let items = self
                .chosen
                .iter()
                .filter_map(|index| items.get(*index).copied())
                .collect();
            result.nodes = Some(NodeList { items });
        } else {
            let name = |index: &usize| Some(args.candidates.get(*index)?.name.as_ref());
            result.node_names = Some(self.chosen.iter().filter_map(name).collect());
        }
        if !self.feasible() {
            let reasons = |wanted: bool| {
                let listed = self
                    .rejected
                    .iter()
                    .filter(|(_, _, resolvable)| *resolvable == wanted);
                let named = listed.filter_map(|(index, rejection, _)| {
                    Some((
                        args.candidates.get(*index)?.name.as_ref(),
                        rejection.reason(),
                    ))
                });
                FailedNodes(named.collect())
            };
            result.failed_nodes = reasons(true);
            result.failed_and_unresolvable_nodes = reasons(false);
        }
        result
    }
}
