//! Surges of services between two samples.
//!
//! A sample every second may see only the last tenth of a surge and needs the next sample for the rest. So the thread glances at two CPU
//! counters many times a second - the machine's and that of best-effort pods, a few microseconds together - and a jump of what is left
//! between them lowers the ceiling at once. Glances only ever lower it, and what they see stays out of the long window.
//!
//! A glance is compared with one at least [`LONG`] ago: the kernel charges CPU time by the clock tick (1 to 10 ms), which at that length is
//! an error of a few percent of a CPU, and a burst shorter than that is what weights are for. Once it is a surge, how high it is follows from
//! the shorter interval of [`SHORT`], because the longer one still holds the quiet before it.

use std::{collections::VecDeque, time::Duration};

use katalyst_core::units::Millicpu;

use crate::sample::CpuTimes;

/// Interval over which a jump is judged.
const LONG: Duration = Duration::from_millis(150);
/// Interval over which its height is measured.
const SHORT: Duration = Duration::from_millis(90);
/// A jump of this part of the machine is a surge: above the error of a glance, and of what 1 s averages leave out of the recent peak.
const SURGE: f64 = 0.10;
/// Glances kept; at the fastest pace they reach back twice as far as [`LONG`].
const KEPT: usize = 8;

/// The last glances, oldest first.
#[derive(Debug, Default)]
pub(super) struct Glances {
    recent: VecDeque<(u64, CpuTimes)>,
}

/// What was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rates {
    /// By best-effort pods, over the longer interval.
    pub(super) batch: Millicpu,
    /// By everything else, over the longer interval.
    pub(super) long: Millicpu,
    /// The same over the shorter one.
    pub(super) short: Millicpu,
}

impl Glances {
    /// Takes a glance; `None` while there is none old enough to compare with.
    pub(super) fn push(&mut self, now_nanos: u64, times: CpuTimes) -> Option<Rates> {
        // A counter that went back: another tree.
        if self.recent.back().is_some_and(|(at, last)| {
            *at > now_nanos || last.whole > times.whole || last.best_effort > times.best_effort
        }) {
            self.recent.clear();
        }
        let long = self.rates(LONG, now_nanos, times);
        let short = self.rates(SHORT, now_nanos, times);
        if self.recent.len() >= KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back((now_nanos, times));
        let ((batch, long), (_, short)) = (long?, short?);
        Some(Rates { batch, long, short })
    }

    /// Forgets them: what follows is not comparable.
    pub(super) fn clear(&mut self) {
        self.recent.clear();
    }

    /// Use by best-effort pods and by everything else since the latest glance that is at least that old.
    fn rates(
        &self,
        least: Duration,
        now_nanos: u64,
        now: CpuTimes,
    ) -> Option<(Millicpu, Millicpu)> {
        let (elapsed, before) = self
            .recent
            .iter()
            .rev()
            .map(|(at, times)| (now_nanos.saturating_sub(*at), times))
            .find(|(elapsed, _)| u128::from(*elapsed) >= least.as_nanos())?;
        let whole = now.whole.saturating_sub(before.whole);
        let best_effort = now.best_effort.saturating_sub(before.best_effort);
        let rate = |nanos: u64| Millicpu::new((nanos as f64 * 1_000.0 / elapsed as f64) as u64);
        Some((rate(best_effort), rate(whole.saturating_sub(best_effort))))
    }
}

/// Whether that is a surge above what the ceiling is made for.
pub(super) fn is_surge(service: Millicpu, recent_peak: Millicpu, capacity: Millicpu) -> bool {
    service > recent_peak + capacity.scale(SURGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(whole: u64, best_effort: u64) -> CpuTimes {
        CpuTimes {
            whole: whole * 1_000_000,
            best_effort: best_effort * 1_000_000,
        }
    }

    fn push(
        glances: &mut Glances,
        millis: u64,
        whole: u64,
        best_effort: u64,
    ) -> Option<(u64, u64)> {
        glances
            .push(millis * 1_000_000, times(whole, best_effort))
            .map(|rates| (rates.long.get(), rates.short.get()))
    }

    #[test]
    fn a_jump_is_judged_over_the_long_and_measured_over_the_short_interval() {
        let mut glances = Glances::default();
        assert_eq!(push(&mut glances, 0, 0, 0), None);
        assert_eq!(push(&mut glances, 50, 0, 0), None);
        assert_eq!(push(&mut glances, 100, 0, 0), None, "too soon");
        // Two CPUs from here on, and batch beside them.
        assert_eq!(push(&mut glances, 150, 150, 50), Some((666, 1_000)));
        assert_eq!(push(&mut glances, 200, 300, 100), Some((1_333, 2_000)));
    }

    #[test]
    fn seldom_glances_are_compared_with_the_one_before() {
        let mut glances = Glances::default();
        push(&mut glances, 0, 0, 0);
        assert_eq!(push(&mut glances, 250, 500, 250), Some((1_000, 1_000)));
    }

    #[test]
    fn batch_is_measured_apart() {
        let mut glances = Glances::default();
        push(&mut glances, 0, 0, 0);
        let rates = glances.push(200_000_000, times(300, 100));
        assert_eq!(rates.map(|rates| rates.batch.get()), Some(500));
    }

    #[test]
    fn a_counter_that_went_back_starts_anew() {
        let mut glances = Glances::default();
        push(&mut glances, 0, 500, 100);
        assert_eq!(push(&mut glances, 250, 400, 100), None);
        assert_eq!(push(&mut glances, 500, 500, 100), Some((400, 400)));
    }

    #[test]
    fn noise_is_no_surge() {
        let surge = |service| {
            is_surge(
                Millicpu::new(service),
                Millicpu::new(1_000),
                Millicpu::new(4_000),
            )
        };
        assert!(!surge(1_400));
        assert!(surge(1_401));
    }
}
