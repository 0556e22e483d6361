//! Prioritize: 0 to 10 for each candidate.

use katalyst_core::packing::scores;
use katalyst_core::placement::MAX_SCORE;

use super::filter::Judge;
use super::verdicts::Verdict;
use crate::request::PodRequest;
use crate::wire::{ExtenderArgs, MAX_PRIORITY};

/// Scores the candidates of a question, in its order. A node that has filled up since filter scores zero.
pub fn prioritize(args: &ExtenderArgs<'_>, pod: &PodRequest, judge: &Judge<'_>) -> Vec<u32> {
    let mut verdicts = Vec::with_capacity(args.candidates.len());
    judge.each(
        &args.candidates,
        pod,
        &judge.inquire(pod),
        |_, _, verdict| verdicts.push(verdict),
    );
    // A guess is not compared with what is known: it counts only where nothing is.
    let known = (verdicts.iter()).any(|verdict| matches!(verdict, Verdict::Fits(_)));
    let ranks: Vec<Option<f32>> = verdicts
        .into_iter()
        .map(|verdict| match verdict {
            Verdict::Fits(rank) => Some(rank),
            Verdict::Guessed(rank) => (!known).then_some(rank),
            Verdict::Rejected(_) => None,
        })
        .collect();
    if pod.wish.wants_devices() && judge.packing.is_on() {
        return by_cost(&ranks);
    }
    ranks
        .into_iter()
        .map(|rank| rank.map_or(0, |rank| to_protocol(rank as u32)))
        .collect()
}

/// The cheapest alone gets the highest score: kube-scheduler draws among equals.
fn by_cost(ranks: &[Option<f32>]) -> Vec<u32> {
    let costs: Vec<f64> = ranks
        .iter()
        .flatten()
        .map(|rank| -f64::from(*rank))
        .collect();
    let mut scored = scores(&costs).into_iter();
    ranks
        .iter()
        .map(|rank| rank.and_then(|_| scored.next()).unwrap_or(0))
        .collect()
}

/// The nearest of the protocol's eleven steps.
fn to_protocol(score: u32) -> u32 {
    (score.min(MAX_SCORE) * MAX_PRIORITY + MAX_SCORE / 2) / MAX_SCORE
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

    #[test]
    fn who_does_not_fit_scores_nothing_and_the_cheapest_alone_ten() {
        assert_eq!(
            by_cost(&[Some(-3.0), None, Some(-1.0), Some(-1.5)]),
            [0, 0, 10, 6]
        );
    }
}
