//! Pages that come back soon after they were taken: reclaim took what is in use.
//!
//! Source: `workingset_refault_{file,anon}` of `/proc/vmstat` (before 5.9 one counter), or of a group's `memory.stat`. Value: the part of memory that came back in a second. Warning from 0.2 %, Critical from 1 %; ours: at 1 % a
//! second all of it has been read again in 100 s. Misleads: a first read of a file that was dropped on purpose counts too.

use super::{Detector, GateParams, Limits};

/// Warning from 0.2 % of memory a second, Critical from 1 %.
pub fn detector() -> Detector {
    Detector::new(
        Limits::Above {
            warning: 0.002,
            critical: 0.01,
            clear: 0.001,
        },
        GateParams::SECOND,
    )
}

/// The part of `pages` that came back in a second.
pub fn value(refaults: u64, seconds: f64, pages: u64) -> Option<f64> {
    (seconds > 0.0 && pages > 0).then(|| refaults as f64 / seconds / pages as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_of_memory() {
        assert_eq!(value(100, 1.0, 10_000), Some(0.01));
        assert_eq!(value(100, 1.0, 0), None);
    }
}
