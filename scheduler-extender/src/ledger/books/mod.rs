//! The books: who holds what of which node. Plain data and plain functions; [`super::Ledger`] adds the lock.
//!
//! A pod is charged to a node from the moment its binding is about to be sent until the API says otherwise. There is no expiry
//! by time: an entry ends when the binding is definitely refused, when the pod is seen bound elsewhere, or when it is gone. That
//! is what makes double booking impossible while the API server is slow.

mod bindings;
mod nodes;
mod offer;
mod pods;

pub use bindings::{Assumption, Refusal, Settlement};
pub use offer::{Offer, Report};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ledger::entry::Entry;
use crate::ledger::table::Marks;
use crate::request::Uid;
use nodes::Account;

/// See the module.
#[derive(Debug, Default)]
pub struct Books {
    nodes: HashMap<Arc<str>, Account>,
    /// Positions that nodes left behind.
    free_slots: Vec<u32>,
    /// Of the nodes' cells, by position.
    marks: Marks,
    pods: HashMap<Uid, Entry>,
    version: u64,
    /// The last one given to a node's state.
    revision: u64,
    /// Grows when a listing of pods begins and when it is complete. A binding that succeeded in an earlier epoch than the one in
    /// which a listing began must be in that listing; of one that succeeded meanwhile the watch may never tell.
    epoch: u64,
    listed_pods: Option<HashSet<Uid>>,
    listed_nodes: Option<HashSet<Arc<str>>>,
    table_changed: bool,
}

impl Books {
    /// Every pod and where it is charged.
    pub fn pods(&self) -> impl Iterator<Item = (&Uid, &Entry)> {
        self.pods.iter()
    }

    /// A pod.
    pub fn pod(&self, uid: &str) -> Option<&Entry> {
        self.pods.get(uid)
    }

    /// Grows each time some node becomes able to take more.
    pub fn version(&self) -> u64 {
        self.version
    }
}
