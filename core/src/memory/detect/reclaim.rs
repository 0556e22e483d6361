//! How hard the kernel works to find pages.
//!
//! Source: `pgscan_*` and `pgsteal_*` of `/proc/vmstat`, differences of two readings. Two values, both as the part of memory looked at in a second: by *kswapd*, in the background, and
//! *directly*, by tasks that wait. Direct reclaim is harm: the task that allocates does the work. A scan that finds little (`efficiency` below 0.3: three pages looked at for one taken)
//! counts threefold, since the same rate then means that nothing cold is left.
//!
//! Limits are ours, to be tuned by the published values: kswapd at 2 % of memory a second passes over all of it within a minute. Misleads: proactive reclaim
//! (`memory.reclaim`) is counted apart since 5.19 only, before that as direct.

use super::{Detector, GateParams, Limits};

/// Below this part taken of what was looked at, reclaim labours.
pub const LABOURS: f64 = 0.3;
/// What labour multiplies the rate by.
const LABOUR_WEIGHT: f64 = 3.0;

/// Background: Warning from 2 % of memory a second, Critical from 10 %.
pub fn kswapd() -> Detector {
    Detector::new(
        Limits::Above {
            warning: 0.02,
            critical: 0.10,
            clear: 0.01,
        },
        GateParams::SECOND,
    )
}

/// By tasks: Warning from 0.2 % of memory a second, Critical from 2 %.
pub fn direct() -> Detector {
    Detector::new(
        Limits::Above {
            warning: 0.002,
            critical: 0.02,
            clear: 0.001,
        },
        GateParams::SECOND,
    )
}

/// Pages looked at and taken between two readings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Looked at.
    pub scanned: u64,
    /// Taken.
    pub stolen: u64,
}

impl Scanned {
    /// The part that was taken; `None` where nothing was looked at.
    pub fn efficiency(&self) -> Option<f64> {
        (self.scanned > 0).then(|| self.stolen as f64 / self.scanned as f64)
    }

    /// The part of `pages` looked at in a second, more where that found little.
    pub fn effort(&self, seconds: f64, pages: u64) -> Option<f64> {
        if seconds <= 0.0 || pages == 0 {
            return None;
        }
        let weight = match self.efficiency() {
            Some(efficiency) if efficiency < LABOURS => LABOUR_WEIGHT,
            Some(_) | None => 1.0,
        };
        Some(weight * self.scanned as f64 / seconds / pages as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scanning_in_vain_weighs_more() {
        let good = Scanned {
            scanned: 100,
            stolen: 90,
        };
        let vain = Scanned {
            scanned: 100,
            stolen: 10,
        };
        assert_eq!(good.effort(1.0, 10_000), Some(0.01));
        assert_eq!(vain.effort(1.0, 10_000), Some(0.03));
        assert_eq!(Scanned::default().effort(1.0, 10_000), Some(0.0));
        assert_eq!(good.effort(0.0, 10_000), None);
    }
}
