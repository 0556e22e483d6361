//! The files that carry a group's limits and its place on the machine. This module and the executor are their only writer.
//!
//! Semantics and spelling are the kernel's: `Documentation/admin-guide/cgroup-v2.rst`, `cgroup-v1/cpusets.rst` and
//! `scheduler/sched-bwc.rst` (burst).

use katalyst_core::cpu_set::CpuSet;
use serde::{Deserialize, Serialize};

use crate::{
    cgroup::{Controller, Version},
    kernel::number::{Limit, parse_limit},
};

/// One file of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Knob {
    /// Version 1: enforcement interval, microseconds.
    #[serde(rename = "cpu.cfs_period_us")]
    CfsPeriod,
    /// Version 1: CPU time an interval, microseconds; -1 unlimited.
    #[serde(rename = "cpu.cfs_quota_us")]
    CfsQuota,
    /// Version 2: both in one line.
    #[serde(rename = "cpu.max")]
    CpuMax,
    /// Both versions, kernel 5.15 and later: 1 lets every other group run first.
    #[serde(rename = "cpu.idle")]
    CpuIdle,
    /// Version 1: weight. The kernel forgets it while `cpu.idle` is 1 and comes back with its default of 1024: restored after
    /// [`Self::CpuIdle`], which is why it stands behind it.
    #[serde(rename = "cpu.shares")]
    CpuShares,
    /// Version 2: the same.
    #[serde(rename = "cpu.weight")]
    CpuWeight,
    /// Version 1: hard limit, bytes.
    #[serde(rename = "memory.limit_in_bytes")]
    MemoryLimit,
    /// Version 2: hard limit.
    #[serde(rename = "memory.max")]
    MemoryMax,
    /// Version 2: soft limit; above it tasks are slowed and their memory taken back, and nothing is killed.
    #[serde(rename = "memory.high")]
    MemoryHigh,
    /// Version 1, kernel 5.14 and later: unused quota that may be carried over, microseconds; never above the quota.
    #[serde(rename = "cpu.cfs_burst_us")]
    CfsBurst,
    /// Version 2: the same.
    #[serde(rename = "cpu.max.burst")]
    CpuMaxBurst,
    /// Version 1: 1 moves pages when `cpuset.mems` changes. Version 2 always moves them (kernel 5.16 and later).
    #[serde(rename = "cpuset.memory_migrate")]
    MemoryMigrate,
    /// CPUs. Version 1: a part of the parent's, never empty while processes are there. Version 2: what of it the parent has counts; empty
    /// is all of the parent's.
    #[serde(rename = "cpuset.cpus")]
    CpusetCpus,
    /// Memory nodes, by the same rules.
    #[serde(rename = "cpuset.mems")]
    CpusetMems,
}

