//! The scores of a pool's past predictions, by day, and their quantiles.
//!
//! A histogram a day with buckets of 0.01 keeps a pool of any size in 45 KiB. The scales of shipped [`PRIOR`] quantiles weigh two node-horizons: a new pool begins
//! with them and soon forgets them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::realised::EVERY;
use super::shape::Horizon;

/// Days of scores that count. 7 to 28 made no difference on recorded load.
const DAYS: u64 = 14;

/// Buckets a score.
const PER_SCORE: f64 = 100.0;

/// The lowest score that is told from lower ones; no tail that anyone asks for lies there.
const LOWEST: f64 = -2.0;

/// Buckets: scores up to 6; higher ones count as 6.
const BUCKETS: usize = 800;

/// Weight of the prior in node-horizons.
const PRIOR_WEIGHT: f64 = 2.0;

/// `(share above, score)`: quantiles .75 to .999 of recorded pools, and one beyond; a day and an hour.
type Prior = [(f64, f64); 8];

/// Each score has the mass between the level before it and its own.
const PRIOR: [Prior; 2] = [
    [
        (0.25, -0.04),
        (0.15, 0.14),
        (0.05, 0.35),
        (0.03, 0.67),
        (0.01, 0.93),
        (0.005, 1.12),
        (0.004, 1.58),
        (0.001, 2.04),
    ],
    [
        (0.25, -0.02),
        (0.15, 0.14),
        (0.05, 0.31),
        (0.03, 0.59),
        (0.01, 0.87),
        (0.005, 1.09),
        (0.004, 1.39),
        (0.001, 1.69),
    ],
];

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scores {
    horizon: Horizon,
    /// Day, and how many of its scores fell into each bucket. Oldest first.
    days: VecDeque<(u64, Vec<u32>)>,
    /// The same of all days.
    all: Vec<u32>,
    count: u64,
}

fn bucket(score: f64) -> usize {
    // Casts of floats saturate.
    (((score - LOWEST) * PER_SCORE) as usize).min(BUCKETS - 1)
}

/// The upper edge of a bucket.
fn edge(bucket: usize) -> f64 {
    (bucket + 1) as f64 / PER_SCORE + LOWEST
}

impl Scores {
    /// None yet.
    pub fn new(horizon: Horizon) -> Self {
        Self {
            horizon,
            days: VecDeque::new(),
            all: vec![0; BUCKETS],
            count: 0,
        }
    }

    /// Takes a score that became known on a day. Days ascend; an older one counts as the newest.
    pub fn push(&mut self, day: u64, score: f64) {
        if self.days.back().is_none_or(|(newest, _)| *newest < day) {
            self.days.push_back((day, vec![0; BUCKETS]));
            self.forget(day);
        }
        let at = bucket(score);
        let newest = self.days.back_mut().and_then(|(_, day)| day.get_mut(at));
        if let Some((newest, all)) = newest.zip(self.all.get_mut(at)) {
            *newest += 1;
            *all += 1;
            self.count += 1;
        }
    }

    /// Drops the days that are too old.
    fn forget(&mut self, today: u64) {
        while self
            .days
            .front()
            .is_some_and(|(day, _)| day + DAYS <= today)
        {
            let Some((_, old)) = self.days.pop_front() else {
                return;
            };
            for (all, old) in self.all.iter_mut().zip(old) {
                *all -= old;
                self.count -= u64::from(old);
            }
        }
    }

    /// Node-horizons that the scores are worth: scores of the same horizon are about the same event.
    pub fn horizons(&self) -> f64 {
        self.count as f64 * self.weight()
    }

    /// The lowest factor above which at most this share of the scores lies, the prior among them.
    pub fn quantile(&self, tail: f64) -> f64 {
        let weight = self.weight();
        let [day, hour] = &PRIOR;
        let mut prior = match self.horizon {
            Horizon::Day => day,
            Horizon::Hour => hour,
        }
        .iter()
        .rev()
        .peekable();
        let mut left = tail * (self.horizons() + PRIOR_WEIGHT);
        for (at, count) in self.all.iter().enumerate().rev() {
            left -= f64::from(*count) * weight;
            while let Some((mass, _)) = prior.next_if(|(_, score)| bucket(*score) >= at) {
                left -= mass * PRIOR_WEIGHT;
            }
            if left < 0.0 {
                return edge(at);
            }
        }
        LOWEST
    }

    /// Node-horizons of one score.
    fn weight(&self) -> f64 {
        EVERY as f64 / self.horizon.steps() as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_pool_has_the_prior() {
        let scores = Scores::new(Horizon::Day);
        for (tail, expected) in [(0.25, 0.14), (0.05, 0.67), (0.01, 1.12), (0.000_1, 2.04)] {
            let got = scores.quantile(tail - 1e-9);
            assert!((got - expected).abs() < 0.011, "{tail}: {got}");
        }
    }

    #[test]
    fn old_days_leave() {
        let mut scores = Scores::new(Horizon::Hour);
        for day in 0..30 {
            for _ in 0..1000 {
                scores.push(day, if day < 10 { 5.0 } else { 0.5 });
            }
        }
        assert!((scores.horizons() - 7000.0).abs() < 1e-9);
        assert!(scores.quantile(0.01) < 0.6);
    }

    proptest! {
        /// With enough scores the prior is nothing and a bucket's width is the only error.
        #[test]
        fn at_most_the_tail_lies_above(values in prop::collection::vec(-1.0..4.0f64, 50..200), tail in 0.05..0.5f64) {
            let mut scores = Scores::new(Horizon::Hour);
            for value in &values {
                for _ in 0..100 {
                    scores.push(3, *value);
                }
            }
            let q = scores.quantile(tail);
            let above = values.iter().filter(|v| **v > q).count() as f64 / values.len() as f64;
            prop_assert!(above <= tail + 0.01);
            let nearly = values.iter().filter(|v| **v > q - 0.021).count() as f64 / values.len() as f64;
            prop_assert!(nearly >= tail - 0.01);
        }
    }
}
