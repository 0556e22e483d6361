//! From two readings to what was used between them.

use std::{collections::BTreeMap, path::PathBuf};

use katalyst_core::{
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

use super::counters::Counters;
use crate::{
    cgroup::{KubeClass, MemoryUse, PodUid, Throttling},
    kernel::proc_stat::TICKS_PER_SECOND,
};

/// A pod that hit its quota in this part of the enforcement intervals counts as throttled; single hits are scheduling noise.
const THROTTLED_FROM: f64 = 0.1;

/// What one pod used.
#[derive(Debug, Clone, PartialEq)]
pub struct PodUsage {
    /// Kubernetes class.
    pub class: KubeClass,
    /// Its group, relative to the mounts.
    pub relative: PathBuf,
    /// CPU in the interval; zero where the kernel did not say or the counter went back.
    pub cpu: Millicpu,
    /// Memory at the end of the interval.
    pub memory: MemoryUse,
    /// Part of the enforcement intervals in which it ran out of quota, 0 to 1.
    pub throttled_part: f64,
}

impl PodUsage {
    /// Whether the pod wanted more CPU than its quota.
    pub fn throttled(&self) -> bool {
        self.throttled_part >= THROTTLED_FROM
    }
}

/// What everything used between two readings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Nanoseconds on the monotonic clock at the second reading.
    pub at_nanos: u64,
    /// Length of the interval, seconds.
    pub elapsed_seconds: f64,
    /// Online CPUs and total memory.
    pub capacity: Reclaimed,
    /// The whole machine: CPU time that was not idle; memory that is not available.
    pub machine: Reclaimed,
    /// kubelet's tree.
    pub kubepods: Reclaimed,
    /// Pods with a group at the second reading.
    pub pods: BTreeMap<PodUid, PodUsage>,
    /// CPU of pods that ended within the interval, from what their class group has and the living pods do not explain.
    pub departed: BTreeMap<PodUid, Millicpu>,
}

/// Compares two readings. `None` when no time has passed between them.
pub fn usage_between(before: &Counters, now: &Counters) -> Option<Usage> {
    let mut usage = Usage::default();
    usage.update(before, now).then_some(usage)
}

impl Usage {
    /// Compares two readings in place of what was here; allocates for new pods only. False, and nothing changed, when no time has passed.
    pub fn update(&mut self, before: &Counters, now: &Counters) -> bool {
        let Some(elapsed_nanos) = now
            .at_nanos
            .checked_sub(before.at_nanos)
            .filter(|nanos| *nanos > 0)
        else {
            return false;
        };
        let rate = |nanos: u64, elapsed: u64| {
            Millicpu::new((nanos as f64 * 1_000.0 / elapsed.max(1) as f64).round() as u64)
        };
        let millicpu = |nanos| rate(nanos, elapsed_nanos);
        let tree_nanos = now
            .kubepods_at_nanos
            .checked_sub(before.kubepods_at_nanos)
            .filter(|nanos| *nanos > 0)
            .unwrap_or(elapsed_nanos);
        let ticks = now
            .machine
            .stat
            .busy_ticks
            .saturating_sub(before.machine.stat.busy_ticks);
        let memory = now.machine.memory;
        self.at_nanos = now.at_nanos;
        self.elapsed_seconds = elapsed_nanos as f64 / 1e9;
        self.capacity = Reclaimed {
            cpu: Millicpu::new(now.machine.stat.online_cpus.saturating_mul(1_000)),
            memory: Bytes::new(memory.total),
        };
        self.machine = Reclaimed {
            cpu: millicpu(ticks.saturating_mul(1_000_000_000 / TICKS_PER_SECOND)),
            memory: Bytes::new(memory.total.saturating_sub(memory.available)),
        };
        self.kubepods = Reclaimed {
            cpu: rate(
                advance(before.kubepods.cpu_nanos, now.kubepods.cpu_nanos),
                tree_nanos,
            ),
            memory: Bytes::new(now.kubepods.memory.map_or(0, |memory| memory.resident)),
        };

        let mut explained = [0_u64; KubeClass::ALL.len()];
        self.pods.retain(|uid, _| now.pods.contains_key(uid));
        for (uid, counters) in &now.pods {
            let earlier = before.pods.get(uid);
            // A pod that was not there before has used all of its counter since.
            let nanos = advance(
                earlier.map_or(Some(0), |pod| pod.usage.cpu_nanos),
                counters.usage.cpu_nanos,
            );
            for (sum, class) in explained.iter_mut().zip(KubeClass::ALL) {
                if class == counters.class {
                    *sum = sum.saturating_add(nanos);
                }
            }
            // A pod that is new has no interval of its own.
            let own = earlier
                .and_then(|pod| counters.at_nanos.checked_sub(pod.at_nanos))
                .filter(|nanos| *nanos > 0);
            let cpu = rate(nanos, own.unwrap_or(elapsed_nanos));
            let memory = counters.usage.memory.unwrap_or_default();
            let throttled_part = throttled_part(
                earlier.and_then(|pod| pod.usage.throttling),
                counters.usage.throttling,
            );
            match self.pods.get_mut(uid) {
                Some(pod) if pod.relative == counters.relative => {
                    pod.cpu = cpu;
                    pod.memory = memory;
                    pod.throttled_part = throttled_part;
                }
                Some(_) | None => {
                    let pod = PodUsage {
                        class: counters.class,
                        relative: counters.relative.clone(),
                        cpu,
                        memory,
                        throttled_part,
                    };
                    self.pods.insert(uid.clone(), pod);
                }
            }
        }
        self.departed.clear();
        for (class, explained) in KubeClass::ALL.into_iter().zip(explained) {
            depart(before, now, class, explained, |uid, nanos| {
                self.departed.insert(uid.clone(), millicpu(nanos));
            });
        }
        true
    }
}

