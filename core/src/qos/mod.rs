//! What a pod's annotations mean: its quality-of-service level and the wishes beside it.
//!
//! [`PodQos::parse`] never fails. A malformed value gets the safest meaning, that is the one that takes nothing from
//! others and leaves the pod as Kubernetes alone would run it, together with a [`QosError`] that names the
//! annotation, the key and the value. Nothing is dropped in silence: a key nobody knows is an error too.

mod cpu;
mod direct;
mod error;
pub mod keys;
mod level;
mod memory;
mod network;
mod numa_set;
mod pod;
mod reader;
#[cfg(test)]
mod tests;

pub use cpu::{BurstPolicy, CpuWishes, NumaWish};
pub use direct::DirectWishes;
pub use error::QosError;
pub use level::Level;
pub use memory::{MemoryWishes, OomPriority};
pub use network::{NamespaceType, NetworkWishes};
pub use numa_set::{MAX_NUMA_ID, NumaSet};
pub use pod::{Parsed, PodQos};
