//! Base and scale of a prediction: where the peak is expected, and how far it may be off.
//!
//! ```text
//! P = clip(B + q S, 0, 1) L          L = sum of limits, q from the calibration of the pool
//! ```
//!
//! All parts are over L. T24, T7, Tall: highest of the last day, week and 28 days of the history of the pods that are here now (`node.rs`); H: the same of
//! the sum of their own maxima. m, var: decaying mean and variance; M7, Ma: highest of a week and of the pod's life; u: now.
//!
//! Horizon of a day:
//!
//! ```text
//! B = 0.50 Tall + 0.20 T7 + 0.15 T24 + 0.15 H
//! S = max(0.3 X + 0.3 Y + 0.2 Z + 0.2 (1 - min(1, T7)), 0.003) F^0.4
//! X = max_i (L_i - Ma_i) 288 / (288 + a_i)     a record falls into the next day with this chance (exchangeable days)
//! Y = max_i (L_i - M7_i)                        one pod jumps to its limit
//! Z = sqrt(sum (M7_i - m_i)^2)                  all return to their weekly highs, independently
//! F = 2 / (1 + age / 288)                       age: mean of ln a_i weighted by limits, a in samples
//! ```
//!
//! Horizon of an hour, A1 and A2 the highest of the pods' sum in the last one and two hours:
//!
//! ```text
//! B = 0.20 U + 0.25 A1 + 0.25 sum_i (own highest of the last hour) + 0.15 A2 + 0.15 T24
//! S = max(0.45 max_i (M7_i - u_i) + 0.15 sqrt(sum (M7_i - u_i)^2) + 0.25 sqrt(sum var_i) + 0.10 X + 0.05, 0.003) F^0.1
//! ```
//!
//! Coefficients were fitted by hand on half of the machines of nine recorded scenarios; `docs/prediction.md` has the figures and what else was tried.

use serde::{Deserialize, Serialize};

/// How far ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Horizon {
    /// For pods that should stay.
    Day,
    /// For pods that can be throttled.
    Hour,
}

impl Horizon {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Day, Self::Hour];

    /// Its length in samples.
    pub const fn steps(self) -> u64 {
        match self {
            Self::Day => super::super::STEPS_PER_DAY,
            Self::Hour => super::super::STEPS_PER_HOUR,
        }
    }
}

/// Base and scale, over the sum of limits.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Shape {
    /// Where the peak is expected.
    pub base: f64,
    /// How far it may be off, in the unit of a score.
    pub scale: f64,
    /// Sum of limits.
    pub limit: f64,
}

impl Shape {
    /// The prediction with a factor on the scale, between zero and the sum of limits.
    pub fn peak(&self, q: f64) -> f64 {
        (self.base + q * self.scale).clamp(0.0, 1.0) * self.limit
    }

    /// The factor that would just have been enough for what came.
    pub fn score(&self, highest: f64) -> f64 {
        if self.limit > 0.0 && self.scale > 0.0 {
            (highest / self.limit - self.base) / self.scale
        } else {
            0.0
        }
    }
}

/// The highest of some spans of the history of the pods that are here.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Highs {
    pub(super) day: f64,
    pub(super) week: f64,
    pub(super) all: f64,
    pub(super) own: f64,
}

/// What the formulas take of the pods.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parts {
    pub(super) limit: f64,
    pub(super) usage: f64,
    /// Sum of the pods' own highest of the last hour.
    pub(super) own_hour: f64,
    /// X L.
    pub(super) record: f64,
    /// Y L.
    pub(super) jump: f64,
    /// (Z L)^2.
    pub(super) returns: f64,
    pub(super) largest_return: f64,
    /// Sum of (M7 - u)^2.
    pub(super) returns_from_now: f64,
    pub(super) variance: f64,
    /// Sum of L_i ln a_i.
    pub(super) age: f64,
}

impl Parts {
    fn young(&self) -> f64 {
        let age = (self.age / self.limit).exp();
        2.0 / (1.0 + age / 288.0)
    }

    pub(super) fn day(&self, highs: &Highs) -> Shape {
        let l = self.limit;
        if l <= 0.0 {
            return Shape::default();
        }
        let base = (0.50 * highs.all + 0.20 * highs.week + 0.15 * highs.day + 0.15 * highs.own) / l;
        let free = 1.0 - (highs.week / l).min(1.0);
        let spread = (0.3 * self.record + 0.3 * self.jump + 0.2 * self.returns.sqrt()) / l;
        Shape {
            base,
            scale: (spread + 0.2 * free).max(0.003) * self.young().powf(0.4),
            limit: l,
        }
    }

    pub(super) fn hour(&self, highs: &Highs, last: f64, last_two: f64) -> Shape {
        let l = self.limit;
        if l <= 0.0 {
            return Shape::default();
        }
        let base = 0.20 * self.usage
            + 0.25 * last
            + 0.25 * self.own_hour
            + 0.15 * last_two
            + 0.15 * highs.day;
        let spread = 0.45 * self.largest_return
            + 0.15 * self.returns_from_now.sqrt()
            + 0.25 * self.variance.sqrt()
            + 0.10 * self.record;
        Shape {
            base: base / l,
            scale: (spread / l + 0.05).max(0.003) * self.young().powf(0.1),
            limit: l,
        }
    }
}
