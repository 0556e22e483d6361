//! Seconds until nothing is available, at the pace of the last ones.
//!
//! Source: what is available at each reading ([`super::available`]). A straight line by least squares through the last [`WINDOW`] readings; no forecast while available grows, is flat (less than a thousandth of
//! memory a second), or wavers so much that a line explains less than half of it. Warning below 30 s, Critical below 10 s; over above 60 s: the ladder's rungs up to eviction take some 20 s. Misleads: a pod that fills its
//! limit and stops. So a forecast alone never goes further than to stop new batch pods (see the board).

use super::{Detector, GateParams, Limits};
use crate::units::Bytes;

/// Readings of a line.
pub const WINDOW: usize = 8;
/// A slope below this part of memory a second is flat.
const FLAT: f64 = 0.001;
/// The part of the spread that a line must explain.
const FITS: f64 = 0.5;

/// Warning below 30 s, Critical below 10 s.
pub fn detector() -> Detector {
    Detector::new(
        Limits::Below {
            warning: 30.0,
            critical: 10.0,
            clear: 60.0,
        },
        GateParams::SECOND,
    )
}

/// The last readings.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Trend {
    readings: [(f64, f64); WINDOW],
    length: usize,
}

impl Trend {
    /// Adds a reading at `now` seconds. Readings more than five seconds apart start anew.
    pub fn push(&mut self, now: f64, available: Bytes) {
        if let Some((last, _)) = self.filled().last()
            && now - last > 5.0
        {
            self.length = 0;
        }
        if self.length == WINDOW {
            self.readings.rotate_left(1);
            self.length = WINDOW.saturating_sub(1);
        }
        if let Some(slot) = self.readings.get_mut(self.length) {
            *slot = (now, available.get() as f64);
            self.length = self.length.saturating_add(1);
        }
    }

    fn filled(&self) -> &[(f64, f64)] {
        self.readings.get(..self.length).unwrap_or_default()
    }

    /// Seconds to nothing; infinite where it does not fall; `None` before there are four readings.
    pub fn seconds_left(&self, total: Bytes) -> Option<f64> {
        let readings = self.filled();
        let (_, last) = readings.last().copied()?;
        if readings.len() < 4 {
            return None;
        }
        let count = readings.len() as f64;
        let mean_t = readings.iter().map(|(t, _)| t).sum::<f64>() / count;
        let mean_v = readings.iter().map(|(_, v)| v).sum::<f64>() / count;
        let (mut tt, mut tv, mut vv) = (0.0, 0.0, 0.0);
        for (t, v) in readings {
            tt += (t - mean_t).powi(2);
            tv += (t - mean_t) * (v - mean_v);
            vv += (v - mean_v).powi(2);
        }
        let slope = if tt > 0.0 { tv / tt } else { 0.0 };
        let explained = if tt > 0.0 && vv > 0.0 {
            tv * tv / (tt * vv)
        } else {
            0.0
        };
        let falls = slope < -FLAT * total.get() as f64 && explained >= FITS;
        // A finite number, so that it counts as a reading: an hour stands for "not in sight".
        Some(if falls {
            (last / -slope).min(3_600.0)
        } else {
            3_600.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Bytes = Bytes::new(1_000);

    fn left(values: &[u64]) -> Option<f64> {
        let mut trend = Trend::default();
        for (second, value) in values.iter().enumerate() {
            trend.push(second as f64, Bytes::new(*value));
        }
        trend.seconds_left(TOTAL)
    }

    #[test]
    fn a_steady_fall_ends_when_the_line_does() {
        assert_eq!(left(&[500, 490, 480]), None);
        assert_eq!(left(&[500, 490, 480, 470]), Some(47.0));
        // Only the last readings count.
        assert_eq!(
            left(&[900, 900, 900, 900, 400, 380, 360, 340, 320, 300, 280, 260]),
            Some(13.0)
        );
    }

    #[test]
    fn noise_and_growth_have_no_end_in_sight() {
        assert_eq!(left(&[500, 500, 500, 500]), Some(3_600.0));
        assert_eq!(left(&[500, 510, 520, 530]), Some(3_600.0));
        assert_eq!(
            left(&[500, 300, 490, 310, 480, 300, 490, 300]),
            Some(3_600.0)
        );
    }

    #[test]
    fn a_pause_starts_anew() {
        let mut trend = Trend::default();
        for second in 0..8_u32 {
            trend.push(f64::from(second), Bytes::new(u64::from(500 - second * 20)));
        }
        trend.push(60.0, Bytes::new(300));
        assert_eq!(trend.seconds_left(TOTAL), None);
    }
}
