//! How full the reclaimed offer is once the pod is there: the mean over CPU and memory, of those that the node offers.

use super::Scoring;
use crate::{
    placement::reclaimed::{ReclaimedNode, Strategy},
    reclaimed::Reclaimed,
};

/// Scores by fullness: straight lines between points, as Kubernetes' and Katalyst's `RequestedToCapacityRatio`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape(Box<[(u8, u8)]>);

/// Points that make no shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// No point at all.
    #[error("a shape needs at least one point")]
    Empty,
    /// Utilizations must grow.
    #[error("utilization {0} of a shape does not grow beyond the one before it")]
    Order(u8),
    /// Percent.
    #[error("utilization {0} of a shape is above 100 percent")]
    Utilization(u8),
    /// Kubernetes' range.
    #[error("score {0} of a shape is above 10")]
    Score(u8),
}

impl Shape {
    /// From pairs of utilization (percent, growing) and score (0 to 10).
    ///
    /// # Errors
    ///
    /// The first point that is wrong.
    pub fn new(points: &[(u8, u8)]) -> Result<Self, ShapeError> {
        if points.is_empty() {
            return Err(ShapeError::Empty);
        }
        let mut before = None;
        for &(utilization, score) in points {
            if utilization > 100 {
                return Err(ShapeError::Utilization(utilization));
            }
            if before.is_some_and(|before| utilization <= before) {
                return Err(ShapeError::Order(utilization));
            }
            if score > 10 {
                return Err(ShapeError::Score(score));
            }
            before = Some(utilization);
        }
        Ok(Self(points.into()))
    }

    /// The score, 0 to 1, of a fraction in use. Beyond the ends it is that of the end.
    fn at(&self, used: f64) -> f64 {
        let used = used * 100.0;
        let mut before: Option<(f64, f64)> = None;
        for &(utilization, score) in &self.0 {
            let point = (f64::from(utilization), f64::from(score) / 10.0);
            if used <= point.0 {
                return before.map_or(point.1, |(from, low)| {
                    low + (point.1 - low) * (used - from) / (point.0 - from)
                });
            }
            before = Some(point);
        }
        before.map_or(0.0, |(_, score)| score)
    }
}

/// Fractions of the offer's CPU and memory in use once the amount is there, of those that are offered.
pub(super) fn used(node: &ReclaimedNode, amount: &Reclaimed) -> [Option<f64>; 2] {
    let after = node.allocated + *amount;
    let part = |of: u64, all: u64| (all > 0).then(|| of as f64 / all as f64);
    [
        part(after.cpu.get(), node.allocatable.cpu.get()),
        part(after.memory.get(), node.allocatable.memory.get()),
    ]
}

/// `None` where nothing is offered.
pub(super) fn term(node: &ReclaimedNode, amount: &Reclaimed, policy: &Scoring) -> Option<f64> {
    let value = |used: f64| match (&policy.shape, policy.reclaimed) {
        (Some(shape), _) => shape.at(used),
        (None, Strategy::Spread) => 1.0 - used,
        (None, Strategy::Binpack) => used,
    };
    let values = used(node, amount).map(|used| used.map(value));
    let offered = values.iter().flatten().count();
    (offered > 0).then(|| values.iter().flatten().sum::<f64>() / offered as f64)
}
