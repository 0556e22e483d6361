//! Settings of the reflex.

use std::{path::PathBuf, time::Duration};

use katalyst_core::{
    hold::CeilingParams,
    units::{Bytes, Millicpu},
};

use crate::sample::MachineUsage;

/// Settings of the reflex.
#[derive(Debug, Clone)]
pub struct ReflexConfig {
    /// Where `/proc` and `/sys` of the node start.
    pub root: PathBuf,
    /// kubelet's tree, where an administrator names it.
    pub kubepods: Option<PathBuf>,
    /// Where old values are kept.
    pub state_dir: PathBuf,
    /// What the machine's use is.
    pub machine_usage: MachineUsage,
    /// Capacity, where an administrator gives less than the kernel shows.
    pub cpu_capacity: Option<Millicpu>,
    /// Likewise.
    pub memory_capacity: Option<Bytes>,
    /// The ceiling's parameters.
    pub ceiling: CeilingParams,
    /// Tells how long a sample takes: [`crate::sample::monotonic_nanos`], or something that stands still in a test.
    pub clock: fn() -> u64,
    /// Time between ticks.
    pub interval: Duration,
    /// Set `cpu.idle` too, where the kernel has it.
    pub idle: bool,
    /// Print what would be written, and write nothing.
    pub dry_run: bool,
}
