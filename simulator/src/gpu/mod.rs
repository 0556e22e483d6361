//! Packing of pods with GPUs on recorded clusters: the published filling benchmark, the same under kube-scheduler's rules, and with pods that leave.
//!
//! The policies are [`katalyst_core::packing`]'s; this decides nothing but who arrives when and which equal score wins.

pub mod choose;
pub mod cluster;
pub mod curve;
pub mod departures;
pub mod fill;
pub mod go_random;
pub mod golden;
pub mod report;
pub mod run;
pub mod trace;
pub mod workload;
