//! How good a placement is, 0 to [`MAX_SCORE`].
//!
//! A weighted mean of terms, each 0 to 1, one policy a file. Only terms that say something about the pod take part: a pod without devices is not judged by devices. Each
//! taint that would rather not have the pod divides the score: by two for the first, by three for two.
//!
//! | term | says | default weight |
//! |---|---|---|
//! | [`amounts`] | how full the reclaimed offer is afterwards | 1 |
//! | [`balance`] | whether its CPU and memory run out together | 0 |
//! | [`numa`] | how full, how balanced, how many NUMA nodes | 1 |
//! | [`devices`] | how near, and what stays behind | 2 |
//! | [`load`] | how busy the machine is, and will be | 0 |
//!
//! With the defaults a batch pod is ranked by its amounts alone, as by Katalyst's plugin.

pub mod amounts;
pub mod balance;
pub mod devices;
pub mod load;
pub mod numa;
#[cfg(test)]
mod tests;

use super::{
    fit::{Placement, preferred_taints},
    node::NodePlacement,
    reclaimed::{MAX_SCORE, Strategy},
    request::PodRequest,
};
use amounts::Shape;
use numa::NumaStrategy;

/// What an operator sets by a flag.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScorePolicy {
    /// Which nodes are best for batch pods.
    pub reclaimed: Strategy,
}

/// All that can be set.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scoring {
    /// Which nodes are best for batch pods.
    pub reclaimed: Strategy,
    /// Scores by how full the offer is, instead of the strategy (Kubernetes' `RequestedToCapacityRatio`).
    pub shape: Option<Shape>,
    /// Which NUMA nodes are best for bound pods.
    pub numa: NumaStrategy,
    /// What each term weighs.
    pub weights: Weights,
}

impl From<&ScorePolicy> for Scoring {
    fn from(policy: &ScorePolicy) -> Self {
        Self {
            reclaimed: policy.reclaimed,
            ..Self::default()
        }
    }
}

/// What each term weighs; zero leaves it out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// See [`amounts`].
    pub amounts: f64,
    /// See [`balance`].
    pub balance: f64,
    /// See [`numa`].
    pub numa: f64,
    /// See [`devices`].
    pub devices: f64,
    /// See [`load`].
    pub load: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            amounts: 1.0,
            balance: 0.0,
            numa: 1.0,
            devices: 2.0,
            load: 0.0,
        }
    }
}

/// Rank of a placement that [`fit`](super::fit()) found on the node.
pub fn score(
    node: &NodePlacement,
    request: &PodRequest,
    placement: &Placement,
    policy: &ScorePolicy,
) -> u32 {
    rank(node, request, placement, &Scoring::from(policy))
}

/// As [`score`], with everything that can be set.
pub fn rank(
    node: &NodePlacement,
    request: &PodRequest,
    placement: &Placement,
    policy: &Scoring,
) -> u32 {
    let weights = &policy.weights;
    let offer = node.reclaimed();
    let amount = request.reclaimed.as_ref();
    let terms = [
        (
            weights.amounts,
            amount.and_then(|amount| amounts::term(&offer, amount, policy)),
        ),
        (
            weights.balance,
            amount.and_then(|amount| balance::term(&offer, amount)),
        ),
        (weights.numa, numa::term(node, placement, policy.numa)),
        (weights.devices, devices::term(placement)),
        (weights.load, Some(load::term(node.load()))),
    ];
    let (sum, all) = terms
        .into_iter()
        .filter_map(|(weight, term)| Some((weight.max(0.0), term?)))
        .fold((0.0, 0.0), |(sum, all), (weight, term)| {
            (sum + weight * term.clamp(0.0, 1.0), all + weight)
        });
    // Nothing to say: neither good nor bad.
    let mean = if all > 0.0 { sum / all } else { 0.5 };
    let tainted = 1.0 + preferred_taints(node, request) as f64;
    (mean / tainted * f64::from(MAX_SCORE)).round() as u32
}
