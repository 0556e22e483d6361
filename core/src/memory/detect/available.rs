//! What can be had without taking it from anybody: free pages and clean file pages that were not used lately.
//!
//! Source: `/proc/meminfo` for the machine (`MemAvailable`, the kernel's own estimate), a NUMA node's `meminfo` for a node. Value: available over a floor, the larger of twice the low watermarks and 2 % of
//! the memory (the memset binder's rule for a hot node, so that both call the same node hot). Warning below 1, Critical below a half, over above 1.5.
//!
//! Misleads: pages that are mapped by running programs count as available, and taking those is harm; refaults and pressure see that.

use super::{Detector, GateParams, Limits};
use crate::units::Bytes;

/// Parts of a node's memory that make the floor.
pub const FLOOR_FRACTION: f64 = 0.02;
/// Low watermarks that make the floor.
pub const FLOOR_WATERMARKS: f64 = 2.0;

/// Warning below the floor, Critical below half of it.
pub fn detector() -> Detector {
    let limits = Limits::Below {
        warning: 1.0,
        critical: 0.5,
        clear: 1.5,
    };
    Detector::new(limits, GateParams::SECOND)
}

/// What must stay available. `low`: the sum of the low watermarks; zero where it is not known.
pub fn floor(total: Bytes, low: Bytes) -> Bytes {
    total.scale(FLOOR_FRACTION).max(low.scale(FLOOR_WATERMARKS))
}

/// Available over the floor.
pub fn value(available: Bytes, floor: Bytes) -> Option<f64> {
    (floor > Bytes::ZERO).then(|| available.get() as f64 / floor.get() as f64)
}

/// What is missing until it is over: 1.5 times the floor.
pub fn shortage(available: Bytes, floor: Bytes) -> Bytes {
    floor.scale(1.5) - available
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_larger_rule() {
        assert_eq!(
            floor(Bytes::new(1_000), Bytes::new(5)),
            Bytes::new(20),
            "2 %"
        );
        assert_eq!(floor(Bytes::new(1_000), Bytes::new(50)), Bytes::new(100));
        assert_eq!(value(Bytes::new(50), Bytes::new(100)), Some(0.5));
        assert_eq!(value(Bytes::new(50), Bytes::ZERO), None);
        assert_eq!(shortage(Bytes::new(100), Bytes::new(100)), Bytes::new(50));
        assert_eq!(shortage(Bytes::new(900), Bytes::new(100)), Bytes::ZERO);
    }
}
