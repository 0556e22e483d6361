//! The hourly maxima and means of one amount over 28 days: enough history for a daily and a weekly cycle, four bytes an hour.
//!
//! Values are kept in parts of a scale (a pod's limit) of 2^-14, up to four times the scale; maxima are rounded up, so a history never says less than was seen.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Hours that are kept: 28 days.
pub const HOURS: usize = 672;

/// Parts of the scale.
const PARTS: f64 = 16_384.0;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hours {
    scale: f64,
    /// `(maximum, mean)` of complete hours, newest first.
    past: VecDeque<(u16, u16)>,
    /// Number of the running hour.
    hour: u64,
    running: Running,
}

/// The hour that is not over yet.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Running {
    highest: f64,
    sum: f64,
    samples: u32,
}

impl Running {
    fn mean(&self) -> f64 {
        self.sum / f64::from(self.samples.max(1))
    }
}

fn encode(value: f64, scale: f64, up: bool) -> u16 {
    let parts = value / scale * PARTS;
    let parts = if up { parts.ceil() } else { parts.round() };
    // Casts of floats saturate: NaN is zero.
    parts as u16
}

impl Hours {
    /// Empty, beginning in an hour. A scale that is not positive counts as one.
    pub fn new(scale: f64, hour: u64) -> Self {
        Self {
            scale: if scale > 0.0 { scale } else { 1.0 },
            past: VecDeque::new(),
            hour,
            running: Running::default(),
        }
    }

    /// Takes a sample of an hour. True when another hour began. Hours without a sample take the mean of the hour before them.
    pub fn push(&mut self, hour: u64, value: f64) -> bool {
        let over = hour > self.hour;
        if over {
            let (highest, mean) = (self.running.highest, self.running.mean());
            self.keep(highest, mean);
            // A silent agent: at most the ring's length is filled.
            for _ in 0..(hour - self.hour - 1).min(HOURS as u64) {
                self.keep(mean, mean);
            }
            self.hour = hour;
            self.running = Running::default();
        }
        self.running.highest = self.running.highest.max(value);
        self.running.sum += value;
        self.running.samples += 1;
        over
    }

    fn keep(&mut self, highest: f64, mean: f64) {
        self.past.truncate(HOURS - 1);
        self.past.push_front((
            encode(highest, self.scale, true),
            encode(mean, self.scale, false),
        ));
    }

    /// Keeps what was seen in parts of another scale, after a limit changed.
    pub fn rescale(&mut self, scale: f64) {
        if scale > 0.0 && (scale - self.scale).abs() > 0.0 {
            let ratio = self.scale / scale;
            for (highest, mean) in &mut self.past {
                *highest = encode(f64::from(*highest) / PARTS * ratio, 1.0, true);
                *mean = encode(f64::from(*mean) / PARTS * ratio, 1.0, false);
            }
            self.scale = scale;
        }
    }

    /// `(maximum, mean)` of complete hours, newest first.
    pub fn past(&self) -> impl ExactSizeIterator<Item = (f64, f64)> + '_ {
        let part = self.scale / PARTS;
        self.past
            .iter()
            .map(move |(highest, mean)| (f64::from(*highest) * part, f64::from(*mean) * part))
    }

    /// `(maximum, mean)` of the running hour.
    pub fn running(&self) -> (f64, f64) {
        (self.running.highest, self.running.mean())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hours_are_newest_first_and_silence_is_filled_with_the_mean() {
        let mut hours = Hours::new(1000.0, 5);
        assert!(!hours.push(5, 100.0));
        assert!(!hours.push(5, 300.0));
        assert!(hours.push(8, 50.0));
        let past: Vec<(f64, f64)> = hours.past().collect();
        assert_eq!(past.len(), 3);
        assert!((past[2].0 - 300.0).abs() < 0.1 && (past[2].1 - 200.0).abs() < 0.1);
        assert!((past[0].0 - 200.0).abs() < 0.1);
        assert_eq!(hours.running(), (50.0, 50.0));
    }

    #[test]
    fn a_long_silence_is_no_longer_than_the_ring() {
        let mut hours = Hours::new(1.0, 0);
        hours.push(0, 0.5);
        hours.push(u64::MAX, 0.5);
        assert_eq!(hours.past().len(), HOURS);
    }

    proptest! {
        #[test]
        fn a_maximum_is_never_below_what_was_seen(values in prop::collection::vec(0.0..3990.0f64, 1..50), other in 1100.0..4000.0f64) {
            let mut hours = Hours::new(1000.0, 0);
            for (hour, value) in values.iter().enumerate() {
                hours.push(hour as u64, *value);
            }
            hours.push(values.len() as u64, 0.0);
            for ((highest, mean), value) in hours.past().zip(values.iter().rev()) {
                prop_assert!(highest >= *value && highest < value + 0.1);
                prop_assert!((mean - value).abs() < 0.1);
            }
            hours.rescale(other);
            for ((highest, _), value) in hours.past().zip(values.iter().rev()) {
                prop_assert!(highest >= value - 1e-9 && highest < value + 0.5);
            }
        }
    }
}
