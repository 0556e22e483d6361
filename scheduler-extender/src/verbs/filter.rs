//! Filter: the few best of the candidates that can take the pod, or every candidate's reason when none can.

use std::sync::Arc;

use katalyst_core::placement::{NodePlacement, Placement, PodRequest as Wish, Unfit};
use parking_lot::Mutex;

use super::verdicts::{Memo, Verdict, Verdicts};
use crate::ledger::{NodeState, Rejection, Table, UnixMillis, fnv1a};
use crate::packing::{Cost, Packing, Ranking};
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

/// Nodes whose cost a question must know, or else compute: two values each, of some 50 us. As many again are computed after it.
const CLOSER: usize = 3;

/// One question: what was found about nodes for such a pod before, and how they rank.
pub(super) struct Inquiry<'a> {
    verdicts: Arc<Mutex<Verdicts>>,
    ranking: Option<Ranking<'a>>,
}

impl Judge<'_> {
    pub(super) fn inquire(&self, pod: &PodRequest) -> Inquiry<'_> {
        let epoch = self.packing.epoch();
        Inquiry {
            verdicts: self.memo.of(&pod.wish, epoch),
            ranking: self.packing.ranking(&pod.wish),
        }
    }

    /// How good a place is, without computing costs.
    fn glance(
        &self,
        node: &NodePlacement,
        wish: &Wish,
        placement: &Placement,
        ranking: Option<&Ranking<'_>>,
    ) -> Verdict {
        match ranking.map(|ranking| ranking.glance(node, placement)) {
            Some(Cost::Known(cost)) => Verdict::Fits(-(cost as f32)),
            Some(Cost::Guessed(cost)) => Verdict::Guessed(-(cost as f32)),
            None => {
                let score = katalyst_core::placement::score;
                Verdict::Fits(score(node, wish, placement, &self.policy.score) as f32)
            }
        }
    }

    /// The verdict about a node's state, whatever the time.
    fn verdict(&self, state: &NodeState, wish: &Wish, ranking: Option<&Ranking<'_>>) -> Verdict {
        match state.place(wish, UnixMillis::MIN, i64::MAX) {
            Ok(placement) => self.glance(&state.placement, wish, &placement, ranking),
            Err(rejection) => Verdict::Rejected(rejection),
        }
    }

    /// Whether the node's agent has been silent for too long for this pod.
    fn silent(&self, reported: UnixMillis) -> bool {
        reported != UnixMillis::MIN && self.now.saturating_sub(reported) > self.stale_after
    }

    /// Judges each candidate in turn.
    pub(super) fn each(
        &self,
        candidates: &[Candidate<'_>],
        pod: &PodRequest,
        inquiry: &Inquiry<'_>,
        mut take: impl FnMut(usize, Option<u32>, Verdict),
    ) {
        let mut verdicts = inquiry.verdicts.lock();
        let ranking = inquiry.ranking.as_ref();
        let needs_agent = pod.wish.needs_agent();
        let mut unknown = None;
        for (index, candidate) in candidates.iter().enumerate() {
            let mark = candidate
                .slot
                .and_then(|slot| Some((slot, self.table.mark(slot)?)));
            let verdict = match mark {
                None => *unknown
                    .get_or_insert_with(|| self.verdict(&NodeState::default(), &pod.wish, ranking)),
                Some((_, mark)) if needs_agent && self.silent(mark.reported()) => {
                    Verdict::Rejected(Rejection::Unfit(Unfit::Stale))
                }
                Some((slot, mark)) => verdicts.get(slot, mark.revision(), || {
                    let state = self.table.at(slot).map(|cell| cell.state());
                    let state = state.unwrap_or_default();
                    (state.revision, self.verdict(&state, &pod.wish, ranking))
                }),
            };
            take(index, mark.map(|(slot, _)| slot), verdict);
        }
    }

    /// The rank of a node that was guessed about; `None` where it does not fit any more.
    fn look_closer(&self, slot: u32, pod: &PodRequest, inquiry: &Inquiry<'_>) -> Option<f32> {
        let ranking = inquiry.ranking.as_ref()?;
        let state = self.table.at(slot)?.state();
        let placement = state.place(&pod.wish, UnixMillis::MIN, i64::MAX).ok()?;
        let rank = -(ranking.cost(&state.placement, &placement) as f32);
        let found = (state.revision, Verdict::Fits(rank));
        inquiry.verdicts.lock().put(slot, found);
        Some(rank)
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
    /// Positions in the table of the most promising nodes whose cost stayed a guess.
    pub later: Vec<u32>,
}

/// Decides about the candidates of a question.
pub fn filter(args: &ExtenderArgs<'_>, pod: &PodRequest, judge: &Judge<'_>) -> Decision {
    // Of a pod without wishes nothing but taints is judged, and whichever node it gets is as good as another here.
    let pass_all = pod.wish.is_plain();
    let seed = fnv1a(pod.uid.as_bytes());
    let mut best = Best::new(judge.policy.max_nodes);
    let mut guessed = Best::new(judge.policy.max_nodes);
    let mut passing = Vec::new();
    let mut rejected = Vec::new();
    let inquiry = judge.inquire(pod);
    let tie = |slot: Option<u32>| tie(slot.map_or(0, |slot| judge.table.hash(slot)), seed);
    judge.each(
        &args.candidates,
        pod,
        &inquiry,
        |index, slot, verdict| match verdict {
            Verdict::Fits(_) | Verdict::Guessed(_) if pass_all => passing.push(index),
            Verdict::Fits(rank) => best.offer(rank, || tie(slot), index),
            Verdict::Guessed(rank) => guessed.offer(rank, || tie(slot), index),
            Verdict::Rejected(rejection) if best.is_empty() && guessed.is_empty() => {
                let cell = slot.and_then(|slot| judge.table.at(slot));
                let lowest = cell.map_or(i32::MAX, |cell| cell.state().lowest_priority);
                let resolvable =
                    judge.policy.suggest_preemption && rejection.resolvable(lowest, pod.priority);
                rejected.push((index, rejection, resolvable));
            }
            Verdict::Rejected(_) => {}
        },
    );
    let mut guesses = guessed.into_indices();
    let slot_of = |index: usize| args.candidates.get(index).and_then(|each| each.slot);
    let missing = CLOSER.saturating_sub(best.len()).min(guesses.len());
    for index in guesses.drain(..missing).collect::<Vec<_>>() {
        let slot = slot_of(index);
        match slot.and_then(|slot| judge.look_closer(slot, pod, &inquiry)) {
            Some(rank) => best.offer(rank, || tie(slot), index),
            // Taken in between: bind looks again.
            None => guesses.push(index),
        }
    }
    let later = guesses.iter().take(CLOSER).copied().filter_map(slot_of);
    let later = later.collect();
    let mut chosen = best.into_indices();
    chosen.extend(guesses);
    chosen.truncate(judge.policy.max_nodes.max(1));
    Decision {
        chosen: if pass_all { passing } else { chosen },
        rejected,
        pass_all,
        later,
    }
}

/// Computes what the node at that position costs for such a pod, for the questions that follow.
pub fn look_closer(slot: u32, pod: &PodRequest, judge: &Judge<'_>) {
    judge.look_closer(slot, pod, &judge.inquire(pod));
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

    fn len(&self) -> usize {
        self.ranked.len()
    }

    /// `tie` is asked for only where it may decide.
    fn offer(&mut self, rank: f32, tie: impl FnOnce() -> u64, index: usize) {
        let full = self.ranked.len() == self.limit;
        let worse = |last: &(f32, u64, usize)| last.0.total_cmp(&rank).is_gt();
        if full && self.ranked.last().is_some_and(worse) {
            return;
        }
        let tie = tie();
        let better = |kept: &(f32, u64, usize)| {
            kept.0.total_cmp(&rank).then(kept.1.cmp(&tie)) == std::cmp::Ordering::Greater
        };
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
