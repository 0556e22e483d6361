//! The batch backlog: pods of a few sizes whose work takes an hour in the median.

use katalyst_core::reclaimed::Reclaimed;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Requests in thousandths of a CPU.
const REQUESTS: [u64; 4] = [500, 1000, 2000, 4000];

/// Shortest and longest duration in seconds at full speed.
const DURATIONS: (f64, f64) = (300.0, 86_400.0);

/// A batch pod.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchPod {
    /// What it asks for.
    pub request: Reclaimed,
    /// Seconds of work at full speed.
    pub work: f64,
    /// Of it done.
    pub done: f64,
    /// Seconds since it was bound.
    pub age: f64,
    /// It got less than it asked for in the last step.
    pub throttled: bool,
    /// What it used in the last step, in thousandths of a CPU.
    pub usage: u64,
}

/// Pods without end.
#[derive(Debug)]
pub struct Backlog {
    random: StdRng,
    /// Evicted pods come first, and begin anew.
    again: Vec<BatchPod>,
}

impl Backlog {
    /// The same seed gives the same pods.
    pub fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            again: Vec::new(),
        }
    }

    /// The next pod.
    pub fn draw(&mut self) -> BatchPod {
        if let Some(pod) = self.again.pop() {
            return pod;
        }
        let size = self.random.random_range(0..REQUESTS.len());
        // Lognormal, sigma 1: Box and Muller.
        let (a, b): (f64, f64) = (
            self.random.random_range(f64::MIN_POSITIVE..1.0),
            self.random.random_range(0.0..1.0),
        );
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        BatchPod {
            request: Reclaimed::new(REQUESTS.get(size).copied().unwrap_or(1000), 0),
            work: (3600.0 * normal.exp()).clamp(DURATIONS.0, DURATIONS.1),
            done: 0.0,
            age: 0.0,
            throttled: false,
            usage: 0,
        }
    }

    /// Puts a pod back, which begins anew if it ran.
    pub fn put_back(&mut self, mut pod: BatchPod) {
        (pod.done, pod.age, pod.usage, pod.throttled) = (0.0, 0.0, 0, false);
        self.again.push(pod);
    }

    /// A node among so many.
    pub fn pick(&mut self, nodes: usize) -> usize {
        self.random.random_range(0..nodes.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_pods_and_evicted_ones_begin_anew() {
        let (mut a, mut b) = (Backlog::new(7), Backlog::new(7));
        let first: Vec<BatchPod> = (0..50).map(|_| a.draw()).collect();
        assert_eq!(first, (0..50).map(|_| b.draw()).collect::<Vec<_>>());
        assert!(first.iter().all(|p| (300.0..=86_400.0).contains(&p.work)));
        a.put_back(BatchPod {
            done: 40.0,
            ..first[3].clone()
        });
        assert_eq!(a.draw(), first[3]);
    }
}
