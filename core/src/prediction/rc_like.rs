//! Percentile of each pod's recent samples, added up ("RC-like", EuroSys 2021, after Resource Central, SOSP 2017).
//!
//! ```text
//! peak = sum_i min(limit_i, percentile_k(usage_i over its last H samples))      limit_i while the pod has fewer than 24 samples
//! ```
//!
//! It ignores that peaks do not coincide, so it is high on nodes with many pods; with k below 100 it is low on pods that rarely jump.

use super::pods::Pods;
use super::window::SortedWindow;
use super::{Estimator, NodeSample, WARM_SAMPLES};

/// See the module.
#[derive(Debug, Clone)]
pub struct RcLike {
    percent: f64,
    samples: usize,
    pods: Pods<Recent>,
    peak: f64,
}

#[derive(Debug, Clone)]
struct Recent {
    age: u32,
    window: SortedWindow,
}

impl RcLike {
    /// The percentile, and over how many samples. EuroSys 2021: 99 over 10 h.
    pub fn new(percent: f64, samples: usize) -> Self {
        Self {
            percent,
            samples,
            pods: Pods::default(),
            peak: 0.0,
        }
    }
}

impl Estimator for RcLike {
    fn observe(&mut self, sample: &NodeSample<'_>) {
        self.pods.follow(sample.pods, |_| Recent {
            age: 0,
            window: SortedWindow::new(self.samples),
        });
        self.peak = 0.0;
        for (state, pod) in self.pods.iter_mut().zip(sample.pods) {
            state.age = state.age.saturating_add(1);
            state.window.push(pod.usage);
            self.peak += match state.window.percentile(self.percent) {
                Some(value) if state.age >= WARM_SAMPLES => value.min(pod.limit),
                _ => pod.limit,
            };
        }
    }

    fn peak(&self) -> f64 {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prediction::PodSample;

    #[test]
    fn a_young_pod_counts_with_its_limit_and_an_old_one_with_its_percentile() {
        let mut estimator = RcLike::new(50.0, 3);
        for step in 0..WARM_SAMPLES.into() {
            let usage = if step % 2 == 0 { 10.0 } else { 20.0 };
            estimator.observe(&NodeSample {
                step,
                pods: &[PodSample {
                    pod: 1,
                    limit: 100.0,
                    usage,
                    load: 0.0,
                }],
            });
            let expected = if step < 23 { 100.0 } else { 20.0 };
            assert!((estimator.peak() - expected).abs() < 1e-9, "step {step}");
        }
    }
}
