//! What others see of the pools: `/debug/state`, the report, and the answers to the container runtime.

use std::collections::BTreeMap;

use katalyst_core::{
    cpu_set::CpuSet,
    pools::{PodReason, Pool, RefusalReason, wild::Wildness},
    qos::NumaSet,
};
use serde::{Serialize, Serializer};

use crate::{cgroup::PodUid, rebind::RebindView};

/// The plan in force and what became of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct PoolsView {
    /// Every pool by name.
    pub pools: BTreeMap<String, Pool>,
    /// Every pod in the plan.
    pub pods: BTreeMap<PodUid, PlacedPod>,
    /// Wishes that were refused.
    pub refused: Vec<RefusedPod>,
    /// CPUs kept for the system.
    pub reserved: CpuSet,
    /// What a pod without restriction runs on.
    pub everyone: CpuSet,
    /// kubelet's CPU manager policy; empty where its state cannot be read.
    pub kubelet_policy: String,
    /// Shared pods that run wild, or are about to, or about to be trusted again; empty where isolation is off.
    pub wild: BTreeMap<PodUid, Wildness>,
    /// The memset binder.
    pub rebind: RebindView,
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlacedPod {
    /// `namespace/name`.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// CPUs it may run on.
    pub cpus: CpuSet,
    /// Memory nodes it is bound to.
    pub mems: Option<Nodes>,
    /// Why.
    pub reason: Option<PodReason>,
    /// Its CPUs are fewer than everyone's.
    pub restricted: bool,
    /// Its group has them, so that a container inherits them.
    pub in_force: bool,
    /// Its cpuset is kubelet's to write.
    pub left_alone: bool,
}

/// A wish that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedPod {
    /// Whose.
    pub uid: PodUid,
    /// `namespace/name`.
    pub name: String,
    /// Why.
    pub reason: RefusalReason,
    /// CPUs it needed.
    pub needed: u32,
    /// CPUs there were.
    pub available: u32,
}

impl RefusedPod {
    /// A sentence for the pod's owner.
    pub fn sentence(&self) -> String {
        format!(
            "CPUs of its own are refused ({}): it needs {}, {} are available; it runs on the shared CPUs",
            self.reason, self.needed, self.available
        )
    }
}

/// Memory nodes, shown in the kernel's notation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes(pub NumaSet);

impl Serialize for Nodes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
