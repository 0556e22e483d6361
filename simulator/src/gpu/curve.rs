//! What a filling run measures, at the points at which the benchmark reports it.
//!
//! After each pod: compute arrived (failed pods too), used, and fragmented. A point k is the mean over the pods after which k percent of the cluster's compute had arrived.

use katalyst_core::packing::PodClass;

/// Points of arrival, percent of the cluster's compute.
pub const POINTS: [u32; 12] = [50, 60, 70, 80, 85, 90, 95, 100, 105, 110, 120, 130];

/// Kinds of pods that are counted apart.
pub const KINDS: [&str; 4] = ["cpu-only", "share", "one card", "several cards"];

/// Position in [`KINDS`].
pub fn kind(class: &PodClass) -> usize {
    match class.cards {
        0 => 0,
        1 if class.is_share() => 1,
        1 => 2,
        _ => 3,
    }
}

/// Sums at one point.
#[derive(Debug, Clone, Copy, Default)]
struct Point {
    events: u32,
    allocated: f64,
    fragmented: f64,
    of_idle: f64,
}

/// A run's curve, filled pod by pod.
#[derive(Debug, Clone)]
pub struct Curve {
    capacity: u64,
    exact: Vec<Point>,
}

/// The state of the cluster after a pod, milli of a card.
#[derive(Debug, Clone, Copy)]
pub struct After {
    /// Arrived so far.
    pub arrived: u64,
    /// Placed so far.
    pub used: u64,
    /// Of what is idle, what typical pods cannot use.
    pub fragmented: f64,
}

fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

impl Curve {
    /// For a cluster with this compute.
    pub fn new(capacity: u64) -> Self {
        Self {
            capacity,
            exact: vec![Point::default(); 140],
        }
    }

    /// Counts the state after a pod.
    pub fn add(&mut self, after: After) {
        let capacity = self.capacity as f64;
        let arrived = (100.0 * after.arrived as f64 / capacity).round_ties_even();
        let Some(point) = self.exact.get_mut(arrived as usize) else {
            return;
        };
        point.events += 1;
        point.allocated += round(100.0 * after.used as f64 / capacity, 2);
        point.fragmented += round(after.fragmented, 2);
        let idle = self.capacity.saturating_sub(after.used) as f64;
        if idle > 0.0 {
            point.of_idle += round(100.0 * after.fragmented / idle, 2);
        }
    }

    fn at(&self, k: u32) -> Point {
        let k = k as usize;
        let exact = self.exact.get(k).copied().unwrap_or_default();
        if exact.events > 0 {
            return exact;
        }
        // As the benchmark: no event exactly there, so those one percent off.
        let near = self.exact.get(k.saturating_sub(1)..=k + 1).unwrap_or(&[]);
        near.iter().fold(Point::default(), |sum, point| Point {
            events: sum.events + point.events,
            allocated: sum.allocated + point.allocated,
            fragmented: sum.fragmented + point.fragmented,
            of_idle: sum.of_idle + point.of_idle,
        })
    }

    /// Compute allocated, percent of the cluster.
    pub fn allocated(&self) -> [f64; 12] {
        POINTS.map(|k| {
            let point = self.at(k);
            round(point.allocated / f64::from(point.events), 2)
        })
    }

    /// Compute fragmented, percent of the cluster.
    pub fn fragmented(&self) -> [f64; 12] {
        POINTS.map(|k| {
            let point = self.at(k);
            round(
                100.0 * point.fragmented / f64::from(point.events) / self.capacity as f64,
                2,
            )
        })
    }

    /// Compute fragmented, percent of what is idle.
    pub fn of_idle(&self) -> [f64; 12] {
        POINTS.map(|k| {
            let point = self.at(k);
            point.of_idle / f64::from(point.events)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_the_mean_of_the_pods_around_it() {
        let mut curve = Curve::new(1000);
        for (arrived, used) in [(496, 400), (504, 500), (511, 1000)] {
            curve.add(After {
                arrived,
                used,
                fragmented: 100.0,
            });
        }
        assert!((curve.allocated()[0] - 45.0).abs() < 1e-9);
        assert!((curve.fragmented()[0] - 10.0).abs() < 1e-9);
    }

    #[test]
    fn pods_are_told_apart() {
        let kinds = [
            PodClass::cpu_only(1),
            PodClass::gpu(1, 999, 1),
            PodClass::gpu(1, 1000, 1),
            PodClass::gpu(1, 1000, 8),
        ];
        assert_eq!(kinds.map(|class| kind(&class)), [0, 1, 2, 3]);
    }
}
