//! Settings of the memset binder.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use katalyst_core::rebind::RebindParams;

/// Whose memory nodes the binder may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RebindPods {
    /// Nobody's.
    Off,
    /// Batch pods.
    Batch,
    /// Batch pods, and, where these do not suffice, shared pods without NUMA binding.
    All,
}

impl RebindPods {
    /// The word of the flag.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Batch => "batch",
            Self::All => "all",
        }
    }
}

/// Settings of the memset binder.
#[derive(Debug, Clone)]
pub struct RebindConfig {
    /// Where `/proc` and `/sys` of the node start.
    pub root: PathBuf,
    /// Whose memory nodes may change.
    pub pods: RebindPods,
    /// The binder's parameters; bytes are those of an hour, `move_shared` follows from `pods`.
    pub params: RebindParams,
    /// Time between looks at the nodes.
    pub interval: Duration,
}

impl RebindConfig {
    /// With the defaults of everything that has one.
    pub fn new(root: PathBuf, pods: RebindPods) -> Self {
        Self {
            root,
            pods,
            params: RebindParams::default(),
            interval: Duration::from_secs(10),
        }
    }
}
