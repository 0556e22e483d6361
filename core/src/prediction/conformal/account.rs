//! What became of the promises made with a factor: those that are still open, and how many were broken in the last weeks.
//!
//! A broken promise counts from the moment at which more came than was promised, not when its horizon is over: after a jump the account of a node knows
//! at once that all its open promises are void. That is what makes the reaction to a burst fast.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::realised::Score;

/// Days that are remembered.
const DAYS: u64 = 28;

/// Promises and broken ones by day, of a node or of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Day, promises made, promises found broken. Oldest first.
    days: VecDeque<(u64, u32, u32)>,
}

impl Kept {
    pub(super) fn add(&mut self, day: u64, promises: u32, broken: u32) {
        if self.days.back().is_none_or(|(newest, ..)| *newest < day) {
            self.days.push_back((day, 0, 0));
            self.days.retain(|(old, ..)| old + DAYS > day);
        }
        if let Some((_, made, void)) = self.days.back_mut() {
            *made += promises;
            *void += broken;
        }
    }

    /// `(promises, broken)` of the last days, at most 28.
    pub fn last(&self, days: u64, today: u64) -> (u64, u64) {
        self.days
            .iter()
            .filter(|(day, ..)| day + days > today)
            .fold((0, 0), |(made, void), (_, promises, broken)| {
                (made + u64::from(*promises), void + u64::from(*broken))
            })
    }
}

/// A prediction that was published, until its horizon is over.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Promise {
    step: u64,
    factor: f64,
    broken: bool,
}

/// One node's promises in one horizon: about 1.5 KiB.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Oldest first.
    open: VecDeque<Promise>,
    /// The last weeks.
    pub kept: Kept,
}

impl Account {
    /// Remembers the factor that was used in a step.
    pub(super) fn promise(&mut self, step: u64, factor: f64) {
        self.open.push_back(Promise {
            step,
            factor,
            broken: false,
        });
    }

    /// Takes what came so far of a prediction; true when that breaks its promise, once.
    pub(super) fn breaks(&mut self, score: &Score) -> bool {
        let at = self.open.binary_search_by_key(&score.step, |p| p.step).ok();
        match at.and_then(|at| self.open.get_mut(at)) {
            // The tolerance of the published protocol, over the limits.
            Some(promise)
                if !promise.broken
                    && (score.value() - promise.factor) * score.shape.scale > 1e-6 =>
            {
                promise.broken = true;
                true
            }
            _ => false,
        }
    }

    /// Forgets promises that were made before a step.
    pub(super) fn settle(&mut self, before: u64) {
        while self.open.front().is_some_and(|p| p.step < before) {
            self.open.pop_front();
        }
    }
}
