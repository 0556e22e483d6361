//! Surges of services between two samples.
//!
//! A sample every second may see only the last tenth of a surge and needs the next sample for the rest. So the thread glances at CPU
//! counters a few times a second, and a jump that is larger than the glance's own error lowers the ceiling at once. Glances only ever lower
//! it: their error is one tick of the kernel's accounting for each CPU, and what they see stays out of the long window.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use katalyst_core::units::Millicpu;

use crate::{
    cgroup::{Hierarchy, Kubepods, PodUid, read_cpu_nanos},
    kernel::proc_stat::TICKS_PER_SECOND,
    sample::{MachineUsage, read_machine_stat},
};

/// Below this time the kernel's clock ticks are too coarse.
const SHORTEST_NANOS: u64 = 150_000_000;
/// A jump of this part of the machine is a surge: more than two clock ticks a CPU in a quarter of a second.
const SURGE: f64 = 0.10;

/// CPU counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glance {
    /// Monotonic.
    pub(super) at_nanos: u64,
    /// CPU time of everything.
    pub(super) whole: u64,
    /// CPU time of each reclaimed pod.
    pub(super) reclaimed: BTreeMap<PodUid, u64>,
}

/// Reads the counters; `None` where one is missing (a pod that just ended: the next glance will do).
pub(super) fn glance<'a>(
    at_nanos: u64,
    root: &Path,
    hierarchy: &Hierarchy,
    kubepods: &Kubepods,
    basis: MachineUsage,
    reclaimed: impl Iterator<Item = (&'a PodUid, &'a PathBuf)>,
) -> Option<Glance> {
    let whole = match basis {
        MachineUsage::Proc => read_machine_stat(root)
            .ok()?
            .busy_ticks
            .saturating_mul(1_000_000_000 / TICKS_PER_SECOND),
        MachineUsage::Kubepods => read_cpu_nanos(hierarchy, kubepods.relative()).ok()?,
    };
    let reclaimed = reclaimed
        .map(|(uid, relative)| Some((uid.clone(), read_cpu_nanos(hierarchy, relative).ok()?)))
        .collect::<Option<_>>()?;
    Some(Glance {
        at_nanos,
        whole,
        reclaimed,
    })
}

/// Whether a glance is old enough to compare with.
pub(super) fn comparable(before: &Glance, now: &Glance) -> bool {
    now.at_nanos.saturating_sub(before.at_nanos) >= SHORTEST_NANOS
}

/// What services used between two glances; `None` where the same pods are not in both.
pub(super) fn service_between(before: &Glance, now: &Glance) -> Option<Millicpu> {
    let elapsed = now
        .at_nanos
        .checked_sub(before.at_nanos)
        .filter(|nanos| *nanos > 0)?;
    if !before.reclaimed.keys().eq(now.reclaimed.keys()) {
        return None;
    }
    let batch: u64 = before
        .reclaimed
        .values()
        .zip(now.reclaimed.values())
        .map(|(before, now)| now.saturating_sub(*before))
        .fold(0, u64::saturating_add);
    let service = now.whole.checked_sub(before.whole)?.saturating_sub(batch);
    Some(Millicpu::new(
        (service as f64 * 1_000.0 / elapsed as f64) as u64,
    ))
}

/// Whether that is a surge above what the ceiling is made for.
pub(super) fn is_surge(service: Millicpu, recent_peak: Millicpu, capacity: Millicpu) -> bool {
    service > recent_peak + capacity.scale(SURGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64, whole: u64, reclaimed: &[(&str, u64)]) -> Glance {
        Glance {
            at_nanos: millis * 1_000_000,
            whole: whole * 1_000_000,
            reclaimed: reclaimed
                .iter()
                .map(|(uid, millis)| (PodUid::new(*uid), millis * 1_000_000))
                .collect(),
        }
    }

    #[test]
    fn services_between_glances() {
        let before = at(1_000, 500, &[("a", 100)]);
        assert_eq!(
            service_between(&before, &at(1_250, 1_000, &[("a", 225)])),
            Some(Millicpu::new(1_500))
        );
        assert_eq!(
            service_between(&before, &at(1_250, 1_000, &[("b", 225)])),
            None,
            "another pod"
        );
        assert_eq!(
            service_between(&before, &at(1_250, 400, &[("a", 225)])),
            None,
            "a counter that went back"
        );
        assert!(
            !comparable(&before, &at(1_100, 0, &[])) && comparable(&before, &at(1_200, 0, &[]))
        );
    }

    #[test]
    fn noise_is_no_surge() {
        let surge = |service| {
            is_surge(
                Millicpu::new(service),
                Millicpu::new(1_000),
                Millicpu::new(4_000),
            )
        };
        assert!(!surge(1_400));
        assert!(surge(1_401));
    }
}
