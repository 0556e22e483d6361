//! Percentile of a histogram whose samples decay.
//!
//! The histogram is that of the Kubernetes VPA recommender, which Koordinator, Katalyst and Autopilot's descendants share: exponential buckets, a sample's weight halves
//! each half-life, a percentile is the *upper* edge of the bucket in which it lies.
//!
//! ```text
//! peak = sum over pods of min(limit, factor * confidence * percentile)      limit while the pod is younger than `warm`
//! ```
//!
//! | | percentile | half-life | first bucket | factor | warm after | more |
//! |---|---|---|---|---|---|---|
//! | Koordinator, pod | 95 (memory 98) | 12 h (24 h) | 25 mCPU (5 MiB) | 1.1 | 24 h | |
//! | Koordinator, priority class | the same, of the node's sum | | | | none | |
//! | VPA target | 90 | 24 h | 10 mCPU (10 MB) | 1.15 | 2 h | |
//! | VPA upper bound | 95 | 24 h | 10 mCPU (10 MB) | 1.15 | 2 h | confidence 1 + 1 / days |
//! | Autopilot-like | 95 | 12 h | 25 mCPU | 1.15 | 2 h | highest of the last hour |

use std::collections::VecDeque;

use super::pods::Pods;
use super::{Estimator, NodeSample, STEPS_PER_DAY};

/// Growth of the buckets: 5 %, as everywhere.
const RATIO: f64 = 1.05;

/// Weights are scaled down when the newest would exceed this.
const LARGEST_WEIGHT: f64 = 1e30;

/// A histogram whose samples lose half of their weight each half-life.
#[derive(Debug, Clone)]
pub struct DecayingHistogram {
    first_bucket: f64,
    growth: f64,
    /// Weight of the next sample.
    weight: f64,
    buckets: Vec<f64>,
    total: f64,
}

impl DecayingHistogram {
    /// With a first bucket of this width and a half-life in samples.
    pub fn new(first_bucket: f64, half_life: f64) -> Self {
        Self {
            first_bucket: if first_bucket > 0.0 {
                first_bucket
            } else {
                1.0
            },
            growth: (1.0 / half_life.max(1.0)).exp2(),
            weight: 1.0,
            buckets: Vec::new(),
            total: 0.0,
        }
    }

    /// Takes a sample.
    pub fn push(&mut self, value: f64) {
        let value = if value.is_finite() {
            value.max(0.0)
        } else {
            0.0
        };
        let bucket = ((value * (RATIO - 1.0) / self.first_bucket + 1.0).ln() / RATIO.ln()).floor();
        // A value 10^20 times the first bucket is in bucket 900.
        let bucket = (bucket as usize).min(1000);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0.0);
        }
        self.weight *= self.growth;
        if self.weight > LARGEST_WEIGHT {
            for weight in &mut self.buckets {
                *weight /= self.weight;
            }
            self.total /= self.weight;
            self.weight = 1.0;
        }
        if let Some(weight) = self.buckets.get_mut(bucket) {
            *weight += self.weight;
            self.total += self.weight;
        }
    }

    /// The upper edge of the bucket in which the percentile lies; zero while empty.
    pub fn percentile(&self, percent: f64) -> f64 {
        if self.buckets.is_empty() {
            return 0.0;
        }
        let wanted = percent / 100.0 * self.total * (1.0 - 1e-12);
        let mut sum = 0.0;
        let mut bucket = 0usize;
        for weight in &self.buckets {
            sum += weight;
            if sum >= wanted {
                break;
            }
            bucket += 1;
        }
        let edge = bucket.min(self.buckets.len() - 1) + 1;
        self.first_bucket * (RATIO.powf(edge as f64) - 1.0) / (RATIO - 1.0)
    }
}

/// Whose histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One a pod; the percentiles are added up.
    Pod,
    /// One of the node's sum.
    Node,
}

/// How the percentile becomes a prediction. See the table above.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Whose histogram.
    pub level: Level,
    /// Percentile.
    pub percent: f64,
    /// Half-life in samples.
    pub half_life: f64,
    /// Width of the first bucket, in the unit of the samples.
    pub first_bucket: f64,
    /// On the percentile.
    pub factor: f64,
    /// A pod with fewer samples counts with its limit.
    pub warm: u32,
    /// The factor grows by 1 / days of life.
    pub confidence: bool,
    /// The highest percentile of so many samples counts.
    pub hold: usize,
}

impl Params {
    /// Koordinator's pod level. Half-life in hours, first bucket in the unit of the samples.
    pub fn koordinator(percent: f64, half_life_hours: f64, first_bucket: f64) -> Self {
        Self {
            level: Level::Pod,
            percent,
            half_life: half_life_hours * 12.0,
            first_bucket,
            factor: 1.1,
            warm: STEPS_PER_DAY as u32 + 1,
            confidence: false,
            hold: 1,
        }
    }

