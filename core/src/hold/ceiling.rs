//! The ceiling of all reclaimed pods of a node together.
//!
//! ```text
//! room    = capacity * (1 - reserve) - max(service now, service's recent peak) * (1 + margin)
//! ceiling = max(floor, min(room, previous + capacity * raise_per_second * elapsed))
//! ```
//!
//! Falling is immediate, rising is limited, and small rises are left out so that cgroup files are not rewritten for noise.

use crate::units::{Bytes, Millicpu};

/// The knobs of the ceiling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CeilingParams {
    /// Fraction of the machine kept free of batch. 0.05: wake-up head room; at 98 % busy the tail of a service doubles whatever
    /// the weights are (`docs/loop.md`, what colocation costs).
    pub reserve: f64,
    /// Fraction on top of the services' use, so that a service that grows finds free CPU before the next sample. 0.10.
    pub margin: f64,
    /// Fraction of the machine by which the ceiling may rise in a second. 0.05: from nothing to all in 20 s.
    pub raise_per_second: f64,
    /// Fraction of the machine that batch keeps even under a surge, so that pods can finish a lock or answer a signal. 0.02.
    pub floor: f64,
    /// Rises smaller than this fraction of the machine are not applied. 0.02.
    pub hysteresis: f64,
}

impl Default for CeilingParams {
    fn default() -> Self {
        Self {
            reserve: 0.05,
            margin: 0.10,
            raise_per_second: 0.05,
            floor: 0.02,
            hysteresis: 0.02,
        }
    }
}

/// What the CPU ceiling follows from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuCeilingInput {
    /// The machine.
    pub capacity: Millicpu,
    /// Use by everything but reclaimed pods in the newest sample.
    pub service_now: Millicpu,
    /// The highest such use in the last seconds.
    pub service_recent_peak: Millicpu,
    /// The ceiling that stands; `None` at the first tick.
    pub previous: Option<Millicpu>,
    /// Seconds since it was set.
    pub elapsed_seconds: f64,
}

/// What the memory ceiling follows from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryCeilingInput {
    /// The machine.
    pub capacity: Bytes,
    /// Memory in use by everything but reclaimed pods, not reclaimable (total - available - reclaimed pods' working set).
    pub service_now: Bytes,
    /// The highest such use in the last seconds.
    pub service_recent_peak: Bytes,
    /// The ceiling that stands; `None` at the first tick.
    pub previous: Option<Bytes>,
    /// Seconds since it was set.
    pub elapsed_seconds: f64,
}

/// Which rule set a ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CeilingReason {
    /// What services leave free.
    Room,
    /// The limit on rising.
    Rising,
    /// The least that batch keeps.
    Floor,
    /// The change upwards was too small to matter.
    Unchanged,
}

