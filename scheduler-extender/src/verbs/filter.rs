//! Filter: the few best of the candidates that have room, or every candidate's reason when none has.

use std::borrow::Cow;

use katalyst_core::placement::reclaimed::score;
use katalyst_core::qos::Level;

use super::candidates::{CandidateError, names};
use crate::ledger::{NodeView, Rejection, Table, UnixMillis, fnv1a};
use crate::policy::Policy;
use crate::request::PodRequest;
use crate::wire::{ExtenderArgs, ExtenderFilterResult, FailedNodes, NodeList};

/// What filter found, by position in the list of candidates.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision<'a> {
    /// The candidates.
    pub names: Vec<Cow<'a, str>>,
    /// The best that fit, best first.
    pub chosen: Vec<usize>,
    /// Reasons, and whether preemption may help; complete only where nothing fits.
    pub rejected: Vec<(usize, Rejection, bool)>,
    /// The pod asks for nothing that is managed here: every candidate passes.
    pub pass_all: bool,
}

/// Decides about the candidates of a question.
pub fn filter<'a>(
    args: &'a ExtenderArgs<'_>,
    pod: &PodRequest,
    table: &Table,
    policy: &Policy,
    now: UnixMillis,
    stale_after: i64,
) -> Result<Decision<'a>, CandidateError> {
    let names = names(args)?;
    let Some(request) = pod.amount else {
        return Ok(Decision {
            names,
            pass_all: true,
            ..Decision::default()
        });
    };
    if pod.level != Level::Reclaimed {
        let rejected = (0..names.len())
            .map(|index| (index, Rejection::NotReclaimed, false))
            .collect();
        return Ok(Decision {
            names,
            rejected,
            ..Decision::default()
        });
    }
    let seed = fnv1a(pod.uid.as_bytes());
    let mut best = Best::new(policy.max_nodes);
    let mut rejected = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let cell = table.get(name.as_ref());
        let view = cell.map_or(NodeView::UNKNOWN, |cell| cell.view());
        match view.check(&request, now, stale_after) {
            Ok(node) => best.offer(
                score(&node, &request, policy.strategy),
                tie(cell.map_or(0, |cell| cell.hash), seed),
                index,
            ),
            Err(rejection) if best.is_empty() => {
                let resolvable =
                    policy.suggest_preemption && rejection.resolvable(&view, pod.priority);
                rejected.push((index, rejection, resolvable));
            }
            Err(_) => {}
        }
    }
    Ok(Decision {
        names,
        chosen: best.into_indices(),
        rejected,
        pass_all: false,
    })
}

/// Pods of one size see equal scores everywhere; without this all of them would be sent to the same nodes, and conflict there.
fn tie(node: u64, pod: u64) -> u64 {
    let mut mixed = node ^ pod.rotate_left(32);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

/// The highest few, kept sorted, best first.
struct Best {
    limit: usize,
    ranked: Vec<(u32, u64, usize)>,
}

impl Best {
    fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Self {
            limit,
            ranked: Vec::with_capacity(limit + 1),
        }
    }

    fn is_empty(&self) -> bool {
        self.ranked.is_empty()
    }

    fn offer(&mut self, score: u32, tie: u64, index: usize) {
        if self.ranked.len() == self.limit
            && self
                .ranked
                .last()
                .is_some_and(|last| (last.0, last.1) >= (score, tie))
        {
            return;
        }
        let at = self
            .ranked
            .partition_point(|kept| (kept.0, kept.1) > (score, tie));
        self.ranked.insert(at, (score, tie, index));
        self.ranked.truncate(self.limit);
    }

    fn into_indices(self) -> Vec<usize> {
        self.ranked.into_iter().map(|(_, _, index)| index).collect()
    }
}

impl<'a> Decision<'a> {
    /// True when at least one candidate may take the pod.
    pub fn feasible(&self) -> bool {
        self.pass_all || !self.chosen.is_empty()
    }

    /// The answer, in the form of the question: names to names, objects to objects.
    pub fn answer(&'a self, args: &'a ExtenderArgs<'_>) -> ExtenderFilterResult<'a> {
        let passing: Vec<usize> = if self.pass_all {
            (0..self.names.len()).collect()
        } else {
            self.chosen.clone()
        };
        let mut result = ExtenderFilterResult::default();
        match (&args.node_names, &args.nodes) {
            (None, Some(nodes)) => {
                let items = passing
                    .iter()
                    .filter_map(|index| nodes.items.get(*index).copied())
                    .collect();
                result.nodes = Some(NodeList { items });
            }
            _ => {
                result.node_names = Some(
                    passing
                        .iter()
                        .filter_map(|index| self.names.get(*index))
                        .map(AsRef::as_ref)
                        .collect(),
                );
            }
        }
        if passing.is_empty() {
            let reasons = |wanted: bool| {
                let listed = self
                    .rejected
                    .iter()
                    .filter(|(_, _, resolvable)| *resolvable == wanted);
                let named = listed.filter_map(|(index, rejection, _)| {
                    Some((self.names.get(*index)?.as_ref(), rejection.reason()))
                });
                FailedNodes(named.collect())
            };
            result.failed_nodes = reasons(true);
            result.failed_and_unresolvable_nodes = reasons(false);
        }
        result
    }
}
