//! From a measured number to a severity that does not flap: limits, two readings, time up, time down.
//!
//! A severity stands once it was reached in at least two readings in a row and for [`GateParams::raise_seconds`]; it falls once everything was below it for
//! [`GateParams::clear_seconds`], again in two readings. Readings further apart than [`GateParams::gap_seconds`] are not "in a row": an agent that was stopped, or a machine
//! that stood still, starts counting anew. A measure that is lost is off at once and forgets what stood, since stale data must not act.

use serde::Serialize;

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing to do.
    #[default]
    Calm,
    /// It will hurt; cheap measures are due.
    Warning,
    /// It hurts; whatever helps is due.
    Critical,
}

impl Severity {
    /// The name shown in metrics and debug output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Times of a gate, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateParams {
    /// How long a severity must be reached before it stands. At least two readings whatever this is.
    pub raise_seconds: f64,
    /// How long it must not be reached before it falls.
    pub clear_seconds: f64,
    /// Readings further apart are not in a row.
    pub gap_seconds: f64,
}

impl GateParams {
    /// For readings once a second: one second up, five down.
    pub const SECOND: Self = Self {
        raise_seconds: 0.0,
        clear_seconds: 5.0,
        gap_seconds: 5.0,
    };
}

/// What stands, and for how long something else has been measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    params: GateParams,
    standing: Severity,
    /// Since when, and in how many readings, at least Warning and at least Critical were measured.
    above: [Run; 2],
    /// The same for below what stands.
    below: Run,
    last: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Run {
    since: Option<f64>,
    readings: u32,
}

impl Run {
    fn push(&mut self, now: f64, holds: bool) {
        if holds {
            self.since.get_or_insert(now);
            self.readings = self.readings.saturating_add(1);
        } else {
            *self = Self::default();
        }
    }

    fn lasted(&self, now: f64, seconds: f64) -> bool {
        self.readings >= 2 && self.since.is_some_and(|since| now - since >= seconds)
    }
}

impl Gate {
    /// Calm.
    pub fn new(params: GateParams) -> Self {
        Self {
            params,
            standing: Severity::Calm,
            above: [Run::default(); 2],
            below: Run::default(),
            last: None,
        }
    }

    /// What stands.
    pub fn standing(&self) -> Severity {
        self.standing
    }

    /// Takes a reading at `now` (seconds, only forward); what stands after it.
    pub fn observe(&mut self, now: f64, measured: Severity) -> Severity {
        if self
            .last
            .is_some_and(|last| now - last > self.params.gap_seconds)
        {
            self.above = [Run::default(); 2];
            self.below = Run::default();
        }
        self.last = Some(now);
        for (run, level) in self
            .above
            .iter_mut()
            .zip([Severity::Warning, Severity::Critical])
        {
            run.push(now, measured >= level);
        }
        let raised = self
            .above
            .iter()
            .zip([Severity::Warning, Severity::Critical])
            .filter(|(run, _)| run.lasted(now, self.params.raise_seconds))
            .map(|(_, level)| level)
            .max()
            .unwrap_or_default();
        if raised > self.standing {
            self.standing = raised;
            self.below = Run::default();
        }
        self.below.push(now, measured < self.standing);
        if self.below.lasted(now, self.params.clear_seconds) {
            self.standing = raised.max(measured).min(self.standing);
            self.below = Run::default();
        }
        self.standing
    }

    /// The measure is lost: nothing stands.
    pub fn lose(&mut self) {
        *self = Self::new(self.params);
    }
}

/// From which numbers on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limits {
    /// Large is bad.
    Above {
        /// From here on Warning.
        warning: f64,
        /// From here on Critical.
        critical: f64,
        /// Below this it is over; between this and `warning`, what stood stands.
        clear: f64,
    },
    /// Small is bad.
    Below {
        /// Below this Warning.
        warning: f64,
        /// Below this Critical.
        critical: f64,
        /// Above this it is over.
        clear: f64,
    },
}

impl Limits {
    fn severity(&self, value: f64, standing: Severity) -> Severity {
        let (bad, worst, lingers) = match *self {
            Self::Above {
                warning,
                critical,
                clear,
            } => (value >= warning, value >= critical, value >= clear),
            Self::Below {
                warning,
                critical,
                clear,
            } => (value < warning, value < critical, value < clear),
        };
        if worst {
            Severity::Critical
        } else if bad || (lingers && standing > Severity::Calm) {
            Severity::Warning
        } else {
            Severity::Calm
        }
    }
}

