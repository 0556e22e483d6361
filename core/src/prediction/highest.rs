//! The highest of several predictions ("max predictor", EuroSys 2021: N-sigma knows that peaks pool, a percentile knows the shape of the tail).

use super::{Estimator, NodeSample};

/// See the module.
#[derive(Debug)]
pub struct Highest {
    parts: Vec<Box<dyn Estimator>>,
}

impl Highest {
    /// Of these.
    pub fn of(parts: Vec<Box<dyn Estimator>>) -> Self {
        Self { parts }
    }
}

impl Estimator for Highest {
    fn observe(&mut self, sample: &NodeSample<'_>) {
        for part in &mut self.parts {
            part.observe(sample);
        }
    }

    fn peak(&self) -> f64 {
        self.parts
            .iter()
            .map(|part| part.peak())
            .fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prediction::PodSample;
    use crate::prediction::usage::Usage;

    #[test]
    fn the_highest_part_decides() {
        let mut estimator = Highest::of(vec![
            Box::new(Usage::katalyst_cpu()),
            Box::new(Usage::share_of_limits(0.5)),
        ]);
        for (usage, expected) in [(100.0, 500.0), (600.0, 750.0)] {
            let pod = PodSample {
                pod: 1,
                limit: 1000.0,
                usage,
                load: 0.0,
            };
            estimator.observe(&NodeSample {
                step: 0,
                pods: &[pod],
            });
            assert!((estimator.peak() - expected).abs() < 1e-9);
        }
    }
}
