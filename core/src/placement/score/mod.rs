//! How good a placement is, 0 to [`MAX_SCORE`].
//!
//! A weighted mean of terms, each 0 to 1. Only terms that say something about the pod take part: a pod without devices is not
//! judged by devices.

use super::{
    fit::Placement,
    node::NodePlacement,
    reclaimed::{MAX_SCORE, Strategy},
    request::PodRequest,
};

/// What an operator may set.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScorePolicy {
    /// Which nodes are best for batch pods.
    pub reclaimed: Strategy,
}

/// Rank of a placement that [`fit`](super::fit()) found on the node.
pub fn score(
    node: &NodePlacement,
    request: &PodRequest,
    _placement: &Placement,
    policy: &ScorePolicy,
) -> u32 {
    request.reclaimed.map_or(MAX_SCORE / 2, |amount| {
        super::reclaimed::score(&node.reclaimed(), &amount, policy.reclaimed)
    })
}
