//! How long to wait before attempt `n` of something that failed: exponential, capped, with jitter.

use std::time::Duration;

use rand::{Rng, RngExt};

/// The shape of a series of waits. Wait `n` (from 0) is drawn evenly from the upper half of
/// `min(base * 2^n, cap)`, so that clients which failed together do not come back together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// A series that starts near `base` and never exceeds `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// The wait after `attempt` earlier failures (0 for the first).
    pub fn delay(&self, attempt: u32, rng: &mut impl Rng) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        let full = self.base.saturating_mul(factor).min(self.cap);
        full.mul_f64(0.5 + 0.5 * rng.random::<f64>())
    }

    /// A counter over this series for one operation.
    pub const fn start(self) -> Attempts {
        Attempts {
            backoff: self,
            failures: 0,
        }
    }
}

/// Counts the failures of one operation and says how long to wait next.
#[derive(Clone, Debug)]
pub struct Attempts {
    backoff: Backoff,
    failures: u32,
}

impl Attempts {
    /// Counts one more failure and returns the wait before the next attempt.
    pub fn next_delay(&mut self, rng: &mut impl Rng) -> Duration {
        let delay = self.backoff.delay(self.failures, rng);
        self.failures = self.failures.saturating_add(1);
        delay
    }

    /// Failures since the last success.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// The operation succeeded: the next failure starts at the base again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A period with up to `fraction` of it added at random, to keep replicas out of step.
pub fn jittered(period: Duration, fraction: f64, rng: &mut impl Rng) -> Duration {
    period + period.mul_f64(fraction.clamp(0.0, 10.0) * rng.random::<f64>())
}

/// Pauses between attempts to restore a watch: half a second to five, jittered. kube's own go up to 30 s; after an outage of the API server
/// that is how long a new pod would run unseen.
pub fn watch_backoff() -> WatchBackoff {
    const RESTORE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));
    WatchBackoff {
        attempts: RESTORE.start(),
    }
}

/// What [`watch_backoff`] gives to `WatchStreamExt::backoff`.
#[derive(Debug, Clone)]
pub struct WatchBackoff {
    attempts: Attempts,
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.attempts.next_delay(&mut rand::rng()))
    }
}

impl kube::runtime::utils::Backoff for WatchBackoff {
    fn reset(&mut self) {
        self.attempts.reset();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

    #[test]
    fn waits_double_up_to_the_cap_and_start_over_after_a_success() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut attempts = BACKOFF.start();
        for full_ms in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            let delay = attempts.next_delay(&mut rng);
            let full = Duration::from_millis(full_ms);
            assert!(full / 2 <= delay && delay <= full, "{delay:?} of {full:?}");
        }
        attempts.reset();
        assert_eq!(attempts.failures(), 0);
        assert!(attempts.next_delay(&mut rng) <= Duration::from_millis(100));
    }

    proptest! {
        #[test]
        fn no_attempt_exceeds_the_cap(attempt in any::<u32>(), seed in any::<u64>()) {
            let delay = BACKOFF.delay(attempt, &mut StdRng::seed_from_u64(seed));
            prop_assert!(delay <= Duration::from_secs(10));
            prop_assert!(delay >= Duration::from_millis(50));
        }

        #[test]
        fn jitter_only_adds_up_to_its_fraction(ms in 0_u64..100_000, seed in any::<u64>()) {
            let period = Duration::from_millis(ms);
            let waited = jittered(period, 0.5, &mut StdRng::seed_from_u64(seed));
            prop_assert!(period <= waited && waited <= period.mul_f64(1.5) + Duration::from_nanos(1));
        }
    }
}
