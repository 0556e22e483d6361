//! Percentile of the node's recent use (EuroSys 2021, "per-machine percentile"), its maximum at 100.
//!
//! ```text
//! peak = percentile_k(use / limit of the warm pods, last H steps) * their limits + limits of the others
//! ```
//!
//! With a day of history the maximum is nearly right on nodes with a daily cycle, and wrong by little when it is wrong.

use super::warm::Warm;
use super::window::percentile_of;
use super::{Estimator, NodeSample};

/// See the module.
#[derive(Debug, Clone)]
pub struct MachinePercentile {
    percent: f64,
    history: Warm,
}

impl MachinePercentile {
    /// The percentile, and over how many samples.
    pub fn new(percent: f64, samples: usize) -> Self {
        Self {
            percent,
            history: Warm::new(samples),
        }
    }
}

impl Estimator for MachinePercentile {
    fn observe(&mut self, sample: &NodeSample<'_>) {
        self.history.observe(sample);
    }

    fn peak(&self) -> f64 {
        if self.percent >= 100.0 {
            return self
                .history
                .amount(self.history.ratios().max_by(f64::total_cmp));
        }
        let mut ratios: Vec<f64> = self.history.ratios().collect();
        self.history
            .amount(percentile_of(&mut ratios, self.percent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prediction::PodSample;

    #[test]
    fn the_maximum_stays_for_the_window_and_then_leaves() {
        let mut highest = MachinePercentile::new(100.0, 40);
        let mut middle = MachinePercentile::new(50.0, 40);
        for step in 0..80 {
            let sample = [PodSample {
                pod: 1,
                limit: 100.0,
                usage: if step == 30 { 90.0 } else { 10.0 },
                load: 0.0,
            }];
            let sample = NodeSample {
                step,
                pods: &sample,
            };
            highest.observe(&sample);
            middle.observe(&sample);
            if (30..70).contains(&step) {
                assert!((highest.peak() - 90.0).abs() < 1e-9, "step {step}");
                assert!((middle.peak() - 10.0).abs() < 1e-9, "step {step}");
            }
        }
        assert!((highest.peak() - 10.0).abs() < 1e-9);
    }
}