/// What a detector says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// The kernel file that it needs is missing.
    Off(&'static str),
    /// There are not two readings yet.
    Learning,
    /// A number, and what stands.
    On {
        /// What was measured; its unit is the detector's.
        value: f64,
        /// What stands.
        severity: Severity,
    },
}

impl Reading {
    /// What stands; calm where it is off.
    pub fn severity(&self) -> Severity {
        match self {
            Self::On { severity, .. } => *severity,
            Self::Off(_) | Self::Learning => Severity::Calm,
        }
    }
}

/// Limits with a gate behind them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detector {
    limits: Limits,
    gate: Gate,
}

impl Detector {
    /// Calm.
    pub fn new(limits: Limits, params: GateParams) -> Self {
        Self {
            limits,
            gate: Gate::new(params),
        }
    }

    /// Takes a value; `None` where there is none yet. A value that is no number is none.
    pub fn judge(&mut self, now: f64, value: Option<f64>) -> Reading {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return Reading::Learning;
        };
        let measured = self.limits.severity(value, self.gate.standing());
        Reading::On {
            value,
            severity: self.gate.observe(now, measured),
        }
    }

    /// The file is missing.
    pub fn off(&mut self, missing: &'static str) -> Reading {
        self.gate.lose();
        Reading::Off(missing)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ABOVE: Limits = Limits::Above {
        warning: 10.0,
        critical: 50.0,
        clear: 5.0,
    };

    fn severity(detector: &mut Detector, now: f64, value: f64) -> Severity {
        detector.judge(now, Some(value)).severity()
    }

    #[test]
    fn one_reading_is_none_and_two_stand() {
        let mut detector = Detector::new(ABOVE, GateParams::SECOND);
        assert_eq!(severity(&mut detector, 0.0, 99.0), Severity::Calm);
        assert_eq!(severity(&mut detector, 1.0, 99.0), Severity::Critical);
        // Down only after five seconds, and while it is above `clear` as a warning.
        for second in 2..7 {
            assert_eq!(
                severity(&mut detector, f64::from(second), 7.0),
                Severity::Critical
            );
        }
        assert_eq!(severity(&mut detector, 7.0, 7.0), Severity::Warning);
        for second in 8..13 {
            assert_eq!(
                severity(&mut detector, f64::from(second), 1.0),
                Severity::Warning
            );
        }
        assert_eq!(severity(&mut detector, 13.0, 1.0), Severity::Calm);
    }

    #[test]
    fn readings_far_apart_are_not_in_a_row() {
        let mut detector = Detector::new(ABOVE, GateParams::SECOND);
        severity(&mut detector, 0.0, 99.0);
        assert_eq!(severity(&mut detector, 60.0, 99.0), Severity::Calm);
        assert_eq!(severity(&mut detector, 61.0, 99.0), Severity::Critical);
    }

    #[test]
    fn a_measure_that_is_lost_stands_no_more() {
        let mut detector = Detector::new(ABOVE, GateParams::SECOND);
        severity(&mut detector, 0.0, 99.0);
        severity(&mut detector, 1.0, 99.0);
        assert_eq!(
            detector.off("/proc/zoneinfo"),
            Reading::Off("/proc/zoneinfo")
        );
        assert_eq!(severity(&mut detector, 2.0, 99.0), Severity::Calm);
    }

    proptest! {
        /// Whatever is measured, a severity that stands was measured in the two readings before it rose.
        #[test]
        fn nothing_rises_on_one_reading(values in prop::collection::vec(0.0..100.0_f64, 1..60)) {
            let mut detector = Detector::new(ABOVE, GateParams::SECOND);
            let mut stood = Severity::Calm;
            let mut before = Severity::Calm;
            for (second, value) in values.iter().enumerate() {
                let measured = ABOVE.severity(*value, stood);
                let stands = severity(&mut detector, second as f64, *value);
                if stands > stood {
                    prop_assert!(measured >= stands && before >= stands);
                }
                (stood, before) = (stands, measured);
            }
        }
    }
}