    /// VPA's target.
    pub fn vpa_target(first_bucket: f64) -> Self {
        Self {
            percent: 90.0,
            factor: 1.15,
            warm: super::WARM_SAMPLES,
            ..Self::koordinator(90.0, 24.0, first_bucket)
        }
    }
}

#[derive(Debug, Clone)]
struct State {
    age: u32,
    histogram: DecayingHistogram,
    held: VecDeque<f64>,
}

impl State {
    fn new(params: &Params) -> Self {
        Self {
            age: 0,
            histogram: DecayingHistogram::new(params.first_bucket, params.half_life),
            held: VecDeque::new(),
        }
    }

    fn push(&mut self, params: &Params, usage: f64) {
        self.age = self.age.saturating_add(1);
        self.histogram.push(usage);
        if params.hold > 1 {
            if self.held.len() == params.hold {
                self.held.pop_front();
            }
            self.held
                .push_back(self.histogram.percentile(params.percent));
        }
    }

    fn peak(&self, params: &Params, limit: f64) -> f64 {
        if self.age < params.warm {
            return limit;
        }
        let percentile = self
            .held
            .iter()
            .copied()
            .max_by(f64::total_cmp)
            .unwrap_or_else(|| self.histogram.percentile(params.percent));
        let confidence = if params.confidence {
            1.0 + STEPS_PER_DAY as f64 / f64::from(self.age.max(1))
        } else {
            1.0
        };
        (params.factor * percentile * confidence).min(limit)
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct HistogramPercentile {
    params: Params,
    pods: Pods<(State, f64)>,
    node: State,
    limit: f64,
}

impl HistogramPercentile {
    /// With these parameters.
    pub fn new(params: Params) -> Self {
        Self {
            params,
            pods: Pods::default(),
            node: State::new(&params),
            limit: 0.0,
        }
    }
}

impl Estimator for HistogramPercentile {
    fn observe(&mut self, sample: &NodeSample<'_>) {
        self.limit = sample.limit();
        let params = self.params;
        match params.level {
            Level::Node => self.node.push(&params, sample.usage()),
            Level::Pod => {
                self.pods
                    .follow(sample.pods, |pod| (State::new(&params), pod.limit));
                for ((state, limit), pod) in self.pods.iter_mut().zip(sample.pods) {
                    *limit = pod.limit;
                    state.push(&params, pod.usage);
                }
            }
        }
    }

    fn peak(&self) -> f64 {
        match self.params.level {
            Level::Node => self.node.peak(&self.params, self.limit),
            Level::Pod => self
                .pods
                .iter()
                .map(|(state, limit)| state.peak(&self.params, *limit))
                .sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prediction::PodSample;

    #[test]
    fn old_samples_lose_half_their_weight_each_half_life() {
        let mut histogram = DecayingHistogram::new(1.0, 10.0);
        for _ in 0..200 {
            histogram.push(100.0);
        }
        // After two half-lives of small samples the large ones are a quarter.
        for _ in 0..20 {
            histogram.push(1.0);
        }
        assert!(histogram.percentile(70.0) < 3.0);
        let high = histogram.percentile(80.0);
        assert!((100.0..=106.0).contains(&high), "{high}");
    }

    #[test]
    fn a_pod_is_charged_its_limit_until_it_is_warm() {
        let mut estimator = HistogramPercentile::new(Params {
            warm: 3,
            ..Params::koordinator(95.0, 12.0, 1.0)
        });
        for step in 0..4 {
            estimator.observe(&NodeSample {
                step,
                pods: &[PodSample {
                    pod: 1,
                    limit: 500.0,
                    usage: 100.0,
                    load: 0.0,
                }],
            });
            if step < 2 {
                assert!((estimator.peak() - 500.0).abs() < 1e-9);
            } else {
                assert!((110.0..=116.0).contains(&estimator.peak()));
            }
        }
    }

    proptest! {
        /// The bucket's width is the only error, also across a rescaling of the weights.
        #[test]
        fn brackets_the_weighted_percentile(values in prop::collection::vec(0.0..1000.0f64, 1..300), half_life in 1.0..50.0f64) {
            let mut histogram = DecayingHistogram::new(1.0, half_life);
            for value in &values {
                histogram.push(*value);
            }
            let n = values.len();
            let mut weighted: Vec<(f64, f64)> =
                values.iter().enumerate().map(|(i, v)| (*v, (-((n - i) as f64) / half_life).exp2())).collect();
            weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
            let total: f64 = weighted.iter().map(|(_, w)| w).sum();
            let mut sum = 0.0;
            let exact = weighted.iter().find(|(_, w)| { sum += w; sum >= 0.9 * total * (1.0 - 1e-9) }).map_or(0.0, |(v, _)| *v);
            let got = histogram.percentile(90.0);
            prop_assert!(got >= exact * 0.999 - 1e-6 && got <= exact * 1.05 + 1.1, "{} for {}", got, exact);
        }
    }
}
