//! The history of the pods that are on a node *now*: what makes arrivals and departures harmless.
//!
//! A node's maximum of last week holds the use of pods that left. For each hour h of the past
//!
//! ```text
//! T(h) = max( min( Mx(h) - [Us(h) - sum mean_i(h)], sum max_i(h) ), sum mean_i(h) ) + sum of m_i over the pods that had not started
//! ```
//!
//! where Mx and Us are the node's hourly maximum and mean. The bracket is the mean of the pods that left; the node's maximum less it is exact when nobody
//! left, and the un-pooled sum of maxima is a true upper bound.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::hours::HOURS;
use super::pod::{PodHistory, RECENT};
use super::realised::{Realised, Score};
use super::shape::{Highs, Horizon, Parts, Shape};
use crate::prediction::pods::Pods;
use crate::prediction::{NodeSample, STEPS_PER_DAY, STEPS_PER_HOUR};

/// Hours of a day and of a week.
const DAY: usize = 24;
const WEEK: usize = 168;

/// One node (or NUMA node): the histories of its pods, its own, and the predictions that are not over yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeHistory {
    pods: Pods<PodHistory>,
    /// `(maximum, mean)` of complete hours, newest first.
    past: VecDeque<(f32, f32)>,
    hour: Option<u64>,
    running_highest: f64,
    running_sum: f64,
    running_samples: u32,
    /// Of complete hours.
    highs: Highs,
    realised: [Realised; 2],
}

impl Default for NodeHistory {
    fn default() -> Self {
        Self {
            pods: Pods::default(),
            past: VecDeque::new(),
            hour: None,
            running_highest: 0.0,
            running_sum: 0.0,
            running_samples: 0,
            highs: Highs::default(),
            realised: Horizon::ALL.map(Realised::new),
        }
    }
}

/// What one hour says about the pods that are here: sums over those that had started, and the means of the others.
#[derive(Debug, Clone, Copy, Default)]
struct Hour {
    highest: f64,
    mean: f64,
    absent: f64,
}

impl Hour {
    /// T of the hour, given the node's maximum and mean.
    fn together(&self, highest: f64, mean: f64) -> f64 {
        (highest - (mean - self.mean))
            .min(self.highest)
            .max(self.mean)
            + self.absent
    }
}

impl NodeHistory {
    /// Takes the next sample. Gives the predictions whose horizon is over now, with what really came.
    pub fn observe(&mut self, sample: &NodeSample<'_>) -> Vec<Score> {
        let hour = sample.step / STEPS_PER_HOUR;
        let over = self.begin(hour);
        let step = sample.step;
        let mut changed = self
            .pods
            .follow(sample.pods, |pod| PodHistory::new(step, pod));
        for (history, pod) in self.pods.iter_mut().zip(sample.pods) {
            changed |= (history.limit - pod.limit).abs() > 0.0;
            history.push(sample.step, pod);
        }
        let usage: f64 = self.pods.iter().map(|pod| pod.usage).sum();
        self.running_highest = self.running_highest.max(usage);
        self.running_sum += usage;
        self.running_samples += 1;
        if over || changed {
            self.highs = self.complete_hours();
        }
        let mut by_start: Vec<(u64, f64)> =
            self.pods.iter().map(|pod| (pod.start, pod.usage)).collect();
        by_start.sort_by_key(|(start, _)| *start);
        let mut scores = Vec::new();
        for realised in &mut self.realised {
            realised.observe(sample.step, &by_start, &mut scores);
        }
        let shapes = Horizon::ALL.map(|horizon| {
            let due = self
                .realised
                .iter()
                .any(|r| r.horizon() == horizon && r.wants(sample.step));
            due.then(|| self.shape(horizon))
        });
        for (realised, shape) in self.realised.iter_mut().zip(shapes) {
            if let Some(shape) = shape {
                realised.add(sample.step, shape);
            }
        }
        scores
    }

    /// Base and scale of the pods of the last sample.
    pub fn shape(&self, horizon: Horizon) -> Shape {
        let parts = self.parts();
        let highs = self.with_running_hour();
        match horizon {
            Horizon::Day => parts.day(&highs),
            Horizon::Hour => {
                let (last, last_two) = self.recent();
                parts.hour(&highs, last, last_two)
            }
        }
    }

