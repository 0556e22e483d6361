//! What one tick found and did: the source of the report, the metrics and `/debug/state`.

use katalyst_core::{qos::Level, reclaimed::Reclaimed, units::Bytes};
use serde::Serialize;

use std::{collections::BTreeMap, sync::Arc};

use super::locate::Located;
use crate::{
    cgroup::{KubeClass, PodUid},
    hold::PodLimits,
    pods::{PodIndex, PodInfo},
    sample::{NumaUsage, Split, Usage},
};

/// The result of a tick.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// Monotonic nanoseconds of the sample.
    pub at_nanos: u64,
    /// `v1` or `v2`.
    pub cgroup: String,
    /// kubelet's tree, relative to the mounts.
    pub kubepods: String,
    /// The machine.
    pub capacity: Reclaimed,
    /// Its use.
    pub machine: Reclaimed,
    /// Use by everything but reclaimed pods.
    pub service: Reclaimed,
    /// Use by reclaimed pods.
    pub reclaimed: Reclaimed,
    /// Highest service use of the last seconds; the ceiling follows it.
    pub recent_peak: Reclaimed,
    /// Highest service use of the long window; the offer follows it.
    pub service_peak: ServicePeakView,
    /// The ceiling.
    pub ceiling: CeilingView,
    /// What finds a surge of services between samples, and why not more than that.
    pub surge_watch: String,
    /// Use of each NUMA node.
    pub numa: Vec<NumaUsage>,
    /// Use of each level's pods.
    pub levels: Vec<LevelUsage>,
    /// Every pod with a group.
    pub pods: Vec<PodView>,
    /// The limits in force.
    pub limits: Vec<PodLimits>,
}

/// The long window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ServicePeakView {
    /// Its length.
    pub window_seconds: f64,
    /// How much of it was measured.
    pub filled_seconds: f64,
    /// Samples in it.
    pub samples: u64,
    /// Its peak.
    pub usage: Reclaimed,
}

/// The ceiling and why it is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CeilingView {
    /// Amounts.
    pub value: Reclaimed,
    /// Why the CPU amount.
    pub cpu_reason: &'static str,
    /// Why the memory amount.
    pub memory_reason: &'static str,
}

/// Use of one level.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LevelUsage {
    /// The level.
    pub level: Level,
    /// CPU and working set.
    pub usage: Reclaimed,
    /// Its memory on each NUMA node, by the kernel's count of each pod's pages; empty on a machine of one node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub memory_nodes: BTreeMap<u32, Bytes>,
    /// `namespace/name` of its pods.
    pub pods: Vec<String>,
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PodView {
    /// UID of its group.
    pub uid: PodUid,
    /// `namespace/name`; empty where the API server does not know it.
    pub name: String,
    /// Its level; `None` where the API server does not know it.
    pub level: Option<Level>,
    /// Kubernetes class.
    #[serde(skip)]
    pub class: KubeClass,
    /// CPU and working set.
    pub usage: Reclaimed,
    /// Part of the enforcement intervals in which it ran out of quota.
    pub throttled_part: f64,
    /// Its memory on each NUMA node, at most half a minute old; empty on a machine of one node.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub memory_nodes: BTreeMap<u32, Bytes>,
}

/// What a tick has besides its usage.
pub(super) struct Parts {
    pub(super) located: Arc<Located>,
    pub(super) split: Split,
    pub(super) numa: Vec<NumaUsage>,
    pub(super) surge_watch: String,
    /// Each pod's memory on each NUMA node.
    pub(super) memory_nodes: BTreeMap<PodUid, BTreeMap<u32, Bytes>>,
    pub(super) recent_peak: Reclaimed,
    pub(super) service_peak: ServicePeakView,
    pub(super) ceiling: CeilingView,
    pub(super) limits: Vec<PodLimits>,
}

impl Snapshot {
    /// Puts the parts together, with what the API server knows of the pods.
    pub(super) fn compose(usage: &Usage, index: &PodIndex, parts: Parts) -> Self {
        let Parts {
            located,
            split,
            numa,
            surge_watch,
            mut memory_nodes,
            recent_peak,
            service_peak,
            ceiling,
            limits,
        } = parts;
        let mut levels: Vec<LevelUsage> = Vec::new();
        let pods = usage
            .pods
            .iter()
            .map(|(uid, pod)| {
                let info = index.get(uid);
                let used = Reclaimed {
                    cpu: pod.cpu,
                    memory: Bytes::new(pod.memory.working_set),
                };
                let nodes = memory_nodes.remove(uid).unwrap_or_default();
                if let Some(info) = info {
                    match levels.iter_mut().find(|group| group.level == info.level) {
                        Some(group) => {
                            group.usage = group.usage + used;
                            for (node, bytes) in &nodes {
                                *group.memory_nodes.entry(*node).or_default() += *bytes;
                            }
                            group.pods.push(info.full_name());
                        }
                        None => levels.push(LevelUsage {
                            level: info.level,
                            usage: used,
                            memory_nodes: nodes.clone(),
                            pods: vec![info.full_name()],
                        }),
                    }
                }
                PodView {
                    uid: uid.clone(),
                    name: info.map(PodInfo::full_name).unwrap_or_default(),
                    level: info.map(|info| info.level),
                    class: pod.class,
                    usage: used,
                    throttled_part: pod.throttled_part,
                    memory_nodes: nodes,
                }
            })
            .collect();
        Snapshot {
            at_nanos: usage.at_nanos,
            cgroup: located.hierarchy.version().to_string(),
            kubepods: located.kubepods.relative().display().to_string(),
            capacity: usage.capacity,
            machine: usage.machine,
            service: split.service,
            reclaimed: split.reclaimed,
            surge_watch,
            numa,
            recent_peak,
            service_peak,
            ceiling,
            levels,
            pods,
            limits,
        }
    }
}
