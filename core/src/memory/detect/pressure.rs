//! Time lost to waiting for memory.
//!
//! Source: `memory.pressure` of a group of services, or `/proc/pressure/memory`; differences of `total` between two readings, so that the window is ours and not the
//! kernel's averages (whose 10 s lag by ten seconds). *some*: a task waited; *full*: none could run.
//!
//! Services: Warning from 5 % some or 1 % full, Critical from 20 % some or 5 % full. For comparison: offloading stops at 0.1 % (TMO); Katalyst evicts batch from 15 % some over 10 s at the
//! burstable group; systemd-oomd kills from 60 % full for 30 s. The node's own pressure counts batch that waits at its own `memory.high`, which is no shortage: it is only used
//! where groups have no pressure file. Misleads: tasks that wait for their own limit are counted the same.

use super::{Detector, GateParams, Limits};

/// Some: Warning from a twentieth of the time, Critical from a fifth.
pub fn some() -> Detector {
    Detector::new(
        Limits::Above {
            warning: 0.05,
            critical: 0.20,
            clear: 0.02,
        },
        GateParams::SECOND,
    )
}

/// Full: Warning from a hundredth, Critical from a twentieth.
pub fn full() -> Detector {
    Detector::new(
        Limits::Above {
            warning: 0.01,
            critical: 0.05,
            clear: 0.005,
        },
        GateParams::SECOND,
    )
}

/// The part of the time between two readings of a `total` (microseconds). A counter that went back is a new group: no value.
pub fn share(before: u64, now: u64, seconds: f64) -> Option<f64> {
    let waited = now.checked_sub(before)?;
    (seconds > 0.0).then(|| (waited as f64 / 1e6 / seconds).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_of_time() {
        assert_eq!(share(1_000_000, 1_500_000, 1.0), Some(0.5));
        assert_eq!(share(5, 1, 1.0), None);
    }
}
