//! One reading of every counter.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    cgroup::{GroupUsage, KubeClass, PodUid},
    kernel::{meminfo::MemInfo, proc_stat::ProcStat},
};

/// The machine's own counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Machine {
    /// `/proc/stat`.
    pub stat: ProcStat,
    /// `/proc/meminfo`.
    pub memory: MemInfo,
}

/// A pod's counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodCounters {
    /// Kubernetes class whose group it is in.
    pub class: KubeClass,
    /// Its group, relative to the mounts.
    pub relative: PathBuf,
    /// Nanoseconds on the monotonic clock when it was read.
    pub at_nanos: u64,
    /// What it used so far.
    pub usage: GroupUsage,
}

/// Everything read in one tick.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Nanoseconds on the monotonic clock when reading began.
    pub at_nanos: u64,
    /// The machine.
    pub machine: Machine,
    /// When kubelet's tree was read: last. On a machine that is overloaded the thread may lose its CPU in the middle of a sample, and counters that
    /// are read later have run on meanwhile; each is therefore compared over its own interval.
    pub kubepods_at_nanos: u64,
    /// kubelet's whole tree, ended pods included.
    pub kubepods: GroupUsage,
    /// CPU nanoseconds of the class groups, ended pods included.
    pub classes: BTreeMap<KubeClass, u64>,
    /// Each pod that has a group.
    pub pods: BTreeMap<PodUid, PodCounters>,
}
