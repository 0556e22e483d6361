//! CPU pools: which CPUs each pod may run on.
//!
//! From the machine, the pods and what they hold now to the set of CPUs (and memory nodes) of every pod, with as little movement as
//! possible. On a node where nobody wishes anything, every service keeps all CPUs, and nothing is written.
//!
//! | file | decides |
//! |---|---|
//! | `planner` | who comes before whom |
//! | `draft` | what a pod wants, and what it may have at all |
//! | `held` | what pods and pools hold before, from the last plan or from the kernel |
//! | `own`, `dedicated`, `node_sets` | CPUs of a pod's own |
//! | `bound` | the NUMA node of a pod without CPUs of its own |
//! | `wild` | who runs wild, from what is measured |
//! | `isolation` | which of these get cores of their own |
//! | `sizing`, `hysteresis` | sizes and cores of pools that share |
//! | `sets`, `memory_nodes`, `outcome` | what follows for each pod |
//! | `explain` | the same for people |
//!
//! `docs/pools.md` is the manual.

mod bound;
mod dedicated;
mod draft;
mod explain;
mod held;
mod hysteresis;
mod input;
mod isolation;
mod machine;
mod memory_nodes;
mod node_sets;
mod outcome;
mod own;
mod params;
mod plan;
mod planner;
mod sets;
mod sizing;
#[cfg(test)]
mod tests;
pub mod wild;

pub use input::{PodCpus, PoolInput, PoolPod};
pub use params::PoolParams;
pub use plan::{
    PodReason, Pool, PoolKind, PoolPlan, PoolReason, Refusal, RefusalReason, Shrinking,
};
pub use planner::plan_pools;

/// Names of pools; Katalyst's.
pub mod names {
    /// CPUs kept for the system.
    pub const RESERVE: &str = "reserve";
    /// CPUs of kubelet's static CPU manager. Ours; Katalyst replaces that manager.
    pub const KUBELET: &str = "kubelet";
    /// CPUs of dedicated pods.
    pub const DEDICATED: &str = "dedicated";
    /// Services without a pool of their own.
    pub const SHARE: &str = "share";
    /// Batch pods.
    pub const RECLAIM: &str = "reclaim";
    /// Start of the name of an isolated pod's pool; its UID follows.
    pub const ISOLATION: &str = "isolation-";
    /// System components without a named pool.
    pub const SYSTEM: &str = "system";
    /// Joins a pool's name and its NUMA node's number: `share-NUMA0`.
    pub const NUMA: &str = "-NUMA";
}
