//! From one observation of a node to the offer that is published for it. See the module above for the formula and the rules.

use serde::{Deserialize, Serialize};

use crate::reclaimed::Reclaimed;
use crate::units::{Bytes, Millicpu};

/// What was seen of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// The whole machine.
    pub capacity: Reclaimed,
    /// The highest use within the agent's window by everything but reclaimed pods (services, system, other best-effort pods).
    pub service_peak: Reclaimed,
    /// Sum of the requests of reclaimed pods bound to the node.
    pub allocated: Reclaimed,
    /// Seconds since the agent measured.
    pub age_seconds: f64,
}

/// The knobs of the estimator. Defaults are for production; test clusters raise the slope.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Params {
    /// Fraction added on top of the peak. 0.10: replaying 40 machines each of Azure 2017 and Bitbrains with a window of one hour, services
    /// needed part of the offer back in 0.22 % and 0.15 % of the samples, against 0.71 % and 0.25 % without a margin
    /// (`katalyst-simulator replay`).
    pub margin: f64,
    /// Fraction of the machine that is never offered: kubelet, kernel and the error of the first minutes. 0.05.
    pub reserve: f64,
    /// Fraction of the machine by which an offer may grow in a minute. 0.10: a wrong raise costs services, a late one costs little.
    pub raise_per_minute: f64,
    /// A report older than this is stale, in seconds. 60, three missed reports of 20 s.
    pub stale_after_seconds: f64,
    /// Below this fraction of what is allocated the node counts as at risk and the floor no longer hides it. 0.5.
    pub risk_fraction: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            margin: 0.10,
            reserve: 0.05,
            raise_per_minute: 0.10,
            stale_after_seconds: 60.0,
            risk_fraction: 0.5,
        }
    }
}

/// The offer that stands now, and since when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// Amounts offered.
    pub offer: Reclaimed,
    /// When it was computed, in seconds on the clock of `now`.
    pub at_seconds: f64,
}

/// Which rule set the published number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitedBy {
    /// The estimate itself.
    CapacityMinusPeak,
    /// The limit on raising.
    SlopeUp,
    /// What is already allocated.
    AllocatedFloor,
    /// The estimate, published below what is allocated because services need the machine.
    AtRisk,
    /// The report is too old to rest an offer on.
    Stale,
}

impl LimitedBy {
    /// The name that the API shows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CapacityMinusPeak => "CapacityMinusPeak",
            Self::SlopeUp => "SlopeUp",
            Self::AllocatedFloor => "AllocatedFloor",
            Self::AtRisk => "AtRisk",
            Self::Stale => "Stale",
        }
    }
}

/// Every number that led to an offer of one resource, in that resource's unit (thousandths of a CPU, or bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The whole machine.
    pub capacity: u64,
    /// Highest use by services in the window.
    pub service_peak: u64,
    /// Added on top of the peak.
    pub margin: u64,
    /// Never offered.
    pub reserve: u64,
    /// `capacity - service_peak - margin - reserve`, at least zero.
    pub estimate: u64,
    /// What was offered before.
    pub previous: u64,
    /// Sum of the requests of bound reclaimed pods.
    pub allocated: u64,
    /// What is offered now.
    pub offered: u64,
    /// The rule that set `offered`.
    pub limited_by: LimitedBy,
}

/// An offer with its reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// What to publish.
    pub offer: Reclaimed,
    /// Why the CPU is what it is.
    pub cpu: Explanation,
    /// Why the memory is what it is.
    pub memory: Explanation,
}

/// Computes a node's offer. `previous` is the offer that stands (none: nothing was offered yet), `now` in seconds on the same clock.
pub fn estimate(
    observation: &Observation,
    params: &Params,
    previous: Option<&Published>,
    now: f64,
) -> Estimate {
    let elapsed = previous.map_or(0.0, |p| (now - p.at_seconds).max(0.0));
    let stale = !observation.age_seconds.is_finite()
        || observation.age_seconds > params.stale_after_seconds;
    let previous_offer = previous.map_or(Reclaimed::ZERO, |p| p.offer);
    let one = |capacity, peak, allocated, before| {
        one_resource(capacity, peak, allocated, before, elapsed, stale, params)
    };
    let cpu = one(
        observation.capacity.cpu.get(),
        observation.service_peak.cpu.get(),
        observation.allocated.cpu.get(),
        previous_offer.cpu.get(),
    );
    let memory = one(
        observation.capacity.memory.get(),
        observation.service_peak.memory.get(),
        observation.allocated.memory.get(),
        previous_offer.memory.get(),
    );
    Estimate {
        offer: Reclaimed {
            cpu: Millicpu::new(cpu.offered),
            memory: Bytes::new(memory.offered),
        },
        cpu,
        memory,
    }
}

