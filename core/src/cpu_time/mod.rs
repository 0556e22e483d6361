//! How much CPU time a group gets and when: weight, idle, quota, burst.
//!
//! Values for the files `cpu.weight`, `cpu.idle`, `cpu.max` and `cpu.max.burst` of cgroup v2, and `cpu.shares`, `cpu.idle`, `cpu.cfs_quota_us` and `cpu.cfs_burst_us` of
//! v1. Which CPUs those are is for [`pools`](crate::pools); how much batch may use for [`hold`](crate::hold).

mod burst;
mod knobs;
mod quota;
mod weight;

pub use burst::{BurstInput, burst};
pub use knobs::{CpuKnobs, KnobInput, QuotaWish, knobs};
pub use quota::{CpuMax, CpuWrite, writes};
pub use weight::{Shares, Weight};
