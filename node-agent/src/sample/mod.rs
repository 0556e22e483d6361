//! Sampling: the machine, kubelet's tree and each pod, once a tick.
//!
//! `counters` reads the kernel, `usage` turns two readings into rates (pure), `service` splits the machine's use between services
//! and reclaimed pods (pure).

mod counters;
mod service;
mod usage;

pub use counters::{
    Counters, Machine, PodCounters, read_counters, read_machine, read_machine_stat,
};
pub use service::{MachineUsage, Split, split};
pub use usage::{PodUsage, Usage, usage_between};
