//! What filter reads of a node: an immutable state, replaced as a whole when something about the node changes, read without a lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use katalyst_core::placement::{NodePlacement, Placement, PodRequest, Unfit, fit, fits};
use katalyst_core::qos::Level;

use crate::wire::Names;

/// Milliseconds since 1970, UTC. Passed in everywhere: nothing here reads a clock.
pub type UnixMillis = i64;

/// A node now.
#[derive(Debug, Clone)]
pub struct NodeState {
    /// What it has and what its pods hold. Its mark of freshness says what the controllers say; the age of the report is in `reported`.
    pub placement: NodePlacement,
    /// The custom resource holds something that cannot be read.
    pub malformed: bool,
    /// When the agent made its last report; [`UnixMillis::MIN`] before the first.
    pub reported: UnixMillis,
    /// Lowest priority among its pods; [`i32::MAX`] without any.
    pub lowest_priority: i32,
    /// The ledger's version at which the node last became able to take more.
    pub improved: u64,
    /// A number that no other state of any node has.
    pub revision: u64,
}

impl Default for NodeState {
    /// A node about which nothing is known.
    fn default() -> Self {
        Self {
            placement: NodePlacement::default(),
            malformed: false,
            reported: UnixMillis::MIN,
            lowest_priority: i32::MAX,
            improved: 0,
            revision: 0,
        }
    }
}

impl NodeState {
    /// Why no pod with that request can go here whatever it asks for, if so. `Ok` leaves the rest to placement.
    pub fn admits(
        &self,
        request: &PodRequest,
        now: UnixMillis,
        stale_after: i64,
    ) -> Result<(), Rejection> {
        not_reclaimed(request)?;
        if self.malformed {
            return Err(Rejection::Malformed);
        }
        let silent = now.saturating_sub(self.reported) > stale_after;
        // A node without a report has no agent that could be silent.
        if silent && self.reported != UnixMillis::MIN && request.needs_agent() {
            return Err(Rejection::Unfit(Unfit::Stale));
        }
        Ok(())
    }

    /// Whether the pod can go here.
    pub fn check(
        &self,
        request: &PodRequest,
        now: UnixMillis,
        stale_after: i64,
    ) -> Result<(), Rejection> {
        self.admits(request, now, stale_after)?;
        fits(&self.placement, request).map_err(Rejection::Unfit)
    }

    /// Where on the node the pod would go.
    pub fn place(
        &self,
        request: &PodRequest,
        now: UnixMillis,
        stale_after: i64,
    ) -> Result<Placement, Rejection> {
        self.admits(request, now, stale_after)?;
        fit(&self.placement, request).map_err(Rejection::Unfit)
    }

    /// The agent reports, and not too long ago.
    pub fn is_fresh(&self, now: UnixMillis, stale_after: i64) -> bool {
        self.placement.reclaimed().fresh && now.saturating_sub(self.reported) <= stale_after
    }
}

/// A pod that asks for reclaimed amounts must be of the class whose limits and eviction go with them.
pub fn not_reclaimed(request: &PodRequest) -> Result<(), Rejection> {
    if request.reclaimed.is_some() && request.level != Level::Reclaimed {
        return Err(Rejection::NotReclaimed);
    }
    Ok(())
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
    pub const fn resolvable(self, lowest_on_node: i32, priority: i32) -> bool {
        match self {
            Self::Unfit(unfit) => unfit.resolvable() && lowest_on_node < priority,
            Self::Malformed | Self::NotReclaimed => false,
        }
    }
}

/// One node in the table.
#[derive(Debug)]
pub struct NodeCell {
    /// Its position among all nodes. Used again when the node is gone; a [revision](NodeState::revision) never is.
    pub slot: u32,
    /// Mixes into ties between nodes of equal score.
    pub hash: u64,
    state: ArcSwap<NodeState>,
    revision: AtomicU64,
    reported: AtomicI64,
}

impl NodeCell {
    pub(super) fn new(name: &str, slot: u32) -> Self {
        Self {
            slot,
            hash: fnv1a(name.as_bytes()),
            state: ArcSwap::default(),
            revision: AtomicU64::new(0),
            reported: AtomicI64::new(UnixMillis::MIN),
        }
    }

    /// The node now.
    pub fn state(&self) -> Arc<NodeState> {
        self.state.load_full()
    }

    /// The revision of the state. A state read afterwards is at least as new.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// When the agent made its last report.
    pub fn reported(&self) -> UnixMillis {
        self.reported.load(Ordering::Relaxed)
    }

    pub(super) fn publish(&self, state: NodeState) {
        let (revision, reported) = (state.revision, state.reported);
        self.state.store(Arc::new(state));
        self.reported.store(reported, Ordering::Relaxed);
        self.revision.store(revision, Ordering::Release);
    }
}

/// All nodes by name. Immutable: replaced when a node comes or goes; the cells live on from table to table.
#[derive(Debug, Clone, Default)]
pub struct Table {
    by_name: HashMap<Arc<str>, u32, RandomState>,
    cells: Vec<Option<Arc<NodeCell>>>,
}

impl Table {
    pub(super) fn new<'a>(nodes: impl Iterator<Item = (&'a Arc<str>, &'a Arc<NodeCell>)>) -> Self {
        let mut table = Self::default();
        for (name, cell) in nodes {
            let slot = cell.slot as usize;
            if table.cells.len() <= slot {
                table.cells.resize(slot + 1, None);
            }
            if let Some(place) = table.cells.get_mut(slot) {
                *place = Some(cell.clone());
                table.by_name.insert(name.clone(), cell.slot);
            }
        }
        table
    }

    /// The node of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<NodeCell>> {
        self.at(*self.by_name.get(name)?)
    }

    /// The node at that position.
    pub fn at(&self, slot: u32) -> Option<&Arc<NodeCell>> {
        self.cells.get(slot as usize)?.as_ref()
    }

    /// Every node with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<NodeCell>)> {
        self.by_name
            .iter()
            .filter_map(|(name, slot)| Some((name, self.at(*slot)?)))
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Positions are below this.
    pub fn slots(&self) -> usize {
        self.cells.len()
    }
}

impl Names for Table {
    fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }
}

/// A fixed hash, so that the same question gets the same answer in every process.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