impl Knob {
    /// Name of the file.
    pub fn file(self) -> &'static str {
        match self {
            Self::CfsPeriod => "cpu.cfs_period_us",
            Self::CfsQuota => "cpu.cfs_quota_us",
            Self::CpuMax => "cpu.max",
            Self::CpuIdle => "cpu.idle",
            Self::CpuShares => "cpu.shares",
            Self::CpuWeight => "cpu.weight",
            Self::MemoryLimit => "memory.limit_in_bytes",
            Self::MemoryMax => "memory.max",
            Self::MemoryHigh => "memory.high",
            Self::CfsBurst => "cpu.cfs_burst_us",
            Self::CpuMaxBurst => "cpu.max.burst",
            Self::MemoryMigrate => "cpuset.memory_migrate",
            Self::CpusetCpus => "cpuset.cpus",
            Self::CpusetMems => "cpuset.mems",
        }
    }

    /// Hierarchy the file is in.
    pub fn controller(self) -> Controller {
        match self {
            Self::CfsPeriod
            | Self::CfsQuota
            | Self::CpuMax
            | Self::CpuIdle
            | Self::CpuShares
            | Self::CpuWeight
            | Self::CfsBurst
            | Self::CpuMaxBurst => Controller::Cpu,
            Self::MemoryLimit | Self::MemoryMax | Self::MemoryHigh => Controller::Memory,
            Self::MemoryMigrate | Self::CpusetCpus | Self::CpusetMems => Controller::Cpuset,
        }
    }

    /// What kubelet, the runtime and the kernel leave in the file of a best-effort pod. Recorded as the old value when the record was
    /// lost and the file may hold a value of ours. For a set of CPUs or memory nodes the empty text is "what the parent has".
    pub fn kubelet_default(self) -> &'static str {
        match self {
            Self::CfsPeriod => "100000",
            Self::CfsQuota | Self::MemoryLimit => "-1",
            Self::CpuMax => "max 100000",
            Self::CpuIdle | Self::CfsBurst | Self::CpuMaxBurst | Self::MemoryMigrate => "0",
            Self::CpusetCpus | Self::CpusetMems => "",
            Self::CpuShares => "2",
            Self::CpuWeight => "1",
            Self::MemoryMax | Self::MemoryHigh => "max",
        }
    }

    /// Older kernels, and groups without the controller, do without the file.
    pub fn optional(self) -> bool {
        matches!(
            self,
            Self::CpuIdle
                | Self::MemoryHigh
                | Self::CfsBurst
                | Self::CpuMaxBurst
                | Self::MemoryMigrate
                | Self::CpusetCpus
                | Self::CpusetMems
        )
    }

    /// A set of CPUs or memory nodes, whose writes must follow the tree (see [`order`](super::order)).
    pub fn is_set(self) -> bool {
        matches!(self, Self::CpusetCpus | Self::CpusetMems)
    }

    /// A limit whose value hardly ever changes, and which services do not depend on from second to second as they do on a quota.
    pub fn is_steady(self) -> bool {
        matches!(
            self,
            Self::CfsPeriod
                | Self::CpuIdle
                | Self::MemoryLimit
                | Self::MemoryMax
                | Self::MemoryHigh
        )
    }

    /// Moves pages, or says whether they move: written by the thread that may wait for the kernel (see [`MemoryWriter`](super::MemoryWriter)).
    pub fn moves_pages(self) -> bool {
        matches!(self, Self::CpusetMems | Self::MemoryMigrate)
    }

    /// Written for the ceiling of reclaimed pods, and put back when a pod is not reclaimed any more.
    pub fn is_limit(self) -> bool {
        [Version::V1, Version::V2]
            .into_iter()
            .any(|version| Self::of(version).contains(&self))
            || matches!(self, Self::CpuShares | Self::CpuWeight)
    }

    /// What the kernel puts into a new group's weight (`kernel/sched`: `NICE_0_LOAD`, `CGROUP_WEIGHT_DFL`); kubelet sets its own right after.
    pub fn kernel_default(self) -> Option<&'static str> {
        match self {
            Self::CpuShares => Some("1024"),
            Self::CpuWeight => Some("100"),
            _ => None,
        }
    }

    /// Whether two texts mean the same to the kernel: it rounds memory limits down to pages and has several words for "no limit".
    pub fn same(self, a: &str, b: &str) -> bool {
        let (a, b) = (a.trim(), b.trim());
        match self {
            Self::MemoryLimit | Self::MemoryMax | Self::MemoryHigh => {
                match (parse_limit(a), parse_limit(b)) {
                    (Some(Limit::Bytes(a)), Some(Limit::Bytes(b))) => a.abs_diff(b) < LARGEST_PAGE,
                    (a, b) => a == b,
                }
            }
            Self::CpuMax => {
                let mut words = (a.split_whitespace(), b.split_whitespace());
                loop {
                    match (words.0.next(), words.1.next()) {
                        (None, None) => return true,
                        (a, b) if a == b => {}
                        _ => return false,
                    }
                }
            }
            Self::CfsPeriod
            | Self::CfsQuota
            | Self::CpuIdle
            | Self::CpuShares
            | Self::CpuWeight
            | Self::CfsBurst
            | Self::CpuMaxBurst
            | Self::MemoryMigrate => a == b,
            Self::CpusetCpus | Self::CpusetMems => match (CpuSet::parse(a), CpuSet::parse(b)) {
                (Ok(a), Ok(b)) => a == b,
                _ => a == b,
            },
        }
    }

    /// The text to write for a value that was read: version 1 prints "no limit" as a number that it does not take back, and an empty
    /// write is none at all.
    pub fn spelled(self, value: &str) -> &str {
        match value.trim() {
            "" => "\n",
            value if self.same(value, self.kubelet_default()) => self.kubelet_default(),
            value => value,
        }
    }

    /// Place of a change among the writes that are made together; a smaller one comes first. Falling limits come before rising ones, so
    /// that the sum of the quotas is under the ceiling at every moment. The kernel refuses a burst above the quota, so a falling burst
    /// is first and a rising one last. A weight only counts once the group is not idle. Pages move with the memory nodes, so what
    /// makes them move is set before, and put back after.
    pub fn phase(self, from: &str, to: &str) -> u8 {
        let rises = self.magnitude(to) > self.magnitude(from);
        match self {
            Self::CfsBurst | Self::CpuMaxBurst if rises => 6,
            Self::CfsBurst | Self::CpuMaxBurst => 0,
            Self::CpuShares | Self::CpuWeight => 3,
            Self::MemoryMigrate if rises => 0,
            Self::MemoryMigrate => 5,
            Self::CpusetCpus | Self::CpusetMems => 4,
            _ if rises => 2,
            _ => 1,
        }
    }

    /// The size of a limit, to apply falling ones before rising ones; unlimited is the largest.
    pub fn magnitude(self, text: &str) -> u64 {
        let word = text.split_whitespace().next().unwrap_or("max");
        match self {
            Self::CpuIdle => 0,
            _ => word.parse().unwrap_or(u64::MAX),
        }
    }

    /// Another file whose value the kernel loses when this one is written.
    pub fn loses(self, version: Version) -> Option<Self> {
        match (self, version) {
            (Self::CpuIdle, Version::V1) => Some(Self::CpuShares),
            (Self::CpuIdle, Version::V2) => Some(Self::CpuWeight),
            _ => None,
        }
    }

    /// Knobs of a reclaimed pod's limits, in the order they are written.
    pub fn of(version: Version) -> &'static [Self] {
        match version {
            Version::V1 => &[
                Self::CfsPeriod,
                Self::CfsQuota,
                Self::CpuIdle,
                Self::MemoryLimit,
            ],
            Version::V2 => &[
                Self::CpuMax,
                Self::CpuIdle,
                Self::MemoryHigh,
                Self::MemoryMax,
            ],
        }
    }
}

/// Pages are 4, 16 or 64 KiB.
const LARGEST_PAGE: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_spelling_is_the_same_value() {
        assert!(Knob::MemoryLimit.same("-1", "9223372036854771712\n"));
        assert!(Knob::MemoryMax.same("1000000", "999424\n"));
        assert!(!Knob::MemoryMax.same("max", "999424"));
        assert!(Knob::CpuMax.same("5000 100000", "5000 100000\n"));
        assert!(!Knob::CpuMax.same("5000 100000", "5000"));
        assert!(!Knob::CfsQuota.same("5000", "-1\n"));
    }

    #[test]
    fn unlimited_is_largest() {
        assert!(Knob::CfsQuota.magnitude("-1") > Knob::CfsQuota.magnitude("100000"));
        assert!(Knob::CpuMax.magnitude("max 100000") > Knob::CpuMax.magnitude("5000 100000"));
    }

    #[test]
    fn names_on_disk_are_the_files() {
        for knob in [Version::V1, Version::V2].into_iter().flat_map(Knob::of) {
            assert_eq!(
                serde_json::to_string(knob).unwrap(),
                format!("{:?}", knob.file())
            );
        }
    }
}
