//! What really came: the highest use, within the horizon of a past prediction, of the pods that were there when it was made.
//!
//! One prediction each half hour is remembered. The pods that were there then and still are, are those that are here now and had started: so with the
//! pods ordered by start one running sum serves every pending prediction.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::shape::{Horizon, Shape};

/// Steps between two predictions that are remembered: half an hour.
pub const EVERY: u64 = 6;

/// A past prediction and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// How far ahead it was.
    pub horizon: Horizon,
    /// Step at which it was made.
    pub step: u64,
    /// Base, scale, limit.
    pub shape: Shape,
    /// The highest use so far of the pods that were there.
    pub highest: f64,
}

impl Score {
    /// The factor on the scale that would just have been enough.
    pub fn value(&self) -> f64 {
        self.shape.score(self.highest)
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Realised {
    horizon: Horizon,
    /// Oldest first.
    pending: VecDeque<Score>,
}

impl Realised {
    pub(super) fn new(horizon: Horizon) -> Self {
        Self {
            horizon,
            pending: VecDeque::new(),
        }
    }

    pub(super) const fn horizon(&self) -> Horizon {
        self.horizon
    }

    pub(super) fn pending(&self) -> impl Iterator<Item = Score> + '_ {
        self.pending.iter().copied()
    }

    /// Whether a prediction of this step is to be remembered.
    pub(super) fn wants(&self, step: u64) -> bool {
        step.is_multiple_of(EVERY) && self.pending.back().is_none_or(|last| last.step < step)
    }

    pub(super) fn add(&mut self, step: u64, shape: Shape) {
        self.pending.push_back(Score {
            horizon: self.horizon,
            step,
            shape,
            highest: 0.0,
        });
    }

    /// Takes what the pods use, ordered by their first step; gives the predictions whose horizon ends with it.
    pub(super) fn observe(&mut self, step: u64, by_start: &[(u64, f64)], over: &mut Vec<Score>) {
        let mut pods = by_start.iter().peekable();
        let mut sum = 0.0;
        for score in &mut self.pending {
            while let Some((_, usage)) = pods.next_if(|(start, _)| *start <= score.step) {
                sum += usage;
            }
            if step <= score.step + self.horizon.steps() {
                score.highest = score.highest.max(sum);
            }
        }
        let ends = |score: &Score| step >= score.step + self.horizon.steps();
        let ended = self.pending.iter().take_while(|score| ends(score)).count();
        over.extend(self.pending.drain(..ended));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pods_that_were_there_count() {
        let mut realised = Realised::new(Horizon::Hour);
        let shape = Shape {
            base: 0.2,
            scale: 0.1,
            limit: 100.0,
        };
        let mut over = Vec::new();
        realised.add(0, shape);
        realised.observe(3, &[(0, 30.0), (2, 50.0)], &mut over);
        realised.add(6, shape);
        realised.observe(7, &[(0, 20.0), (2, 50.0)], &mut over);
        // The pod of step 0 is gone.
        realised.observe(12, &[(2, 60.0)], &mut over);
        assert_eq!(over.len(), 1);
        assert!((over[0].highest - 30.0).abs() < 1e-9);
        assert!((over[0].value() - 1.0).abs() < 1e-9);
        realised.observe(18, &[(2, 10.0)], &mut over);
        assert!((over[1].highest - 70.0).abs() < 1e-9);
    }
}
