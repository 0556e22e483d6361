//! What a plan follows from, as the planner wants it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use katalyst_core::{
    cpu_set::CpuSet,
    pools::{PodCpus, PoolPlan, PoolPod},
    qos::{Level, NumaSet},
    units::Millicpu,
};

use crate::{
    cgroup::{Controller, Hierarchy, KubeClass, PodDir, PodUid, Version, below, file},
    hold::{Knob, Records},
    kubelet::Kubelet,
    pods::{PodIndex, PodInfo},
};

/// A pod with what is on disk for it.
pub(super) struct Seen<'a> {
    pub(super) info: &'a PodInfo,
    /// Its group, where it has one.
    pub(super) dir: Option<&'a PodDir>,
}

/// Pods that take part: everything that has not ended, in the API server's list or told by the runtime alone.
pub(super) fn taking_part<'a>(
    index: &'a PodIndex,
    only_runtime: &'a BTreeMap<PodUid, PodInfo>,
    dirs: &'a BTreeMap<PodUid, PodDir>,
) -> Vec<Seen<'a>> {
    let told = only_runtime
        .values()
        .filter(|pod| index.get(&pod.uid).is_none());
    index
        .iter()
        .chain(told)
        .filter(|pod| !pod.finished)
        .map(|info| Seen {
            info,
            dir: dirs.get(&info.uid),
        })
        .collect()
}

/// What one pod brings to the plan.
pub(super) struct PodFacts<'a> {
    pub(super) seen: &'a Seen<'a>,
    pub(super) usage: Option<Millicpu>,
    pub(super) kubelet_cpus: CpuSet,
    pub(super) current: Option<PodCpus>,
    pub(super) runs_wild: bool,
    pub(super) wall: Timestamp,
}

/// A pod as the planner sees it.
pub(super) fn pool_pod(facts: PodFacts<'_>) -> PoolPod {
    let info = facts.seen.info;
    let asks = &info.asks;
    PoolPod {
        uid: info.uid.as_str().to_owned(),
        level: info.level,
        request: match info.level {
            Level::Reclaimed => info.requests.cpu,
            _ => asks.cpu_request,
        },
        limit: asks.cpu_limit,
        usage: facts.usage,
        wishes: asks.wishes.clone(),
        numa_binding: asks.numa_binding,
        numa_exclusive: asks.numa_exclusive,
        numa_bind_result: asks.numa_bind_result.clone(),
        memory_request: match info.level {
            Level::Reclaimed => info.requests.memory,
            _ => asks.memory_request,
        },
        age_seconds: asks.created.map_or(f64::NAN, |created| {
            facts.wall.duration_since(created).as_secs_f64()
        }),
        runs_wild: facts.runs_wild,
        kubelet_cpus: facts.kubelet_cpus,
        current: facts.current,
    }
}

/// CPUs that kubelet gave to the pod alone: by its state file, or, where that cannot be read, by the sets of the pod's containers.
///
/// kubelet gives exclusive CPUs to containers of guaranteed pods with whole CPUs. A container of such a pod whose set is smaller than its
/// pod's, and which is not on our records, has it from kubelet.
pub(super) fn kubelet_cpus(
    kubelet: &Kubelet,
    hierarchy: &Hierarchy,
    records: &Records,
    seen: &Seen<'_>,
) -> CpuSet {
    if let Some(manager) = &kubelet.cpu {
        return manager
            .pods
            .get(seen.info.uid.as_str())
            .cloned()
            .unwrap_or_default();
    }
    let Some(dir) = seen.dir.filter(|dir| {
        let request = seen.info.asks.cpu_request.get();
        dir.class == KubeClass::Guaranteed && request >= 1_000
    }) else {
        return CpuSet::new();
    };
    let pod = read_set(hierarchy, &dir.relative, Knob::CpusetCpus);
    below(hierarchy, Controller::Cpuset, &dir.relative)
        .iter()
        .filter(|group| {
            group.parent() == Some(&dir.relative)
                && records.old(group, Knob::CpusetCpus).is_none()
                && records.old(&dir.relative, Knob::CpusetCpus).is_none()
        })
        .filter_map(|group| read_set(hierarchy, group, Knob::CpusetCpus))
        .filter(|set| pod.as_ref() != Some(set))
        .fold(CpuSet::new(), |all, set| all.union(&set))
}

/// What a pod holds: from the plan that stands, or, where there is none with the pod in it, from its group.
pub(super) fn current(
    previous: Option<&PoolPlan>,
    hierarchy: &Hierarchy,
    everyone: &CpuSet,
    seen: &Seen<'_>,
) -> Option<PodCpus> {
    if let Some(held) = previous.and_then(|plan| plan.pods.get(seen.info.uid.as_str())) {
        return Some(held.clone());
    }
    let dir = seen.dir?;
    Some(hold_now(hierarchy, everyone, &dir.relative))
}

/// What a group holds. A set that is the parent's, or empty, is no restriction.
fn hold_now(hierarchy: &Hierarchy, everyone: &CpuSet, group: &Path) -> PodCpus {
    let own = |knob| {
        let own = read_set(hierarchy, group, knob)?;
        let parent = group.parent()?;
        let inherited = hierarchy.version() == Version::V1
            && read_set(hierarchy, parent, knob).as_ref() == Some(&own);
        (!inherited).then_some(own)
    };
    let cpus = own(Knob::CpusetCpus).unwrap_or_else(|| everyone.clone());
    let mems = own(Knob::CpusetMems).and_then(|mems| NumaSet::parse(&mems.to_string()));
    PodCpus {
        pool: String::new(),
        cpus,
        mems,
    }
}

/// A set in a group's file; `None` where it is empty, missing, or none.
pub(super) fn read_set(hierarchy: &Hierarchy, group: &Path, knob: Knob) -> Option<CpuSet> {
    let path = hierarchy.dir(knob.controller(), group).join(knob.file());
    let set = file::read_as(&path, |text| CpuSet::parse(text).ok()).ok()?;
    (!set.is_empty()).then_some(set)
}

/// Groups below the pod's that may need a set of their own.
pub(super) fn groups_of(hierarchy: &Hierarchy, dir: &PodDir) -> Vec<PathBuf> {
    let groups = below(hierarchy, Controller::Cpuset, &dir.relative);
    match hierarchy.version() {
        // Every group is within its parent, those too that containers made for themselves.
        Version::V1 => groups,
        // Groups deeper down follow those above.
        Version::V2 => groups
            .into_iter()
            .filter(|group| group.parent() == Some(&dir.relative))
            .collect(),
    }
}
