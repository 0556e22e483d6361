//! How much of the memory that reclaimed pods were promised they may have.
//!
//! Source: the sum of their requests and the memory ceiling that services leave. Value: ceiling over requests, at most 1. Warning below 0.9 for ten seconds, Critical below a half. Misleads: requests that nobody uses are not missed; the
//! ladder looks at use before it acts on this.

use super::{Detector, GateParams, Limits};
use crate::units::Bytes;

/// Warning below nine tenths for ten seconds, Critical below a half.
pub fn detector() -> Detector {
    Detector::new(
        Limits::Below {
            warning: 0.9,
            critical: 0.5,
            clear: 0.95,
        },
        GateParams {
            raise_seconds: 10.0,
            clear_seconds: 10.0,
            gap_seconds: 5.0,
        },
    )
}

/// Ceiling over requests; `None` without requests.
pub fn value(ceiling: Bytes, requested: Bytes) -> Option<f64> {
    (requested > Bytes::ZERO).then(|| (ceiling.get() as f64 / requested.get() as f64).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_requested_is_nothing_missed() {
        assert_eq!(value(Bytes::ZERO, Bytes::ZERO), None);
        assert_eq!(value(Bytes::new(30), Bytes::new(60)), Some(0.5));
        assert_eq!(value(Bytes::new(90), Bytes::new(60)), Some(1.0));
    }
}
