//! How often to glance for a surge.
//!
//! | | pause |
//! |---|---|
//! | reclaimed pods use next to nothing | [`SLOW`]: there is nothing that could give way |
//! | no pressure triggers | [`FAST`] |
//! | triggers, and they are silent | [`SLOW`]: they wake the thread; a surge that makes no service wait is in no hurry |
//! | for [`ALERT`] after a trigger or a surge | [`FAST`]: the height of a surge is known only once it lasts |
//!
//! A glance costs a few microseconds, so the fastest pace is a ten-thousandth of a CPU. Where it costs more (a version 2 kernel sums counters
//! over many CPUs and children first), the pause grows with it: glances never take more than a two-hundredth of a CPU.

use std::time::Duration;

use katalyst_core::units::Millicpu;

/// Pause while a surge is looked for by glances alone: two glances fit into the interval over which a jump is judged.
const FAST: Duration = Duration::from_millis(75);
/// Pause while triggers tell.
const SLOW: Duration = Duration::from_millis(250);
/// Batch that uses less than this part of the machine has nothing to give up: a tenth of the jump that counts as a surge.
const QUIET: f64 = 0.01;
/// How long a surge is followed closely.
const ALERT: Duration = Duration::from_secs(1);
/// A pause is at least this many times what a glance takes.
const COST: u32 = 200;

/// State of the pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    triggers: bool,
    quiet_batch: bool,
    alert_until_nanos: u64,
    /// Smoothed over some glances, since one may be interrupted.
    cost: Duration,
}

impl Pace {
    /// Whether triggers are set.
    pub(super) fn set_triggers(&mut self, set: bool) {
        self.triggers = set;
    }

    /// What best-effort pods used between the last glances, of a machine of `capacity`.
    pub(super) fn batch(&mut self, used: Millicpu, capacity: Millicpu) {
        self.quiet_batch = used < capacity.scale(QUIET);
    }

    /// Something happened: follow it closely.
    pub(super) fn alert(&mut self, now_nanos: u64) {
        let alert = u64::try_from(ALERT.as_nanos()).unwrap_or(u64::MAX);
        self.alert_until_nanos = now_nanos.saturating_add(alert);
    }

    /// What a glance took.
    pub(super) fn cost(&mut self, took: Duration) {
        self.cost = (self.cost.saturating_mul(7) + took) / 8;
    }

    /// Time until the next glance.
    pub(super) fn pause(&self, now_nanos: u64) -> Duration {
        let restful = self.triggers || self.quiet_batch;
        let pause = if restful && now_nanos >= self.alert_until_nanos {
            SLOW
        } else {
            FAST
        };
        pause.max(self.cost.saturating_mul(COST)).min(SLOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_let_it_rest_and_wake_it() {
        let mut pace = Pace::default();
        assert_eq!(pace.pause(0), FAST);
        pace.set_triggers(true);
        assert_eq!(pace.pause(0), SLOW);
        pace.alert(5);
        assert_eq!(pace.pause(1_000_000_004), FAST);
        assert_eq!(pace.pause(1_000_000_005), SLOW);
    }

    #[test]
    fn without_batch_there_is_nothing_to_hurry_for() {
        let capacity = Millicpu::new(8_000);
        let mut pace = Pace::default();
        pace.batch(Millicpu::new(79), capacity);
        assert_eq!(pace.pause(0), SLOW);
        pace.batch(Millicpu::new(80), capacity);
        assert_eq!(pace.pause(0), FAST);
    }

    #[test]
    fn dear_glances_are_rare() {
        let mut pace = Pace::default();
        for _ in 0..50 {
            pace.cost(Duration::from_micros(500));
        }
        let pause = pace.pause(0);
        assert!(
            (Duration::from_millis(95)..=Duration::from_millis(100)).contains(&pause),
            "{pause:?}"
        );
        for _ in 0..50 {
            pace.cost(Duration::from_millis(500));
        }
        assert_eq!(pace.pause(0), SLOW, "never slower than a look");
    }
}
