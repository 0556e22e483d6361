//! Prioritize: 0 to 10 for each candidate.

use katalyst_core::placement::reclaimed::{MAX_SCORE, score};
use katalyst_core::qos::Level;

use super::candidates::{CandidateError, names};
use crate::ledger::{NodeView, Table, UnixMillis};
use crate::policy::Policy;
use crate::request::PodRequest;
use crate::wire::{ExtenderArgs, MAX_PRIORITY};

/// Scores the candidates of a question, in its order. A node that has filled up since filter scores zero.
pub fn prioritize<'a>(
    args: &'a ExtenderArgs<'_>,
    pod: &PodRequest,
    table: &Table,
    policy: &Policy,
    now: UnixMillis,
    stale_after: i64,
) -> Result<Vec<(std::borrow::Cow<'a, str>, u32)>, CandidateError> {
    let rank = |name: &str| {
        let Some(request) = pod.amount.filter(|_| pod.level == Level::Reclaimed) else {
            return 0;
        };
        let view = table
            .get(name)
            .map_or(NodeView::UNKNOWN, |cell| cell.view());
        view.check(&request, now, stale_after).map_or(0, |node| {
            to_protocol(score(&node, &request, policy.strategy))
        })
    };
    Ok(names(args)?
        .into_iter()
        .map(|name| {
            let rank = rank(&name);
            (name, rank)
        })
        .collect())
}

/// The nearest of the protocol's eleven steps.
fn to_protocol(score: u32) -> u32 {
    (score * MAX_PRIORITY + MAX_SCORE / 2) / MAX_SCORE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_span_the_protocols_range() {
        assert_eq!(
            [0, 4, 5, 50, 94, 95, 100].map(to_protocol),
            [0, 0, 1, 5, 9, 10, 10]
        );
    }
}
