//! From the ceiling to each pod's limits, and from limits to file contents. Pure.

use std::path::PathBuf;

use katalyst_core::{
    hold::{CpuDemand, MIN_QUOTA, MemoryDemand, MemoryLimit, split_cpu, split_memory},
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};
use serde::Serialize;

use super::{knob::Knob, setting::Setting};
use crate::{
    cgroup::{MemoryUse, PodUid, Version},
    kernel::cpu_limit::DEFAULT_PERIOD_MICROS,
};

/// Rises of a quota smaller than this part of it are left out, so that a pod whose use wavers does not cost a write each tick.
/// Falls are always written: the sum of the quotas never exceeds the ceiling.
const SMALLEST_RISE: f64 = 0.05;
/// Soft limits move in steps of this size, for the same reason.
const MEMORY_STEP: u64 = 1 << 20;
/// Head room that a hard limit keeps above what version 2 charges the pod with: below it the kernel would kill, not squeeze.
const SLACK_BYTES: u64 = 16 << 20;

/// A running reclaimed pod.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldPod {
    /// UID of its group.
    pub uid: PodUid,
    /// Its group, relative to the mounts.
    pub relative: PathBuf,
    /// Requested reclaimed CPU.
    pub cpu_request: Millicpu,
    /// Requested reclaimed memory, where it asks for any.
    pub memory_request: Option<Bytes>,
    /// CPU used in the last interval.
    pub cpu: Millicpu,
    /// Wanted more than its quota.
    pub throttled: bool,
    /// Memory now.
    pub memory: MemoryUse,
    /// The quota it has from the tick before.
    pub previous: Option<Millicpu>,
}

/// What one pod may use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PodLimits {
    /// UID of its group.
    pub uid: PodUid,
    /// Its group, relative to the mounts.
    pub relative: PathBuf,
    /// CPU.
    pub cpu: Millicpu,
    /// Memory hard limit.
    pub memory_max: Bytes,
    /// Memory soft limit, where the pod must shrink.
    pub memory_high: Option<Bytes>,
}

/// Splits the ceiling. The CPU parts add up to no more than it (or to the kernel's least quota for each pod, where even that is more).
pub fn pod_limits(ceiling: Reclaimed, pods: &[HeldPod], version: Version) -> Vec<PodLimits> {
    let cpu: Vec<CpuDemand> = pods
        .iter()
        .map(|pod| CpuDemand {
            request: pod.cpu_request,
            usage: pod.cpu,
            throttled: pod.throttled,
        })
        .collect();
    let memory: Vec<MemoryDemand> = pods
        .iter()
        .map(|pod| MemoryDemand {
            request: pod.memory_request,
            usage: charged(version, &pod.memory),
        })
        .collect();
    pods.iter()
        .zip(
            split_cpu(ceiling.cpu, &cpu)
                .into_iter()
                .zip(split_memory(ceiling.memory, &memory)),
        )
        .map(|(pod, (cpu, memory))| {
            let (memory_max, memory_high) = safe_memory(version, &pod.memory, memory);
            PodLimits {
                uid: pod.uid.clone(),
                relative: pod.relative.clone(),
                cpu: without_small_rise(pod.previous, cpu),
                memory_max,
                memory_high,
            }
        })
        .collect()
}

/// Which use a lowered hard limit must stay above. Version 2 kills when it cannot reclaim at once, so everything charged counts and
/// `memory.high` does the squeezing. Version 1 only answers EBUSY, and has no soft limit that acts in time, so its hard
/// limit may cut into inactive file pages.
fn charged(version: Version, memory: &MemoryUse) -> Bytes {
    Bytes::new(match version {
        Version::V1 => memory.working_set,
        Version::V2 => memory.usage,
    })
}

fn safe_memory(version: Version, used: &MemoryUse, limit: MemoryLimit) -> (Bytes, Option<Bytes>) {
    let least = Bytes::new(charged(version, used).get().saturating_add(SLACK_BYTES));
    let step = |bytes: Bytes| {
        Bytes::new(
            (bytes.get() / MEMORY_STEP)
                .max(1)
                .saturating_mul(MEMORY_STEP),
        )
    };
    if limit.max >= least {
        return (limit.max, limit.high.map(step));
    }
    // The pod uses more than it may: the soft limit takes it back, and the hard limit follows it down.
    (
        Bytes::new(least.get().next_multiple_of(MEMORY_STEP)),
        Some(step(limit.high.unwrap_or(limit.max))),
    )
}

fn without_small_rise(previous: Option<Millicpu>, next: Millicpu) -> Millicpu {
    match previous {
        Some(previous) if next > previous && next - previous <= previous.scale(SMALLEST_RISE) => {
            previous
        }
        _ => next,
    }
}

