//! Present use with a factor: what a node uses now is what it is expected to use.
//!
//! ```text
//! peak = factor * sum_i max(usage_i, load_i / factor) + share * sum_i limit_i
//! ```
//!
//! - Katalyst `cpu headroom`, canonical: factor 1.25, a pod counts at least its load; memory: factor 1.1.
//! - Koordinator `batchAllocatable`: factor 1, share 0.40 (memory 0.35), which is its 60 % (65 %) threshold turned round.
//! - Borg default (EuroSys 2021, 2.2): factor 0, a fixed share of the limits, 0.9.
//!
//! It has no memory: it rests on throttling within seconds, and says nothing about an hour from now.

use super::{Estimator, NodeSample};

/// See the module.
#[derive(Debug, Clone)]
pub struct Usage {
    /// On what is used.
    pub factor: f64,
    /// On the limits.
    pub share: f64,
    peak: f64,
}

impl Usage {
    /// With these two.
    pub fn new(factor: f64, share: f64) -> Self {
        Self {
            factor,
            share,
            peak: 0.0,
        }
    }

    /// Katalyst's canonical estimate of CPU.
    pub fn katalyst_cpu() -> Self {
        Self::new(1.25, 0.0)
    }

    /// Borg's fixed share of the limits.
    pub fn share_of_limits(share: f64) -> Self {
        Self::new(0.0, share)
    }
}

impl Estimator for Usage {
    fn observe(&mut self, sample: &NodeSample<'_>) {
        let used: f64 = sample
            .pods
            .iter()
            .map(|pod| {
                if self.factor > 0.0 {
                    (self.factor * pod.usage).max(pod.load)
                } else {
                    0.0
                }
            })
            .sum();
        let limit = sample.limit();
        self.peak = (used + self.share * limit).clamp(0.0, limit.max(0.0));
    }

    fn peak(&self) -> f64 {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::prediction::PodSample;

    #[rstest]
    #[case::factor(1.25, 0.0, 0.0, 250.0)]
    #[case::load_is_higher(1.25, 0.0, 300.0, 300.0)]
    #[case::never_above_the_limit(10.0, 0.0, 0.0, 1000.0)]
    #[case::share(0.0, 0.9, 500.0, 900.0)]
    #[case::both(1.0, 0.4, 0.0, 600.0)]
    fn the_formula(
        #[case] factor: f64,
        #[case] share: f64,
        #[case] load: f64,
        #[case] expected: f64,
    ) {
        let mut estimator = Usage::new(factor, share);
        let pod = PodSample {
            pod: 1,
            limit: 1000.0,
            usage: 200.0,
            load,
        };
        estimator.observe(&NodeSample {
            step: 0,
            pods: &[pod],
        });
        assert!((estimator.peak() - expected).abs() < 1e-9);
    }
}
