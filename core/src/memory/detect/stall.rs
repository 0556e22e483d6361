//! Allocations that had to stop and reclaim.
//!
//! Source: `allocstall*` of `/proc/vmstat` (every zone, one counter each since 4.10), a second and CPU. Each is a task that found every zone below `min` and went to reclaim. Warning from one a second on each
//! CPU, Critical from ten: with reclaim of 32 pages at some 100 us, ten a second cost each CPU a thousandth, and the task that hits it milliseconds. Limits are ours. Misleads: reclaim because of a group's own limit is not counted here, which
//! is right: that is not the node's shortage.

use super::{Detector, GateParams, Limits};

/// Warning from one a second and CPU, Critical from ten.
pub fn detector() -> Detector {
    Detector::new(
        Limits::Above {
            warning: 1.0,
            critical: 10.0,
            clear: 0.5,
        },
        GateParams::SECOND,
    )
}

/// Stalls a second and CPU.
pub fn value(stalls: u64, seconds: f64, cpus: u32) -> Option<f64> {
    (seconds > 0.0 && cpus > 0).then(|| stalls as f64 / seconds / f64::from(cpus))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_second_and_cpu() {
        assert_eq!(value(40, 2.0, 4), Some(5.0));
        assert_eq!(value(40, 0.0, 4), None);
    }
}