impl CeilingReason {
    /// The name shown in metrics and debug output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Rising => "rising",
            Self::Floor => "floor",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A ceiling with its reason. `T` is [`Millicpu`] or [`Bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling<T> {
    /// The ceiling.
    pub value: T,
    /// Why.
    pub reason: CeilingReason,
}

/// The CPU that reclaimed pods may use together from now on.
pub fn cpu_ceiling(input: &CpuCeilingInput, params: &CeilingParams) -> Ceiling<Millicpu> {
    let CpuCeilingInput {
        capacity,
        service_now,
        service_recent_peak,
        previous,
        elapsed_seconds,
    } = *input;
    let (value, reason) = ceiling(
        capacity.get(),
        service_now.max(service_recent_peak).get(),
        previous.map(Millicpu::get),
        elapsed_seconds,
        params,
    );
    Ceiling {
        value: Millicpu::new(value),
        reason,
    }
}

/// The memory that reclaimed pods may use together from now on.
pub fn memory_ceiling(input: &MemoryCeilingInput, params: &CeilingParams) -> Ceiling<Bytes> {
    let MemoryCeilingInput {
        capacity,
        service_now,
        service_recent_peak,
        previous,
        elapsed_seconds,
    } = *input;
    let (value, reason) = ceiling(
        capacity.get(),
        service_now.max(service_recent_peak).get(),
        previous.map(Bytes::get),
        elapsed_seconds,
        params,
    );
    Ceiling {
        value: Bytes::new(value),
        reason,
    }
}

fn ceiling(
    capacity: u64,
    service: u64,
    previous: Option<u64>,
    elapsed: f64,
    params: &CeilingParams,
) -> (u64, CeilingReason) {
    let part = |fraction: f64| (capacity as f64 * fraction.max(0.0)) as u64;
    let floor = part(params.floor);
    let with_margin = (service as f64 * (1.0 + params.margin.max(0.0))).ceil() as u64;
    let room = capacity
        .saturating_sub(part(params.reserve))
        .saturating_sub(with_margin);
    if room <= floor {
        return (floor, CeilingReason::Floor);
    }
    // The first ceiling of an agent is the room itself: a restart must not throttle pods that behave.
    let Some(previous) = previous else {
        return (room, CeilingReason::Room);
    };
    if room <= previous {
        return (room, CeilingReason::Room);
    }
    let step = (capacity as f64 * params.raise_per_second.max(0.0) * elapsed.max(0.0)) as u64;
    let limited = room.min(previous.saturating_add(step));
    if limited - previous < part(params.hysteresis) {
        return (previous, CeilingReason::Unchanged);
    }
    (
        limited,
        if limited < room {
            CeilingReason::Rising
        } else {
            CeilingReason::Room
        },
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn at(service: u64, previous: Option<u64>, elapsed: f64) -> (u64, CeilingReason) {
        let input = CpuCeilingInput {
            capacity: Millicpu::new(10_000),
            service_now: Millicpu::new(service),
            service_recent_peak: Millicpu::ZERO,
            previous: previous.map(Millicpu::new),
            elapsed_seconds: elapsed,
        };
        let ceiling = cpu_ceiling(&input, &CeilingParams::default());
        (ceiling.value.get(), ceiling.reason)
    }

    // capacity 10000: reserve 500, floor 200, rise 500 a second, hysteresis 200.
    #[rstest]
    #[case::first(5000, None, 0.0, (4000, CeilingReason::Room))]
    #[case::falls_at_once(8000, Some(4000), 1.0, (700, CeilingReason::Room))]
    #[case::rises_slowly(1000, Some(2000), 1.0, (2500, CeilingReason::Rising))]
    #[case::stops_at_the_room(5000, Some(3700), 1.0, (4000, CeilingReason::Room))]
    #[case::ignores_noise(5000, Some(3900), 1.0, (3900, CeilingReason::Unchanged))]
    #[case::keeps_a_floor(20_000, Some(4000), 1.0, (200, CeilingReason::Floor))]
    fn rules(
        #[case] service: u64,
        #[case] previous: Option<u64>,
        #[case] elapsed: f64,
        #[case] expected: (u64, CeilingReason),
    ) {
        assert_eq!(at(service, previous, elapsed), expected);
    }

    #[test]
    fn a_recent_peak_counts_like_the_present() {
        let input = CpuCeilingInput {
            capacity: Millicpu::new(10_000),
            service_now: Millicpu::new(100),
            service_recent_peak: Millicpu::new(5000),
            previous: None,
            elapsed_seconds: 0.0,
        };
        assert_eq!(
            cpu_ceiling(&input, &CeilingParams::default()).value,
            Millicpu::new(4000)
        );
    }

    proptest! {
        /// Batch and services together never get more than the machine, but for the floor.
        #[test]
        fn ceiling_and_services_fit(service in 0..30_000u64, previous in prop::option::of(0..10_000u64), elapsed in 0.0..100.0f64) {
            let (value, _) = at(service, previous, elapsed);
            prop_assert!(value <= 10_000u64.saturating_sub(service).max(200));
            prop_assert!(value >= 200 || previous.is_some_and(|p| p < 200));
        }
    }
}
