//! What the plugin asks, and what it may be told.
//!
//! Values are those of NRI 0.12 (`pkg/api/api.proto` of containerd/nri), reduced to what placement needs. Identities are the runtime's:
//! a pod's UID is the one in its sandbox, which for a static pod is the hash that kubelet also puts into the name of its control group.

use std::{collections::BTreeMap, path::PathBuf};

use katalyst_core::{cpu_set::CpuSet, qos::NumaSet, units::Bytes};
use serde::Serialize;

/// What the plugin asks before it answers the runtime.
///
/// Every method answers from memory: no API call, no wait for another thread's I/O. A call that exceeds the plugin's budget
/// (`--nri-budget`) is answered without it, and the late result is dropped. Calls come from several threads, those of one pod in the order of the runtime's events.
pub trait Placer: Send + Sync + 'static {
    /// A pod's sandbox is about to run, or was found when the plugin connected: make room and hold it. Not every pod found is told (a long
    /// list ends with its budget, and a sandbox without a container is left out); the API server's watch tells the same.
    fn sandbox(&self, pod: &Sandbox);

    /// A container is about to be created.
    ///
    /// # Errors
    ///
    /// It must not be: kubelet tells the sentence in an event, and tries again.
    fn container(&self, pod: &Sandbox, container: &NewContainer) -> Result<Adjustment, Refused>;

    /// A container exists: found when the plugin connected, or about to be updated by kubelet (then `container.resources` is what it would
    /// hold afterwards). `None` leaves it alone. Environment, devices, memory policy and scheduling cannot change any more and are not sent.
    fn running(&self, pod: &Sandbox, container: &RunningContainer) -> Option<Adjustment>;

    /// The last sandbox of the pod with this UID was stopped: none of its processes is left. It may get another sandbox.
    fn stopped(&self, uid: &str);

    /// The last sandbox of the pod with this UID is gone. kubelet collects sandboxes as garbage: this can come minutes after the pod's end.
    fn removed(&self, uid: &str);
}

/// A pod as the runtime knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sandbox {
    /// The runtime's identifier of this sandbox; a pod gets a new one when its sandbox dies.
    pub id: String,
    /// UID of the pod.
    pub uid: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations at the time when the sandbox was made: with the placement in them, since it came with the Binding.
    pub annotations: BTreeMap<String, String>,
    /// Group under which the runtime puts the pod's containers: `/kubepods/burstable/pod…`, or `kubepods-burstable-pod….slice`
    /// with the systemd driver.
    pub cgroup_parent: String,
}

/// What a container holds, or is about to hold. Absent where the runtime does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// CPUs; `None` for those of the parent.
    pub cpus: Option<CpuSet>,
    /// Memory nodes; `None` for those of the parent.
    pub mems: Option<NumaSet>,
    /// Weight in the units of cgroup v1 (2 to 262144, default 1024).
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU in a period; negative for no limit.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Hard memory limit; negative or zero limits of the runtime are `None`.
    pub memory_limit: Option<Bytes>,
}

/// A container before it is created.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewContainer {
    /// The runtime's identifier.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// Path of its group as the runtime will ask for it: `/parent/id`, or `parent.slice:prefix:id` with the systemd driver.
    pub cgroups_path: String,
    /// What kubelet asks for.
    pub resources: Resources,
    /// Environment so far, as `KEY=value`.
    pub env: Vec<String>,
    /// Paths of device nodes so far.
    pub devices: Vec<PathBuf>,
}

/// A container that exists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunningContainer {
    /// The runtime's identifier.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// Path of its group, as in [`NewContainer`].
    pub cgroups_path: String,
    /// What the runtime has on record; the kernel may hold something else.
    pub resources: Resources,
}

/// Why a container must not be created, in a sentence for the pod's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

/// What a container should get. What is absent stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Adjustment {
    /// CPUs.
    pub cpus: Option<CpuSet>,
    /// Memory nodes.
    pub mems: Option<NumaSet>,
    /// Weight in the units of cgroup v1.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU in a period; -1 for no limit.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Hard memory limit.
    pub memory_limit: Option<Bytes>,
    /// Files of cgroup v2 by name, such as `memory.high`; runtimes refuse them on v1.
    pub unified: BTreeMap<String, String>,
    /// Environment variables; an existing one is replaced. Only at creation.
    pub env: Vec<(String, String)>,
    /// Device nodes, made in the container and allowed in its device group. Only at creation.
    pub devices: Vec<DeviceNode>,
    /// Names of the Container Device Interface. A runtime where that is switched off refuses the container. Only at creation.
    pub cdi: Vec<String>,
    /// Memory policy of the first process (`set_mempolicy`). Only at creation, and only where the runtime has it (NRI 0.12).
    pub memory_policy: Option<MemoryPolicy>,
    /// Scheduling policy of the first process (`sched_setattr`). Only at creation, and only where the runtime has it (NRI 0.11).
    pub scheduling: Option<Scheduling>,
}

impl Adjustment {
    /// Whether nothing should change.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNode {
    /// Path in the container.
    pub path: PathBuf,
    /// Block, character or pipe.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits of the node, such as `0o666`.
    pub mode: Option<u32>,
    /// Owner of the node.
    pub uid: Option<u32>,
    /// Group of the node.
    pub gid: Option<u32>,
}

/// Kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Character device.
    Character,
    /// Block device.
    Block,
    /// Named pipe.
    Fifo,
}

/// A memory policy, as `set_mempolicy(2)` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// How the nodes are used.
    pub mode: PolicyMode,
    /// The nodes.
    pub nodes: NumaSet,
}

/// Mode of a memory policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyMode {
    /// From these nodes only.
    Bind,
    /// From these nodes first.
    PreferredMany,
    /// In turn.
    Interleave,
}

/// Scheduling policy of a container's first process; its children inherit it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Scheduling {
    /// `SCHED_BATCH`: no wake-up preemption.
    Batch,
    /// `SCHED_IDLE`: below everything else.
    Idle,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adjustment_with_any_field_is_not_empty() {
        assert!(Adjustment::default().is_empty());
        let pinned = Adjustment {
            cpus: CpuSet::parse("0-1").ok(),
            ..Adjustment::default()
        };
        assert!(!pinned.is_empty());
    }
}
