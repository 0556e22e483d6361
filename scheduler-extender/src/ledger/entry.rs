//! One pod in the books.

use std::sync::Arc;

use katalyst_core::placement::{Allocation, Machine, Placement};

use super::view::UnixMillis;
use crate::budgets::Labels;
use crate::request::Uid;

/// What preemption and people must know about a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Charge {
    /// Its scheduling priority.
    pub priority: i32,
    /// `namespace/name`, for people.
    pub name: Arc<str>,
    /// Its deletion is under way; it still takes its place until it is gone.
    pub terminating: bool,
    /// When it was created; 0 where unknown.
    pub created: UnixMillis,
    /// Its labels, by which disruption budgets select it.
    pub labels: Labels,
}

/// What was decided about a pod on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Where it goes there.
    pub placement: Placement,
    /// The machine whose positions the placement names.
    pub machine: Arc<Machine>,
}

/// A node a pod is charged to, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node.
    pub node: Arc<str>,
    /// What it holds there.
    pub allocation: Arc<Allocation>,
    /// Where it goes on the node, as decided for an attempt to bind. Another attempt carries the same decision: whichever of them takes
    /// effect, the record says what is charged.
    pub decision: Option<Arc<Decision>>,
    /// Attempts to bind that are under way.
    pub in_flight: u32,
    /// An attempt ended without a verdict, last at this time.
    pub doubted_since: Option<UnixMillis>,
    /// The epoch of the books in which the oldest of them began.
    pub sent_during: u64,
    /// An attempt succeeded in this epoch; the watch will confirm it.
    pub committed_during: Option<u64>,
    /// The watch has shown the pod on the node.
    pub bound: bool,
}

impl Place {
    pub(super) fn new(node: Arc<str>, allocation: Arc<Allocation>) -> Self {
        Self {
            node,
            allocation,
            decision: None,
            in_flight: 0,
            sent_during: 0,
            doubted_since: None,
            committed_during: None,
            bound: false,
        }
    }

    /// Another attempt begins.
    pub(super) fn send(&mut self, epoch: u64) {
        if self.in_flight == 0 {
            self.sent_during = epoch;
        }
        self.in_flight += 1;
    }

    /// The success was real, but the pod may have ended since, unseen.
    pub(super) fn doubt_if_committed(&mut self, now: UnixMillis) {
        if self.committed_during.take().is_some() {
            self.doubted_since = Some(now);
        }
    }

    /// True while there is a reason to keep the charge.
    pub(super) fn holds(&self) -> bool {
        self.bound
            || self.in_flight > 0
            || self.doubted_since.is_some()
            || self.committed_during.is_some()
    }
}

/// A pod's binding whose outcome is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The pod.
    pub uid: Uid,
    /// `namespace/name`.
    pub name: Arc<str>,
    /// The node it may be on.
    pub node: Arc<str>,
    /// Since when.
    pub since: UnixMillis,
    /// The epoch of the books when the doubt was read.
    pub epoch: u64,
}

/// A pod and the nodes it is charged to: one, except while it is unclear which of two attempts wins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Who it is.
    pub charge: Charge,
    /// Where, and with what.
    pub places: Vec<Place>,
}

impl Entry {
    pub(super) fn place(&self, node: &str) -> Option<&Place> {
        self.places.iter().find(|place| *place.node == *node)
    }

    pub(super) fn place_mut(&mut self, node: &str) -> Option<&mut Place> {
        self.places.iter_mut().find(|place| *place.node == *node)
    }

    /// True until the watch has shown the pod on its node.
    pub fn assumed(&self) -> bool {
        !self.places.iter().any(|place| place.bound)
    }
}
