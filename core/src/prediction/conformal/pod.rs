//! What is remembered of one pod: its hourly history, a decaying mean and variance, its maxima, its last two hours.
//!
//! About 2.9 KiB for a pod that is 28 days old (672 hours of four bytes, 24 samples, a dozen numbers); a young one takes less.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::hours::Hours;
use crate::prediction::{PodSample, STEPS_PER_DAY, STEPS_PER_HOUR};

/// Samples that are kept as they are: two hours.
pub(super) const RECENT: usize = 24;

/// Hours of a week.
const WEEK: usize = 168;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodHistory {
    /// Step of the first sample.
    pub(super) start: u64,
    /// Samples so far.
    pub(super) age: u64,
    pub(super) limit: f64,
    pub(super) usage: f64,
    pub(super) hours: Hours,
    /// Newest first.
    pub(super) recent: VecDeque<f32>,
    /// Highest of the complete hours of the last week.
    week: f64,
    life: f64,
    weight: f64,
    sum: f64,
    squares: f64,
}

impl PodHistory {
    pub(super) fn new(step: u64, pod: &PodSample) -> Self {
        Self {
            start: step,
            age: 0,
            limit: pod.limit,
            usage: 0.0,
            hours: Hours::new(pod.limit, step / STEPS_PER_HOUR),
            recent: VecDeque::with_capacity(RECENT),
            week: 0.0,
            life: 0.0,
            weight: 0.0,
            sum: 0.0,
            squares: 0.0,
        }
    }

    pub(super) fn push(&mut self, step: u64, pod: &PodSample) {
        let usage = if pod.usage.is_finite() {
            pod.usage.max(0.0)
        } else {
            0.0
        };
        if (pod.limit - self.limit).abs() > 0.0 {
            self.hours.rescale(pod.limit);
            self.limit = pod.limit;
        }
        self.age += 1;
        self.usage = usage;
        self.life = self.life.max(usage);
        if self.hours.push(step / STEPS_PER_HOUR, usage) {
            self.week = self
                .hours
                .past()
                .take(WEEK)
                .map(|h| h.0)
                .fold(0.0, f64::max);
        }
        self.recent.truncate(RECENT - 1);
        self.recent.push_front(usage as f32);
        // Half-life of a day.
        let decay = (-1.0 / STEPS_PER_DAY as f64).exp2();
        self.weight = self.weight * decay + 1.0;
        self.sum = self.sum * decay + usage;
        self.squares = self.squares * decay + usage * usage;
    }

    /// Decaying mean, free of bias from the first sample on.
    pub(super) fn mean(&self) -> f64 {
        self.sum / self.weight.max(1e-9)
    }

    /// Decaying variance.
    pub(super) fn variance(&self) -> f64 {
        (self.squares / self.weight.max(1e-9) - self.mean().powi(2)).max(0.0)
    }

    /// Highest of the last week.
    pub(super) fn week(&self) -> f64 {
        self.week.max(self.hours.running().0)
    }

    /// Highest of its life.
    pub(super) fn life(&self) -> f64 {
        self.life
    }

    /// Highest of the last hour.
    pub(super) fn hour(&self) -> f64 {
        let recent = self.recent.iter().take(STEPS_PER_HOUR as usize);
        recent.map(|v| f64::from(*v)).fold(0.0, f64::max)
    }
}