/// How far a counter went; zero where the kernel did not say or it went back.
fn advance(before: Option<u64>, now: Option<u64>) -> u64 {
    now.and_then(|now| now.checked_sub(before?)).unwrap_or(0)
}

fn throttled_part(before: Option<Throttling>, now: Option<Throttling>) -> f64 {
    let (Some(before), Some(now)) = (before, now) else {
        return 0.0;
    };
    let periods = now.periods.saturating_sub(before.periods);
    let throttled = now.throttled.saturating_sub(before.throttled);
    if periods == 0 {
        0.0
    } else {
        (throttled as f64 / periods as f64).min(1.0)
    }
}

/// What ended pods of a class used since the earlier reading. Their own counters are gone, but their class group's counter keeps the sum:
/// what the living do not explain is theirs, split by nothing better than equally. Without this a batch pod's exit would look like a surge
/// of services for one tick, and stay in the service peak for the length of its window.
fn depart(
    before: &Counters,
    now: &Counters,
    class: KubeClass,
    explained: u64,
    mut departed: impl FnMut(&PodUid, u64),
) {
    let gone = || {
        before
            .pods
            .iter()
            .filter(move |(uid, pod)| pod.class == class && !now.pods.contains_key(*uid))
            .map(|(uid, _)| uid)
    };
    let used = advance(
        before.classes.get(&class).copied(),
        now.classes.get(&class).copied(),
    );
    let lost = used.saturating_sub(explained);
    if let Some(each) = lost.checked_div(gone().count() as u64) {
        for uid in gone() {
            departed(uid, each);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        cgroup::GroupUsage,
        kernel::{meminfo::MemInfo, proc_stat::ProcStat},
        sample::{Machine, PodCounters},
    };

    const SECOND: u64 = 1_000_000_000;

    fn counters(seconds: u64, busy_ticks: u64, besteffort: u64, pods: &[(&str, u64)]) -> Counters {
        Counters {
            at_nanos: seconds * SECOND,
            machine: Machine {
                stat: ProcStat {
                    busy_ticks,
                    idle_ticks: 0,
                    online_cpus: 4,
                },
                memory: MemInfo {
                    total: 1000,
                    available: 600,
                    ..MemInfo::default()
                },
            },
            kubepods_at_nanos: seconds * SECOND,
            kubepods: GroupUsage {
                cpu_nanos: Some(besteffort),
                ..GroupUsage::default()
            },
            classes: BTreeMap::from([(KubeClass::BestEffort, besteffort)]),
            pods: pods
                .iter()
                .map(|(uid, cpu)| {
                    (
                        PodUid::new(*uid),
                        PodCounters {
                            at_nanos: seconds * SECOND,
                            class: KubeClass::BestEffort,
                            relative: PathBuf::from(uid),
                            usage: GroupUsage {
                                cpu_nanos: Some(*cpu),
                                ..GroupUsage::default()
                            },
                        },
                    )
                })
                .collect(),
        }
    }

    #[test]
    fn rates() {
        let before = counters(10, 1_000, 5 * SECOND, &[("a", SECOND)]);
        let now = counters(12, 1_300, 6 * SECOND, &[("a", 2 * SECOND)]);
        let usage = usage_between(&before, &now).unwrap();
        assert_eq!(usage.machine, Reclaimed::new(1_500, 400));
        assert_eq!(usage.capacity, Reclaimed::new(4_000, 1000));
        assert_eq!(usage.kubepods.cpu, Millicpu::new(500));
        assert_eq!(usage.pods[&PodUid::new("a")].cpu, Millicpu::new(500));
        assert!(usage.departed.is_empty());
        assert_eq!(usage_between(&now, &now), None);
    }

    #[test]
    fn a_pods_exit_is_not_a_surge() {
        let before = counters(0, 0, 10 * SECOND, &[("stays", 0), ("ends", 9 * SECOND)]);
        let now = counters(1, 0, 12 * SECOND, &[("stays", SECOND / 2)]);
        let usage = usage_between(&before, &now).unwrap();
        assert_eq!(
            usage.departed,
            BTreeMap::from([(PodUid::new("ends"), Millicpu::new(1_500))])
        );
    }

    /// The thread lost its CPU for half a second between the pods and the tree: a batch pod that burnt one CPU all the time is no service.
    #[test]
    fn counters_read_late_are_compared_over_their_own_interval() {
        let before = counters(1, 0, 1_000_000_000, &[("a", 1_000_000_000)]);
        let mut now = counters(2, 150, 2_500_000_000, &[("a", 2_000_000_000)]);
        now.kubepods_at_nanos += 500_000_000;
        let usage = usage_between(&before, &now).unwrap();
        assert_eq!(usage.kubepods.cpu.get(), 1_000);
        assert_eq!(usage.pods[&PodUid::new("a")].cpu.get(), 1_000);
    }

    #[test]
    fn a_new_pod_counts_from_zero_and_a_reset_counter_is_no_use() {
        let before = counters(0, 0, 0, &[("back", 5)]);
        let now = counters(1, 0, 0, &[("back", 1), ("new", SECOND / 4)]);
        let usage = usage_between(&before, &now).unwrap();
        assert_eq!(usage.pods[&PodUid::new("new")].cpu, Millicpu::new(250));
        assert_eq!(usage.pods[&PodUid::new("back")].cpu, Millicpu::ZERO);
    }

    #[test]
    fn throttling_is_a_part_of_intervals() {
        let at = |periods, throttled| {
            Some(Throttling {
                periods,
                throttled,
                nanos: 0,
            })
        };
        assert!((throttled_part(at(0, 0), at(10, 5)) - 0.5).abs() < 1e-9);
        assert!(throttled_part(at(5, 5), at(5, 5)) < 1e-9);
        assert!(throttled_part(None, at(5, 5)) < 1e-9);
        assert!(throttled_part(at(9, 9), at(1, 1)) < 1e-9);
    }

    proptest! {
        #[test]
        fn any_two_readings_compare(a in any::<u64>(), b in any::<u64>(), c in any::<u64>(), d in any::<u64>(), t in 0_u64..10) {
            let before = counters(5, a, b, &[("x", c), ("y", d)]);
            let now = counters(t, b, a, &[("x", d)]);
            let usage = usage_between(&before, &now);
            prop_assert_eq!(usage.is_some(), t > 5);
        }
    }
}
