//! One reading of every counter.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use crate::{
    cgroup::{
        GroupUsage, Hierarchy, KubeClass, Kubepods, PodUid,
        file::{FileError, read_as},
        read_group,
    },
    kernel::{
        meminfo::{self, MemInfo},
        proc_stat::{self, ProcStat},
    },
};

/// The machine's own counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// What it used so far.
    pub usage: GroupUsage,
}

/// Everything read in one tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    /// Nanoseconds on the monotonic clock when reading began.
    pub at_nanos: u64,
    /// The machine.
    pub machine: Machine,
    /// kubelet's whole tree, ended pods included.
    pub kubepods: GroupUsage,
    /// CPU nanoseconds of the class groups, ended pods included.
    pub classes: BTreeMap<KubeClass, u64>,
    /// Each pod that has a group.
    pub pods: BTreeMap<PodUid, PodCounters>,
}

/// Reads `/proc/stat` and `/proc/meminfo` under `root`.
pub fn read_machine(root: &Path) -> Result<Machine, FileError> {
    Ok(Machine {
        stat: read_machine_stat(root)?,
        memory: read_as(&root.join("proc/meminfo"), meminfo::parse)?,
    })
}

/// Reads `/proc/stat` under `root` only.
pub fn read_machine_stat(root: &Path) -> Result<ProcStat, FileError> {
    read_as(&root.join("proc/stat"), proc_stat::parse)
}

/// Reads everything. A pod whose group vanishes meanwhile is left out; `Err` is a kubelet tree that is gone, to be looked for again.
/// Files that cannot be read for another reason are reported through `problem` and cost that pod's numbers only.
pub fn read_counters(
    at_nanos: u64,
    machine: Machine,
    hierarchy: &Hierarchy,
    kubepods: &Kubepods,
    mut problem: impl FnMut(FileError),
) -> io::Result<Counters> {
    let mut pods = BTreeMap::new();
    for dir in kubepods.pods(hierarchy)? {
        match read_group(hierarchy, &dir.relative) {
            Ok(usage) => {
                pods.insert(
                    dir.uid,
                    PodCounters {
                        class: dir.class,
                        relative: dir.relative,
                        usage,
                    },
                );
            }
            Err(error) if error.is_gone() => {}
            Err(error) => problem(error),
        }
    }
    let mut group = |relative: &Path| match read_group(hierarchy, relative) {
        Ok(usage) => usage,
        Err(error) => {
            if !error.is_gone() {
                problem(error);
            }
            GroupUsage::default()
        }
    };
    let classes = [KubeClass::Burstable, KubeClass::BestEffort]
        .into_iter()
        .filter_map(|class| Some((class, group(&kubepods.class_dir(class)).cpu_nanos?)))
        .collect();
    let whole = group(kubepods.relative());
    Ok(Counters {
        at_nanos,
        machine,
        kubepods: whole,
        classes,
        pods,
    })
}
