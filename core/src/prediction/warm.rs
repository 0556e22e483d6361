//! The past of the pods that are here now, added up: what the node-level estimators of EuroSys 2021 look at.
//!
//! Steps are aligned by recency, only pods that are present and warm enter, and each only from its own start, so a step's ratio is
//! `sum of usage / sum of limits` of those that had started then (`per_machine` predictors of cluster-resource-forecast).

use std::collections::VecDeque;

use super::pods::Pods;
use super::{NodeSample, WARM_SAMPLES};

/// Ratios of use to limit of the present, warm pods; and the limits of both kinds.
#[derive(Debug, Clone)]
pub(super) struct Warm {
    samples: usize,
    pods: Pods<Recent>,
    /// `(usage, limit)` a step, newest last.
    steps: VecDeque<(f64, f64)>,
    /// Sum of the limits of warm pods.
    pub(super) limit: f64,
    /// Sum of the limits of the others.
    pub(super) young_limit: f64,
}

#[derive(Debug, Clone, Default)]
struct Recent {
    age: u32,
    limit: f64,
    usage: VecDeque<f64>,
}

impl Warm {
    pub(super) fn new(samples: usize) -> Self {
        Self {
            samples: samples.max(2),
            pods: Pods::default(),
            steps: VecDeque::new(),
            limit: 0.0,
            young_limit: 0.0,
        }
    }

    pub(super) fn observe(&mut self, sample: &NodeSample<'_>) {
        let mut changed = self.pods.follow(sample.pods, |_| Recent::default());
        for (state, pod) in self.pods.iter_mut().zip(sample.pods) {
            state.age = state.age.saturating_add(1);
            if state.usage.len() == self.samples {
                state.usage.pop_front();
            }
            state.usage.push_back(pod.usage);
            let resized = (state.limit - pod.limit).abs() > 0.0;
            state.limit = pod.limit;
            changed |= resized || state.age == WARM_SAMPLES;
        }
        let (mut usage, mut warm, mut cold) = (0.0, 0.0, 0.0);
        for (state, pod) in self.pods.iter().zip(sample.pods) {
            if state.age >= WARM_SAMPLES {
                usage += pod.usage;
                warm += pod.limit;
            } else {
                cold += pod.limit;
            }
        }
        (self.limit, self.young_limit) = (warm, cold);
        if changed {
            self.again();
        } else if warm > 0.0 {
            if self.steps.len() == self.samples {
                self.steps.pop_front();
            }
            self.steps.push_back((usage, warm));
        }
    }

    /// Adds up anew, after pods came, left or became warm.
    fn again(&mut self) {
        let warm = || self.pods.iter().filter(|pod| pod.age >= WARM_SAMPLES);
        let length = warm().map(|pod| pod.usage.len()).max().unwrap_or(0);
        let mut steps = vec![(0.0, 0.0); length];
        for pod in warm() {
            for (step, usage) in steps.iter_mut().rev().zip(pod.usage.iter().rev()) {
                step.0 += usage;
                step.1 += pod.limit;
            }
        }
        self.steps = steps.into();
    }

    /// Use over limit of each step, oldest first.
    pub(super) fn ratios(&self) -> impl Iterator<Item = f64> {
        self.steps
            .iter()
            .filter(|(_, limit)| *limit > 0.0)
            .map(|(usage, limit)| usage / limit)
    }

    /// A ratio as an amount: at most the limits of the warm pods, and all of the others'.
    pub(super) fn amount(&self, ratio: Option<f64>) -> f64 {
        ratio.unwrap_or(0.0).clamp(0.0, 1.0) * self.limit + self.young_limit
    }
}
