//! What batch pods may use right now.
//!
//! Two steps, both pure. A *ceiling* for all reclaimed pods of a node together follows what services leave free: down at once,
//! up slowly ([`cpu_ceiling`], [`memory_ceiling`]). Then the ceiling is *split* over the pods so that the parts add up to no more than it
//! and follow what each pod can use ([`split_cpu`], [`split_memory`]).
//!
//! Per-pod parts instead of one limit on a parent group, because Kubernetes puts reclaimed pods beside other best-effort pods in
//! one cgroup, and those must not be squeezed.

mod ceiling;
mod cpu;
mod memory;

pub use ceiling::{
    Ceiling, CeilingParams, CeilingReason, CpuCeilingInput, MemoryCeilingInput, cpu_ceiling,
    memory_ceiling,
};
pub(crate) use cpu::water_fill as share;
pub use cpu::{CpuDemand, MIN_QUOTA, split_cpu};
pub use memory::{MemoryDemand, MemoryLimit, split_memory};
