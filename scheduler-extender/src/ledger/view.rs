//! What filter reads of a node: small, copied whole, never locked for longer than the copy.

use std::collections::HashMap;
use std::sync::Arc;

use katalyst_core::placement::{ReclaimedNode, Unfit, reclaimed::fit};
use katalyst_core::reclaimed::Reclaimed;
use parking_lot::RwLock;

/// Milliseconds since 1970, UTC. Passed in everywhere: nothing here reads a clock.
pub type UnixMillis = i64;

/// A node's offer and what is taken of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeView {
    /// What the capacity controller offers.
    pub allocatable: Reclaimed,
    /// Requests of pods bound to the node or being bound to it.
    pub allocated: Reclaimed,
    /// The controller holds the agent to be alive, and the agent has reported.
    pub agent_ready: bool,
    /// The custom resource holds something that cannot be read.
    pub malformed: bool,
    /// When the agent made its last report; [`UnixMillis::MIN`] before the first.
    pub reported: UnixMillis,
    /// Lowest priority among the pods counted in `allocated`; [`i32::MAX`] without any.
    pub lowest_priority: i32,
    /// The ledger's version at which the node last became able to take more.
    pub improved: u64,
}

impl NodeView {
    /// A node about which nothing is known.
    pub const UNKNOWN: Self = Self {
        allocatable: Reclaimed::ZERO,
        allocated: Reclaimed::ZERO,
        agent_ready: false,
        malformed: false,
        reported: UnixMillis::MIN,
        lowest_priority: i32::MAX,
        improved: 0,
    };

    /// The node as placement judges it at `now`, where a report older than `stale_after` milliseconds counts for nothing.
    pub fn at(&self, now: UnixMillis, stale_after: i64) -> ReclaimedNode {
        let fresh = self.agent_ready && now.saturating_sub(self.reported) <= stale_after;
        ReclaimedNode {
            allocatable: self.allocatable,
            allocated: self.allocated,
            fresh,
        }
    }

    /// Checks a request against the node.
    pub fn check(
        &self,
        request: &Reclaimed,
        now: UnixMillis,
        stale_after: i64,
    ) -> Result<ReclaimedNode, Rejection> {
        if self.malformed {
            return Err(Rejection::Malformed);
        }
        let node = self.at(now, stale_after);
        // A node without a report has no agent that could be silent.
        if self.reported == UnixMillis::MIN {
            return Err(Rejection::Unfit(Unfit::NothingOffered));
        }
        fit(&node, request).map_err(Rejection::Unfit)?;
        Ok(node)
    }
}

/// Why a node cannot take a pod. Few values: they are metric labels, and kube-scheduler adds up equal texts in its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rejection {
    /// Placement's own reasons.
    Unfit(Unfit),
    /// The node's custom resource cannot be read.
    Malformed,
    /// The pod asks for reclaimed resources without being of the reclaimed class.
    NotReclaimed,
}

impl Rejection {
    /// The reason shown to people.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unfit(unfit) => unfit.reason(),
            Self::Malformed => "node has a malformed CustomNodeResource",
            Self::NotReclaimed => {
                "pod requests reclaimed resources without the annotation katalyst.kubewharf.io/qos_level: reclaimed_cores"
            }
        }
    }

    /// The reason as a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unfit(unfit) => unfit.label(),
            Self::Malformed => "malformed",
            Self::NotReclaimed => "not_reclaimed",
        }
    }

    /// True when the removal of pods of lower priority from the node could make room for a pod of priority `priority`.
    pub const fn resolvable(self, view: &NodeView, priority: i32) -> bool {
        match self {
            Self::Unfit(unfit) => unfit.resolvable() && view.lowest_priority < priority,
            Self::Malformed | Self::NotReclaimed => false,
        }
    }
}

/// One node in the table.
#[derive(Debug)]
pub struct NodeCell {
    /// Mixes into ties between nodes of equal score.
    pub hash: u64,
    view: RwLock<NodeView>,
}

impl NodeCell {
    pub(super) fn new(name: &str) -> Self {
        Self {
            hash: fnv1a(name.as_bytes()),
            view: RwLock::new(NodeView::UNKNOWN),
        }
    }

    /// The node now.
    pub fn view(&self) -> NodeView {
        *self.view.read()
    }

    pub(super) fn publish(&self, view: NodeView) {
        *self.view.write() = view;
    }
}

/// All nodes by name. Immutable: replaced when a node comes or goes; the cells live on from table to table.
pub type Table = HashMap<Arc<str>, Arc<NodeCell>>;

/// A fixed hash, so that the same question gets the same answer in every process.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
