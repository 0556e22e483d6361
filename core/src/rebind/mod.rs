//! The memset binder: which pods leave a NUMA node that runs out of memory, and where they go.
//!
//! A NUMA node is *hot* when what can be had there quickly (free pages and clean file pages) falls below a floor, and *cool* again at twice that. From a
//! hot node the binder takes batch pods, then shared pods without NUMA binding, by taking the node out of their `cpuset.mems`; with
//! migration on (cgroup v2 always, v1 `cpuset.memory_migrate`) the kernel then moves their pages.
//!
//! Moving costs the memory bandwidth of both nodes, so each move must be worth it:
//!
//! ```text
//! cost    = bytes / 1 GiB * migrate_seconds * distance / 10
//! relief  = min(bytes, what the node lacks) / 1 GiB * reclaim_seconds
//! ```
//!
//! Bounded in bytes an interval, each pod at most once in a cool-down, targets keep a reserve of their own, a node that a pod has to itself is never a target, and no
//! pod is ever without a memory node. Where every node is hot nothing is moved: there is nowhere to go, and that is for reclaim and eviction.
//! When the node has been cool for the cool-down the pod gets all nodes back; that moves nothing by itself.
//!
//! Katalyst's memset binder knows no cost, bound or cool-down; the sizes of its NUMA memory balancer (128 MiB to 10 GiB a pod, 12 GiB a round, 15 min between) are what
//! the defaults here go by.

mod input;
mod plan;
#[cfg(test)]
mod tests;

pub use input::{MemoryPod, NodeMemory, RebindInput, RebindParams};
pub use plan::{Rebind, RebindKind, RebindPlan, Skip, SkipReason, plan_rebind};
