//! Settings of the pools.

use std::{path::PathBuf, time::Duration};

use katalyst_core::{cpu_set::CpuSet, pools::PoolParams};

use crate::rebind::RebindConfig;

/// Settings of the pools.
#[derive(Debug, Clone)]
pub struct PoolsConfig {
    /// Where `/proc` and `/sys` of the node start.
    pub root: PathBuf,
    /// kubelet's directory, relative to the root.
    pub kubelet: PathBuf,
    /// CPUs kept for the system; `None`: those of kubelet's configuration, where it can be read.
    pub reserved: Option<CpuSet>,
    /// The planner's parameters.
    pub params: PoolParams,
    /// Time between plans while no pod comes or goes: sizes follow use, and what somebody else overwrote is written again.
    pub interval: Duration,
    /// Isolate shared pods that run wild.
    pub isolate: bool,
    /// Pods that leave NUMA nodes which run out of memory.
    pub rebind: RebindConfig,
}