/// The files of one pod. `idle`: also let every other group of the class run first, where the kernel can.
pub fn settings(limits: &PodLimits, version: Version, idle: bool) -> Vec<Setting> {
    let quota = limits
        .cpu
        .max(MIN_QUOTA)
        .get()
        .saturating_mul(DEFAULT_PERIOD_MICROS)
        / 1_000;
    let bytes = |bytes: Bytes| bytes.get().to_string();
    Knob::of(version)
        .iter()
        .filter_map(|knob| {
            let value = match knob {
                Knob::CfsPeriod => DEFAULT_PERIOD_MICROS.to_string(),
                Knob::CfsQuota => quota.to_string(),
                Knob::CpuMax => format!("{quota} {DEFAULT_PERIOD_MICROS}"),
                Knob::CpuIdle if idle => "1".to_owned(),
                Knob::MemoryLimit | Knob::MemoryMax => bytes(limits.memory_max),
                Knob::MemoryHigh => limits.memory_high.map_or_else(|| "max".to_owned(), bytes),
                _ => return None,
            };
            Some(Setting::value(&limits.uid, &limits.relative, *knob, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hold::Wanted;

    const MIB: u64 = 1 << 20;

    fn pod(uid: &str, request: u64, cpu: u64, throttled: bool) -> HeldPod {
        HeldPod {
            uid: PodUid::new(uid),
            relative: PathBuf::from(uid),
            cpu_request: Millicpu::new(request),
            memory_request: Some(Bytes::new(512 * MIB)),
            cpu: Millicpu::new(cpu),
            throttled,
            memory: MemoryUse {
                usage: 100 * MIB,
                working_set: 80 * MIB,
                resident: 70 * MIB,
            },
            previous: None,
        }
    }

    #[test]
    fn files_of_both_versions() {
        let limits = PodLimits {
            uid: PodUid::new("a"),
            relative: PathBuf::from("kubepods/besteffort/poda"),
            cpu: Millicpu::new(1500),
            memory_max: Bytes::new(512 * MIB),
            memory_high: None,
        };
        let of = |version, idle| {
            settings(&limits, version, idle)
                .into_iter()
                .map(|s| match s.wanted {
                    Wanted::Value(value) => format!("{}={value}", s.knob.file()),
                    Wanted::Old => panic!("{s:?}"),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of(Version::V1, true),
            [
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=150000",
                "cpu.idle=1",
                "memory.limit_in_bytes=536870912"
            ]
        );
        assert_eq!(
            of(Version::V2, false),
            [
                "cpu.max=150000 100000",
                "memory.high=max",
                "memory.max=536870912"
            ]
        );
    }

    #[test]
    fn a_pod_above_its_limit_is_squeezed_and_not_killed() {
        let mut greedy = pod("a", 1000, 0, false);
        greedy.memory = MemoryUse {
            usage: 600 * MIB,
            working_set: 590 * MIB,
            resident: 590 * MIB,
        };
        let [limits] = pod_limits(Reclaimed::new(1000, 1024 * MIB), &[greedy], Version::V2)
            .try_into()
            .unwrap();
        assert!(limits.memory_max.get() >= 616 * MIB, "{limits:?}");
        assert!(
            limits
                .memory_high
                .is_some_and(|high| high.get() <= 512 * MIB),
            "{limits:?}"
        );
    }

    #[test]
    fn a_quota_does_not_follow_noise_upwards() {
        let held = |previous| HeldPod {
            previous: Some(Millicpu::new(previous)),
            ..pod("a", 1000, 0, true)
        };
        let cpu = |previous| {
            pod_limits(Reclaimed::new(1000, MIB), &[held(previous)], Version::V1)[0]
                .cpu
                .get()
        };
        assert_eq!(cpu(970), 970);
        assert_eq!(cpu(900), 1000);
        assert_eq!(cpu(1100), 1000);
    }

    proptest! {
        #[test]
        fn quotas_add_up_to_no_more_than_the_ceiling(
            ceiling in 0..64_000_u64,
            pods in proptest::collection::vec((0..8_000_u64, 0..8_000_u64, any::<bool>(), proptest::option::of(10..8_000_u64)), 1..30),
        ) {
            let pods: Vec<_> = pods
                .into_iter()
                .enumerate()
                .map(|(n, (request, cpu, throttled, previous))| HeldPod {
                    previous: previous.map(Millicpu::new),
                    ..pod(&n.to_string(), request, cpu, throttled)
                })
                .collect();
            for version in [Version::V1, Version::V2] {
                let limits = pod_limits(Reclaimed::new(ceiling, 4096 * MIB), &pods, version);
                prop_assert_eq!(limits.len(), pods.len());
                let sum: u64 = limits.iter().map(|limit| limit.cpu.get()).sum();
                prop_assert!(sum <= ceiling.max(MIN_QUOTA.get() * pods.len() as u64));
                for (limit, pod) in limits.iter().zip(&pods) {
                    prop_assert!(limit.memory_max.get() >= charged(version, &pod.memory).get() + SLACK_BYTES);
                }
            }
        }
    }
}
