//! Which values a pod's CPU files shall have.
//!
//! Only what a wish or a level asks for is touched; everything else stays as the kubelet set it.
//!
//! - Batch is idle (`cpu.idle`, kernel 5.15 and later): it then yields to every other group of its parent, plain best-effort pods included, which a small weight
//!   cannot say, since theirs is the smallest already. An idle group has no weight of its own; parts among batch are made by quota.
//! - A pod with CPUs of its own has no quota: nobody else can use what it leaves, and a quota would stop it on idle CPUs. The kubelet does the same for its exclusive CPUs
//!   (feature gate `DisableCPUQuotaWithExclusiveCPUs`).
//! - A weight where the pod says how many cores it stands for (`cpu_weight_demand_cores`).
//! - A burst as [`burst`](super::burst) says.

use crate::qos::{CpuWishes, Level};
use crate::units::Millicpu;

use super::{BurstInput, Shares, burst};

/// What the values follow from.
#[derive(Debug, Clone, Copy)]
pub struct KnobInput<'a> {
    /// The pod's level.
    pub level: Level,
    /// Its wishes.
    pub wishes: &'a CpuWishes,
    /// How many cores its weight stands for, where it says so.
    pub weight_demand_cores: Option<f64>,
    /// It has CPUs of its own.
    pub own_cpus: bool,
    /// Its quota in microseconds a period; `None`: no limit.
    pub quota: Option<u64>,
    /// Percent of the machine's CPUs that is busy; `None` where unknown.
    pub utilisation: Option<f64>,
    /// A dynamic burst is on now.
    pub burst_on: bool,
}

/// Values for a pod's files; `None`: leave the file alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuKnobs {
    /// `cpu.idle`.
    pub idle: Option<bool>,
    /// `cpu.weight` or `cpu.shares`.
    pub weight: Option<Shares>,
    /// `cpu.max` or `cpu.cfs_quota_us`.
    pub quota: Option<QuotaWish>,
    /// `cpu.max.burst` or `cpu.cfs_burst_us`, in microseconds.
    pub burst: Option<u64>,
}

/// A quota that this decides about; that of batch pods follows from the ceiling ([`hold`](crate::hold)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaWish {
    /// None.
    Unlimited,
}

/// The values.
pub fn knobs(input: &KnobInput<'_>) -> CpuKnobs {
    let quota = input.own_cpus.then_some(QuotaWish::Unlimited);
    let batch = input.level == Level::Reclaimed;
    let weight = input
        .weight_demand_cores
        .filter(|cores| !batch && cores.is_finite() && *cores > 0.0)
        .map(|cores| Shares::of_request(Millicpu::new((cores * 1000.0) as u64)));
    let wanted = BurstInput {
        policy: input.wishes.burst,
        percent: input.wishes.burst_percent,
        threshold: input.wishes.burst_threshold,
        quota: input.quota.filter(|_| quota.is_none()),
        utilisation: input.utilisation,
        on: input.burst_on,
    };
    CpuKnobs {
        idle: batch.then_some(true),
        weight,
        quota,
        burst: burst(&wanted),
    }
}

#[cfg(test)]
mod tests {
    use crate::qos::BurstPolicy;

    use super::*;

    #[test]
    fn only_what_is_asked_for_is_touched() {
        let wishes = CpuWishes::default();
        let plain = KnobInput {
            level: Level::Shared,
            wishes: &wishes,
            weight_demand_cores: None,
            own_cpus: false,
            quota: Some(100_000),
            utilisation: Some(10.0),
            burst_on: false,
        };
        assert_eq!(knobs(&plain), CpuKnobs::default());
        let batch = knobs(&KnobInput {
            level: Level::Reclaimed,
            weight_demand_cores: Some(4.0),
            ..plain
        });
        assert_eq!((batch.idle, batch.weight), (Some(true), None));
        let weighty = knobs(&KnobInput {
            weight_demand_cores: Some(2.5),
            ..plain
        });
        assert_eq!(weighty.weight.map(Shares::get), Some(2560));
        let bursting = CpuWishes {
            burst: BurstPolicy::Static,
            ..CpuWishes::default()
        };
        let own = KnobInput {
            wishes: &bursting,
            own_cpus: true,
            ..plain
        };
        // Without a quota there is nothing to save up.
        assert_eq!(
            (knobs(&own).quota, knobs(&own).burst),
            (Some(QuotaWish::Unlimited), None)
        );
    }
}
