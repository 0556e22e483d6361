//! Sampling: the machine, kubelet's tree and each pod, once a tick.
//!
//! `sampler` reads the kernel through files that stay open (`open`, `group`, `tree`) and knows which groups there are (`listing`); `usage` turns two
//! readings (`counters`) into rates (pure), `service` splits the machine's use between services and reclaimed pods (pure), `numa` gives each NUMA node its part (pure).

mod counters;
mod group;
mod listing;
mod numa;
mod open;
mod sampler;
mod service;
mod tree;
mod usage;

pub use counters::{Counters, Machine, PodCounters};
pub use numa::{NumaInput, NumaUsage, PerCpu, numa_usage};
pub use open::{Buffer, Descriptors, Kept};
pub use sampler::{CpuTimes, SampleError, Sampler, monotonic_nanos};
pub use service::{MachineUsage, Split, split};
pub use usage::{PodUsage, Usage, usage_between};
