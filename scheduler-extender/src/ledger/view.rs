//! What filter reads of a node: an immutable state, replaced as a whole when something about the node changes.

use katalyst_core::placement::{NodePlacement, Placement, PodRequest, Unfit, fit, fits};
use katalyst_core::qos::Level;

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
