//! Swap: what comes back from it, and how much of it is left.
//!
//! Sources: `pswpin` of `/proc/vmstat`, `SwapFree` and `SwapTotal` of `/proc/meminfo`. Two values: the part of memory swapped in a second (harm; limits as for refaults, since a swap-in is one), and the
//! part of swap that is free (shortage: Warning below 10 %, which is where systemd-oomd's `SwapUsedLimit` acts, Critical below 5 %). Without swap both are off. Misleads: swap on zram is filled by cold
//! pages on purpose; a full one is no harm while nothing comes back, so its room is a shortage only together with others.

use super::{Detector, GateParams, Limits};
use crate::units::Bytes;

/// What `Off` names where there is no swap.
pub const NO_SWAP: &str = "/proc/swaps (no swap)";

/// Pages that come back.
pub fn coming_in() -> Detector {
    super::refault::detector()
}

/// Room that is left.
pub fn room() -> Detector {
    Detector::new(
        Limits::Below {
            warning: 0.10,
            critical: 0.05,
            clear: 0.20,
        },
        GateParams::SECOND,
    )
}

/// The free part; `None` without swap.
pub fn free_part(free: Bytes, total: Bytes) -> Option<f64> {
    (total > Bytes::ZERO).then(|| free.get() as f64 / total.get() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_swap_has_no_room() {
        assert_eq!(free_part(Bytes::ZERO, Bytes::ZERO), None);
        assert_eq!(free_part(Bytes::new(1), Bytes::new(4)), Some(0.25));
    }
}
