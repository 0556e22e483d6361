//! One machine's services, sample by sample, through the estimator; and what its offers would have met.

use katalyst_core::capacity::{Observation, Params, Published, WindowPeak, estimate};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_core::units::Millicpu;

use crate::trace::Machine;

/// What a replay counted. Fractions of the machine, or of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Outcome {
    /// Samples judged.
    pub samples: u64,
    /// Mean of what services left free.
    pub free: f64,
    /// Mean of what was offered.
    pub offered: f64,
    /// Samples in which services needed more than the offer before them left: batch had to be held back.
    pub exceeded: f64,
    /// Mean of what was missing in those samples.
    pub depth: f64,
}

/// How the estimator is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Parameters of the estimator.
    pub params: Params,
    /// Length of the peak's window.
    pub window_seconds: f64,
}

/// Replays a machine whose capacity is what its services requested. A sample that the source lacks is a silent agent: the report grows old.
pub fn replay(machine: &Machine, interval_seconds: u32, setting: &Setting) -> Outcome {
    let interval = f64::from(interval_seconds);
    let capacity = Millicpu::new(1000 * machine.services.len() as u64);
    let samples = machine.services.iter().map(Vec::len).min().unwrap_or(0);
    let mut peak = WindowPeak::new(setting.window_seconds);
    let mut published: Option<Published> = None;
    let mut seen_at = 0.0;
    let mut sums = Outcome::default();
    let mut exceeded = 0u64;
    for index in 0..samples {
        let now = index as f64 * interval;
        let used: Option<Millicpu> = machine
            .services
            .iter()
            .map(|service| service.get(index).copied().flatten().map(Millicpu::new))
            .sum_all();
        if let (Some(used), Some(offer)) = (used, &published) {
            let free = capacity - used;
            let missing = offer.offer.cpu - free;
            let part = |amount: Millicpu| amount.get() as f64 / capacity.get().max(1) as f64;
            sums.samples += 1;
            sums.free += part(free);
            sums.offered += part(offer.offer.cpu);
            if missing > Millicpu::ZERO {
                exceeded += 1;
                sums.depth += part(missing);
            }
        }
        if let Some(used) = used {
            peak.push(now, used.get());
            seen_at = now;
        }
        let observation = Observation {
            capacity: Reclaimed {
                cpu: capacity,
                ..Reclaimed::ZERO
            },
            service_peak: Reclaimed {
                cpu: Millicpu::new(peak.peak(now).unwrap_or(capacity.get())),
                ..Reclaimed::ZERO
            },
            allocated: Reclaimed::ZERO,
            age_seconds: now - seen_at,
        };
        let offer = estimate(&observation, &setting.params, published.as_ref(), now).offer;
        published = Some(Published {
            offer,
            at_seconds: now,
        });
    }
    let count = sums.samples.max(1) as f64;
    Outcome {
        samples: sums.samples,
        free: sums.free / count,
        offered: sums.offered / count,
        exceeded: exceeded as f64 / count,
        depth: if exceeded == 0 {
            0.0
        } else {
            sums.depth / exceeded as f64
        },
    }
}

/// Means over machines, each weighted by its samples.
pub fn combine(outcomes: &[Outcome]) -> Outcome {
    let samples: u64 = outcomes.iter().map(|o| o.samples).sum();
    let mean = |value: fn(&Outcome) -> f64| {
        outcomes
            .iter()
            .map(|o| value(o) * o.samples as f64)
            .sum::<f64>()
            / samples.max(1) as f64
    };
    let exceeded = mean(|o| o.exceeded);
    let depth = if exceeded > 0.0 {
        mean(|o| o.depth * o.exceeded) / exceeded
    } else {
        0.0
    };
    Outcome {
        samples,
        free: mean(|o| o.free),
        offered: mean(|o| o.offered),
        exceeded,
        depth,
    }
}

/// Adds up values, or gives nothing when one is missing.
trait SumAll {
    fn sum_all(self) -> Option<Millicpu>;
}

impl<I: Iterator<Item = Option<Millicpu>>> SumAll for I {
    fn sum_all(mut self) -> Option<Millicpu> {
        self.try_fold(Millicpu::ZERO, |sum, value| value.map(|value| sum + value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting {
            params: Params {
                margin: 0.0,
                reserve: 0.0,
                raise_per_minute: 1.0,
                ..Params::default()
            },
            window_seconds: 300.0,
        }
    }

    fn machine(values: &[Option<u64>]) -> Machine {
        Machine {
            name: "m".into(),
            services: vec![values.to_vec()],
        }
    }

    #[test]
    fn a_steady_service_is_offered_all_that_it_leaves() {
        let outcome = replay(&machine(&[Some(400); 50]), 300, &setting());
        assert!((outcome.free - 0.6).abs() < 1e-9);
        assert!(outcome.offered > 0.55, "{outcome:?}");
        assert!(outcome.exceeded < 1e-9);
    }

    #[test]
    fn a_jump_is_counted_once_with_its_depth() {
        let mut values = vec![Some(200); 20];
        values.extend([Some(900); 20]);
        let outcome = replay(&machine(&values), 300, &setting());
        assert!(
            (outcome.exceeded * outcome.samples as f64 - 1.0).abs() < 1e-6,
            "{outcome:?}"
        );
        assert!((outcome.depth - 0.7).abs() < 1e-9, "{outcome:?}");
    }

    #[test]
    fn missing_samples_end_the_offer() {
        let mut values = vec![Some(200); 10];
        values.extend([None; 5]);
        values.push(Some(1000));
        let outcome = replay(&machine(&values), 300, &setting());
        assert!(
            outcome.exceeded < 1e-9,
            "a stale report must not leave an offer: {outcome:?}"
        );
    }
}
