//! Mean and deviations of the node's recent use (EuroSys 2021, "N-sigma").
//!
//! ```text
//! peak = min(1, mean + N * deviation) * sum of limits       over the last H steps of use / limit of the warm pods; others count with their limit
//! ```
//!
//! The deviation is the sample's (n - 1). EuroSys 2021 simulates N = 5 over 10 h. It knows that peaks pool and nothing about their shape.

use super::warm::Warm;
use super::{Estimator, NodeSample};

/// See the module.
#[derive(Debug, Clone)]
pub struct NSigma {
    n: f64,
    history: Warm,
}

impl NSigma {
    /// How many deviations, and over how many samples.
    pub fn new(n: f64, samples: usize) -> Self {
        Self {
            n,
            history: Warm::new(samples),
        }
    }
}

impl Estimator for NSigma {
    fn observe(&mut self, sample: &NodeSample<'_>) {
        self.history.observe(sample);
    }

    fn peak(&self) -> f64 {
        let count = self.history.ratios().count();
        if count < 2 {
            return self.history.amount(None);
        }
        let mean = self.history.ratios().sum::<f64>() / count as f64;
        let square: f64 = self
            .history
            .ratios()
            .map(|ratio| (ratio - mean).powi(2))
            .sum();
        let deviation = (square / (count - 1) as f64).sqrt();
        self.history.amount(Some(mean + self.n * deviation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prediction::PodSample;

    fn pod(pod: u64, usage: f64) -> PodSample {
        PodSample {
            pod,
            limit: 100.0,
            usage,
            load: 0.0,
        }
    }

    #[test]
    fn mean_and_deviations_of_those_present_and_the_limit_of_the_young() {
        let mut estimator = NSigma::new(2.0, 4);
        for step in 0..30 {
            let usage = if step % 2 == 0 { 10.0 } else { 20.0 };
            estimator.observe(&NodeSample {
                step,
                pods: &[pod(1, usage), pod(2, 50.0)],
            });
        }
        // Ratios .30 .35 .30 .35: mean .325, deviation .0288675.
        let expected = (0.325 + 2.0 * 0.028_867_513) * 200.0;
        assert!((estimator.peak() - expected).abs() < 1e-5);
        // Pod 2 leaves: its past leaves with it. Pod 3 comes: its limit.
        estimator.observe(&NodeSample {
            step: 30,
            pods: &[pod(1, 10.0), pod(3, 1.0)],
        });
        let expected = (0.15 + 2.0 * 0.057_735_027) * 100.0 + 100.0;
        assert!((estimator.peak() - expected).abs() < 1e-5);
    }
}
