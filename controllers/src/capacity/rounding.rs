//! Amounts of memory that people can read.

use katalyst_core::capacity::{Estimate, LimitedBy};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_core::units::Bytes;

const MIB: u64 = 1 << 20;

/// The estimate as it is written: memory is offered in whole MiB, rounded down, and nothing is offered above the machine, which
/// the schema refuses. An offer that follows what is allocated stays exact, so that rounding never takes ground from a pod.
pub(super) fn as_written(estimate: &Estimate) -> Estimate {
    let mut written = *estimate;
    let memory = &mut written.memory;
    if matches!(
        memory.limited_by,
        LimitedBy::CapacityMinusPeak | LimitedBy::SlopeUp
    ) {
        let whole = memory.offered / MIB * MIB;
        memory.offered = if memory.offered >= memory.allocated {
            whole.max(memory.allocated)
        } else {
            whole
        };
    }
    memory.offered = memory.offered.min(memory.capacity);
    written.cpu.offered = written.cpu.offered.min(written.cpu.capacity);
    written.offer = Reclaimed::new(written.cpu.offered, written.memory.offered);
    written
}

/// Bytes as text, in whole MiB from 16 MiB on: exact enough to be compared by eye.
pub fn readable(bytes: Bytes) -> String {
    if bytes.get() < 16 * MIB {
        return bytes.to_string();
    }
    let mib = bytes.get().saturating_add(MIB / 2) / MIB;
    Bytes::new(mib.saturating_mul(MIB)).to_string()
}

#[cfg(test)]
mod tests {
    use katalyst_core::capacity::{Observation, Params, estimate};

    use super::*;

    fn written(allocated: u64, peak: u64, age_seconds: f64) -> Estimate {
        let observation = Observation {
            capacity: Reclaimed::new(4000, 1000 * MIB),
            service_peak: Reclaimed::new(0, peak),
            allocated: Reclaimed::new(0, allocated),
            age_seconds,
        };
        let params = Params {
            raise_per_minute: 1e9,
            ..Params::default()
        };
        let previous = katalyst_core::capacity::Published {
            offer: Reclaimed::ZERO,
            at_seconds: 0.0,
        };
        as_written(&estimate(&observation, &params, Some(&previous), 60.0))
    }

    #[test]
    fn offers_are_whole_and_never_less_than_the_pods_that_fit() {
        // 1000 MiB less the reserve of 50 and a peak of one byte, doubly counted by its margin.
        let offer = |allocated| written(allocated, 1, 1.0).memory.offered;
        assert_eq!(offer(0), 949 * MIB);
        assert_eq!(offer(949 * MIB + 7), 949 * MIB + 7);
        assert_eq!(
            written(1001 * MIB, 1, 61.0).memory.offered,
            1000 * MIB,
            "no more than the machine"
        );
        assert_eq!(
            written(3 * MIB + 7, 1, 61.0).offer,
            Reclaimed::new(0, 3 * MIB + 7)
        );
    }

    #[test]
    fn amounts_are_short() {
        assert_eq!(readable(Bytes::new(5_652_864_000)), "5391Mi");
        assert_eq!(readable(Bytes::new(8 << 30)), "8Gi");
        assert_eq!(readable(Bytes::new(1_000_000)), "1000000");
        assert_eq!(readable(Bytes::ZERO), "0");
    }
}
