//! What a plan follows from: the machine, what is kept for the system, the pods, and what they hold now.

use serde::{Deserialize, Serialize};

use crate::{
    cpu_set::CpuSet,
    qos::{CpuWishes, Level, NumaSet},
    topology::Topology,
    units::{Bytes, Millicpu},
};

use super::PoolPlan;

/// One pod that runs, or is about to.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolPod {
    /// Its UID; the plan is keyed by it.
    pub uid: String,
    /// How it shares the machine.
    pub level: Level,
    /// Sum of its containers' CPU requests; for a reclaimed pod its `reclaimed_millicpu`.
    pub request: Millicpu,
    /// Sum of its containers' CPU limits; `None` where one has none.
    pub limit: Option<Millicpu>,
    /// Its CPU use in the newest sample; `None` before the first.
    pub usage: Option<Millicpu>,
    /// What it wishes of its CPUs.
    pub wishes: CpuWishes,
    /// It wants to stay within NUMA nodes.
    pub numa_binding: bool,
    /// It wants those nodes to itself. Means something for dedicated pods with `numa_binding` only.
    pub numa_exclusive: bool,
    /// NUMA nodes that the scheduler chose for it.
    pub numa_bind_result: Option<NumaSet>,
    /// Sum of its containers' memory requests.
    pub memory_request: Bytes,
    /// Seconds since it was created. Not a number counts as new.
    pub age_seconds: f64,
    /// It keeps more threads runnable than it asked for ([`wild`](super::wild)), and should not do so among other services.
    pub runs_wild: bool,
    /// CPUs that kubelet's static CPU manager gave to it alone; empty for nearly all.
    pub kubelet_cpus: CpuSet,
    /// What its cgroup holds now; the plan is rebuilt from it when the previous one is lost. `None` for a pod that has no cgroup yet.
    pub current: Option<PodCpus>,
}

/// What a pod holds, or shall hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PodCpus {
    /// Its pool; empty where unknown, as after a lost state: the kernel keeps CPUs and memory nodes but no names.
    pub pool: String,
    /// CPUs it may run on.
    pub cpus: CpuSet,
    /// Memory nodes it may allocate from; `None`: all, that is as Kubernetes left it.
    pub mems: Option<NumaSet>,
}

/// Everything a plan follows from.
#[derive(Debug, Clone, Copy)]
pub struct PoolInput<'a> {
    /// The machine. CPUs that are not in it do not exist for the plan.
    pub topology: &'a Topology,
    /// CPUs kept for the system; may be empty.
    pub reserved: &'a CpuSet,
    /// The pods, in any order.
    pub pods: &'a [PoolPod],
    /// The plan that stands, where it is known.
    pub previous: Option<&'a PoolPlan>,
    /// A clock that only goes forward.
    pub now_seconds: f64,
}
