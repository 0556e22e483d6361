//! What `/debug/state` shows of the binder: the nodes, the last decision with its reasons, who is away from a node, the last move.

use std::collections::BTreeMap;

use katalyst_core::{
    rebind::{NodeMemory, RebindParams, RebindPlan},
    units::Bytes,
};
use serde::Serialize;

use crate::{cgroup::PodUid, pools::Nodes};

/// The binder.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct RebindView {
    /// Whose memory nodes it may change: `off`, `batch`, `all`.
    pub pods: &'static str,
    /// NUMA nodes with memory; empty on a machine of one.
    pub nodes: Vec<NodeView>,
    /// The last decision: changes with cost and relief in seconds, hot nodes with what each lacks, and who stays why.
    pub plan: RebindPlan,
    /// Pods that it keeps away from nodes, and what they may use.
    pub away: BTreeMap<PodUid, Nodes>,
    /// Bytes of the moves of the last hour.
    pub moved_in_hour: Bytes,
    /// The pod whose pages are being moved.
    pub under_way: Option<PodUid>,
    /// The last move that is done.
    pub last: Option<LastMove>,
}

/// One NUMA node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeView {
    /// Kernel's number.
    pub node: u32,
    /// All of its memory.
    pub total: Bytes,
    /// Free and droppable.
    pub available: Bytes,
    /// It is hot below this, and cool at twice this.
    pub floor: Bytes,
    /// It is hot.
    pub hot: bool,
    /// A pod has it to itself.
    pub exclusive: bool,
}

impl NodeView {
    pub(super) fn of(node: &NodeMemory, params: &RebindParams) -> Self {
        Self {
            node: node.id,
            total: node.total,
            available: node.available(),
            floor: node.floor(params),
            hot: node.is_hot(params),
            exclusive: node.exclusive,
        }
    }
}

/// A move that is done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastMove {
    /// Whose pages.
    pub pod: PodUid,
    /// `namespace/name`.
    pub name: String,
    /// The node it left.
    pub from: Option<u32>,
    /// What it may use since.
    pub mems: Option<Nodes>,
    /// Bytes that were to move.
    pub planned: Bytes,
    /// Bytes that are gone from the nodes it left, by `memory.numa_stat` before and after; `None` where that could not be read.
    pub moved: Option<Bytes>,
    /// How long the kernel took.
    pub seconds: f64,
}