fn one_resource(
    capacity: u64,
    peak: u64,
    allocated: u64,
    previous: u64,
    elapsed: f64,
    stale: bool,
    params: &Params,
) -> Explanation {
    let fraction = |value: u64, factor: f64| (value as f64 * factor.max(0.0)).ceil() as u64;
    let margin = fraction(peak, params.margin);
    let reserve = fraction(capacity, params.reserve).min(capacity);
    let estimate = capacity
        .saturating_sub(peak)
        .saturating_sub(margin)
        .saturating_sub(reserve);

    let (offered, limited_by) = if stale {
        // Old data never raises: what runs keeps its place, nothing new comes.
        (allocated, LimitedBy::Stale)
    } else {
        // The first offer of a node starts its slope at what is allocated, so a restarted controller does not begin at zero.
        let start = previous.max(allocated);
        let step = (capacity as f64 * params.raise_per_minute.max(0.0) * elapsed / 60.0) as u64;
        let ceiling = start.saturating_add(step);
        if estimate > ceiling {
            (ceiling, LimitedBy::SlopeUp)
        } else if estimate >= allocated {
            (estimate, LimitedBy::CapacityMinusPeak)
        } else if (estimate as f64) < allocated as f64 * params.risk_fraction {
            (estimate, LimitedBy::AtRisk)
        } else {
            (allocated, LimitedBy::AllocatedFloor)
        }
    };
    Explanation {
        capacity,
        service_peak: peak,
        margin,
        reserve,
        estimate,
        previous,
        allocated,
        offered,
        limited_by,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn observation(peak: u64, allocated: u64, age: f64) -> Observation {
        Observation {
            capacity: Reclaimed::new(10_000, 100 * GIB),
            service_peak: Reclaimed::new(peak, 10 * GIB),
            allocated: Reclaimed::new(allocated, 0),
            age_seconds: age,
        }
    }

    fn published(cpu: u64, at: f64) -> Published {
        Published {
            offer: Reclaimed::new(cpu, 0),
            at_seconds: at,
        }
    }

    // capacity 10000, reserve 500, margin 10 %: peak 4000 leaves 5100.
    #[rstest]
    #[case::first_offer_starts_at_zero(4000, 0, 1.0, None, 0, LimitedBy::SlopeUp)]
    #[case::slope_is_a_tenth_a_minute(4000, 0, 1.0, Some((1000, 40.0)), 2000, LimitedBy::SlopeUp)]
    #[case::reaches_the_estimate(4000, 0, 1.0, Some((5000, 40.0)), 5100, LimitedBy::CapacityMinusPeak)]
    #[case::falls_at_once(8000, 0, 1.0, Some((5100, 99.0)), 700, LimitedBy::CapacityMinusPeak)]
    #[case::floor_at_allocated(8000, 900, 1.0, Some((5100, 99.0)), 900, LimitedBy::AllocatedFloor)]
    #[case::at_risk_below_half(8000, 3000, 1.0, Some((5100, 99.0)), 700, LimitedBy::AtRisk)]
    #[case::stale_falls_to_allocated(4000, 1200, 61.0, Some((5000, 40.0)), 1200, LimitedBy::Stale)]
    #[case::stale_without_pods_is_zero(4000, 0, 61.0, Some((5000, 40.0)), 0, LimitedBy::Stale)]
    #[case::restart_starts_at_allocated(4000, 1500, 1.0, None, 1500, LimitedBy::SlopeUp)]
    fn rules(
        #[case] peak: u64,
        #[case] allocated: u64,
        #[case] age: f64,
        #[case] previous: Option<(u64, f64)>,
        #[case] offered: u64,
        #[case] rule: LimitedBy,
    ) {
        let previous = previous.map(|(cpu, at)| published(cpu, at));
        let result = estimate(
            &observation(peak, allocated, age),
            &Params::default(),
            previous.as_ref(),
            100.0,
        );
        assert_eq!(
            (result.cpu.offered, result.cpu.limited_by),
            (offered, rule),
            "{result:?}"
        );
    }

    #[test]
    fn an_unknown_age_is_stale() {
        let result = estimate(&observation(0, 0, f64::NAN), &Params::default(), None, 0.0);
        assert_eq!(result.cpu.limited_by, LimitedBy::Stale);
    }

    proptest! {
        /// Invariant 2: what is offered plus what services used at their peak never exceeds the machine,
        /// except where it is already allocated (the floor), and never by more than that.
        #[test]
        fn offer_and_peak_fit_the_machine(peak in 0..20_000u64, allocated in 0..20_000u64, previous in 0..20_000u64, elapsed in 0.0..1000.0f64) {
            let params = Params::default();
            let result = estimate(&observation(peak, allocated, 1.0), &params, Some(&published(previous, 0.0)), elapsed);
            prop_assert!(result.cpu.offered <= 10_000u64.saturating_sub(peak).max(allocated));
        }

        /// Invariant 4: stale data never raises an offer above what is allocated.
        #[test]
        fn stale_never_raises(peak in 0..20_000u64, allocated in 0..20_000u64, previous in 0..20_000u64, age in 60.1..1e9f64) {
            let result = estimate(&observation(peak, allocated, age), &Params::default(), Some(&published(previous, 0.0)), 1e6);
            prop_assert!(result.cpu.offered <= allocated);
        }

        /// More service use never gives a larger offer.
        #[test]
        fn monotone_in_the_peak(low in 0..10_000u64, more in 0..5000u64, allocated in 0..10_000u64, previous in 0..10_000u64) {
            let at = |peak| estimate(&observation(peak, allocated, 1.0), &Params::default(), Some(&published(previous, 0.0)), 30.0).cpu.offered;
            prop_assert!(at(low + more) <= at(low));
        }
    }
}