    /// What came so far of the predictions that are not over yet.
    pub fn pending(&self, horizon: Horizon) -> impl Iterator<Item = Score> + '_ {
        self.realised
            .iter()
            .filter(move |realised| realised.horizon() == horizon)
            .flat_map(Realised::pending)
    }

    /// Pods of the last sample.
    pub fn pods(&self) -> usize {
        self.pods.len()
    }

    /// Closes the running hour when another begins.
    fn begin(&mut self, hour: u64) -> bool {
        let Some(before) = self.hour.filter(|before| *before < hour) else {
            self.hour.get_or_insert(hour);
            return false;
        };
        let mean = self.running_sum / f64::from(self.running_samples.max(1));
        let mut keep = |highest: f64, mean: f64| {
            self.past.truncate(HOURS - 1);
            self.past.push_front((highest as f32, mean as f32));
        };
        keep(self.running_highest, mean);
        for _ in 0..(hour - before - 1).min(HOURS as u64) {
            keep(mean, mean);
        }
        self.hour = Some(hour);
        (self.running_highest, self.running_sum, self.running_samples) = (0.0, 0.0, 0);
        true
    }

    /// The highs of the complete hours. Once an hour, and when pods come or leave.
    fn complete_hours(&self) -> Highs {
        let length = self
            .pods
            .iter()
            .map(|pod| pod.hours.past().len())
            .max()
            .unwrap_or(0)
            .min(self.past.len());
        let mut hours = vec![Hour::default(); length];
        for pod in self.pods.iter() {
            let mean = pod.mean();
            let past = pod.hours.past();
            let had = past.len();
            for (hour, (highest, mean)) in hours.iter_mut().zip(past) {
                hour.highest += highest;
                hour.mean += mean;
            }
            for hour in hours.iter_mut().skip(had) {
                hour.absent += mean;
            }
        }
        let mut highs = Highs::default();
        for (lag, (hour, (highest, mean))) in hours.iter().zip(&self.past).enumerate() {
            let together = hour.together(f64::from(*highest), f64::from(*mean));
            highs.all = highs.all.max(together);
            highs.own = highs.own.max(hour.highest + hour.absent);
            if lag < WEEK {
                highs.week = highs.week.max(together);
            }
            if lag < DAY {
                highs.day = highs.day.max(together);
            }
        }
        highs
    }

    fn with_running_hour(&self) -> Highs {
        let hour = self.pods.iter().fold(Hour::default(), |sum, pod| {
            let (highest, mean) = pod.hours.running();
            Hour {
                highest: sum.highest + highest,
                mean: sum.mean + mean,
                absent: 0.0,
            }
        });
        let mean = self.running_sum / f64::from(self.running_samples.max(1));
        let now = hour.together(self.running_highest, mean);
        let expected: f64 = self.pods.iter().map(PodHistory::mean).sum();
        let now = now.max(expected);
        Highs {
            day: self.highs.day.max(now),
            week: self.highs.week.max(now),
            all: self.highs.all.max(now),
            own: self.highs.own.max(hour.highest).max(expected),
        }
    }

    /// The highest sum of the last hour and of the last two; a pod that had not started counts with its mean.
    fn recent(&self) -> (f64, f64) {
        let mut sums = [0.0; RECENT];
        for pod in self.pods.iter() {
            let mean = pod.mean();
            let recent = pod.recent.iter().map(|v| f64::from(*v));
            for (sum, value) in sums.iter_mut().zip(recent.chain(std::iter::repeat(mean))) {
                *sum += value;
            }
        }
        let highest = |n: usize| sums.iter().take(n).copied().fold(0.0, f64::max);
        (highest(STEPS_PER_HOUR as usize), highest(RECENT))
    }

    fn parts(&self) -> Parts {
        let day = STEPS_PER_DAY as f64;
        self.pods.iter().fold(Parts::default(), |mut sum, pod| {
            let (age, week, mean) = (pod.age.max(1) as f64, pod.week(), pod.mean());
            let from_now = week - pod.usage;
            sum.limit += pod.limit;
            sum.usage += pod.usage;
            sum.own_hour += pod.hour();
            sum.record = sum.record.max((pod.limit - pod.life()) * day / (day + age));
            sum.jump = sum.jump.max(pod.limit - week);
            sum.returns += (week - mean).powi(2);
            sum.largest_return = sum.largest_return.max(from_now);
            sum.returns_from_now += from_now.powi(2);
            sum.variance += pod.variance();
            sum.age += pod.limit * age.ln();
            sum
        })
    }
}
