//! The node's cgroups: which version and where (`hierarchy`), where kubelet keeps its pods (`kubepods`, `discover`), what a group uses
//! (`usage`), and the only functions that read or write a group's files (`file`).
//!
//! Every path starts at a `root`, so that the same code runs against `/`, `/host` in a container, and a fixture tree in a test.

mod children;
mod discover;
pub mod fault;
pub mod file;
mod hierarchy;
mod kubepods;
mod usage;

pub use children::{ChildKind, below, classify};
pub use discover::{DiscoverError, discover};
pub use hierarchy::{Controller, DetectError, Hierarchy, Version};
pub use kubepods::{Driver, KubeClass, Kubepods, PodDir, PodUid};
pub use usage::{GroupUsage, MemoryUse, Throttling, read_cpu_nanos, read_group};
