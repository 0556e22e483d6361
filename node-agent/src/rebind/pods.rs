//! Pods as the binder sees them, and where their pages are.

use std::{collections::BTreeMap, path::Path};

use katalyst_core::{
    qos::{Level, NumaSet},
    units::Bytes,
};

use crate::{
    cgroup::{Controller, Hierarchy, PodUid, Version, file},
    kernel::memory_numa_stat::{NodeMemory, NumaStat},
};

/// One pod with a group.
#[derive(Debug, Clone)]
pub struct BinderPod<'a> {
    /// Whose.
    pub uid: &'a PodUid,
    /// `namespace/name`.
    pub name: String,
    /// Its level.
    pub level: Level,
    /// Its memory nodes are settled by wish, by the scheduler or by kubelet.
    pub bound: bool,
    /// It has the memory nodes of the plan to itself.
    pub exclusive: bool,
    /// Its group, relative to the mounts.
    pub group: &'a Path,
    /// Memory nodes that the plan of the pools gives it; `None`: as Kubernetes left it.
    pub planned: Option<&'a NumaSet>,
    /// What its group holds now by our doing, before anything is remembered of it: an earlier run of the agent may have moved it.
    pub held: Option<NumaSet>,
}

/// Bytes on each node.
pub(super) type Resident = BTreeMap<u32, Bytes>;

/// The sampler's numbers.
pub(super) fn resident(nodes: &[NodeMemory]) -> Resident {
    nodes
        .iter()
        .map(|memory| (memory.node, Bytes::new(memory.total())))
        .collect()
}

/// The same, read now. `None` where the group is gone or the kernel does not tell.
pub(super) fn read_resident(hierarchy: &Hierarchy, group: &Path) -> Option<Resident> {
    let path = hierarchy
        .dir(Controller::Memory, group)
        .join("memory.numa_stat");
    let text = file::read(&path).ok()?;
    let mut stat = NumaStat::new();
    let told = match hierarchy.version() {
        Version::V1 => stat.read_v1(&text, rustix::param::page_size() as u64),
        Version::V2 => stat.read_v2(&text),
    };
    told.then(|| resident(stat.nodes()))
}
