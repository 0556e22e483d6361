//! The books: who holds what of which node. Plain data and plain functions; [`super::Ledger`] adds the lock.
//!
//! A pod is charged to a node from the moment its binding is about to be sent until the API says otherwise. There is no expiry
//! by time: an entry ends when the binding is definitely refused, when the pod is seen bound elsewhere, or when it is gone. That
//! is what makes double booking impossible while the API server is slow.

mod bindings;
mod pods;

pub use bindings::{Assumption, Refusal, Settlement};

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use katalyst_core::reclaimed::Reclaimed;

use crate::ledger::entry::{Entry, Place};
use crate::ledger::view::{NodeCell, NodeView, Table, UnixMillis};
use crate::request::Uid;

/// What a node's custom resource says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// It can be read.
    Known {
        /// What is offered.
        allocatable: Reclaimed,
        /// The controller holds the agent to be alive, and the agent has reported.
        agent_ready: bool,
        /// When the agent made its last report.
        reported: UnixMillis,
    },
    /// It cannot be read.
    Malformed {
        /// The field, its value and what is wrong.
        message: String,
    },
}

#[derive(Debug)]
struct Account {
    cell: Arc<NodeCell>,
    offer: Option<Offer>,
    pods: BTreeSet<Uid>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Books {
    nodes: HashMap<Arc<str>, Account>,
    pods: HashMap<Uid, Entry>,
    version: u64,
    /// Grows when a listing of pods begins and when it is complete. A binding that succeeded in an earlier epoch than the one in
    /// which a listing began must be in that listing; of one that succeeded meanwhile the watch may never tell.
    epoch: u64,
    listed_pods: Option<HashSet<Uid>>,
    listed_nodes: Option<HashSet<Arc<str>>>,
    table_changed: bool,
}

impl Books {
    // === offers ===

    /// A listing of custom resources begins.
    pub fn begin_offers(&mut self) {
        self.listed_nodes = Some(HashSet::new());
    }

    /// A node's custom resource was seen. `now` and `stale_after` tell whether it makes a silent node speak again.
    pub fn offer(&mut self, node: &str, offer: Offer, now: UnixMillis, stale_after: i64) {
        let name = self.open(node);
        if let Some(listed) = &mut self.listed_nodes {
            listed.insert(name.clone());
        }
        if let Some(account) = self.nodes.get_mut(&name) {
            account.offer = Some(offer);
        }
        self.refresh(&name, Some((now, stale_after)));
    }

    /// A node's custom resource is gone.
    pub fn withdraw(&mut self, node: &str) {
        if let Some(account) = self.nodes.get_mut(node) {
            account.offer = None;
            let name: Arc<str> = node.into();
            self.refresh(&name, None);
            self.close_if_empty(&name);
        }
    }

    /// A listing of custom resources is complete: nodes that were not in it are withdrawn.
    pub fn finish_offers(&mut self) {
        let listed = self.listed_nodes.take().unwrap_or_default();
        let gone: Vec<Arc<str>> = self
            .nodes
            .iter()
            .filter(|(name, account)| account.offer.is_some() && !listed.contains(*name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.withdraw(&name);
        }
    }

    // === reading ===

    /// Every pod and where it is charged.
    pub fn pods(&self) -> impl Iterator<Item = (&Uid, &Entry)> {
        self.pods.iter()
    }

    /// The pods charged to a node.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = (&Uid, &Entry)> {
        self.nodes
            .get(node)
            .into_iter()
            .flat_map(|account| &account.pods)
            .filter_map(|uid| self.pods.get_key_value(uid))
    }

    /// A node's offer.
    pub fn offer_of(&self, node: &str) -> Option<&Offer> {
        self.nodes.get(node)?.offer.as_ref()
    }

    /// Grows each time some node becomes able to take more.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A new table, if nodes came or went since the last call and no listing is under way.
    pub fn changed_table(&mut self) -> Option<Table> {
        if !self.table_changed || self.listed_nodes.is_some() || self.listed_pods.is_some() {
            return None;
        }
        self.table_changed = false;
        Some(
            self.nodes
                .iter()
                .map(|(name, account)| (name.clone(), account.cell.clone()))
                .collect(),
        )
    }

    // === inside ===

    fn open(&mut self, node: &str) -> Arc<str> {
        if let Some((name, _)) = self.nodes.get_key_value(node) {
            return name.clone();
        }
        let name: Arc<str> = node.into();
        self.nodes.insert(
            name.clone(),
            Account {
                cell: Arc::new(NodeCell::new(node)),
                offer: None,
                pods: BTreeSet::new(),
            },
        );
        self.table_changed = true;
        name
    }

    fn close_if_empty(&mut self, node: &Arc<str>) {
        if self
            .nodes
            .get(node)
            .is_some_and(|account| account.offer.is_none() && account.pods.is_empty())
        {
            self.nodes.remove(node);
            self.table_changed = true;
        }
    }

    fn attach(&mut self, uid: &Uid, node: &Arc<str>) {
        if let Some(account) = self.nodes.get_mut(node) {
            account.pods.insert(uid.clone());
        }
        self.refresh(node, None);
    }

    fn detach(&mut self, uid: &Uid, node: &Arc<str>) {
        if let Some(account) = self.nodes.get_mut(node) {
            account.pods.remove(uid);
        }
        self.refresh(node, None);
        self.close_if_empty(node);
    }

    fn retain_places(&mut self, uid: &str, keep: impl Fn(&Place) -> bool) {
        let Some((uid, entry)) = self.pods.get_key_value(uid) else {
            return;
        };
        let uid = uid.clone();
        let dropped: Vec<Arc<str>> = entry
            .places
            .iter()
            .filter(|place| !keep(place))
            .map(|place| place.node.clone())
            .collect();
        let mut empty = entry.places.is_empty();
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.places.retain(&keep);
            empty = entry.places.is_empty();
        }
        for node in dropped {
            self.detach(&uid, &node);
        }
        if empty {
            self.pods.remove(&uid);
        }
    }

    /// Adds up a node again and publishes it. Sums are taken afresh each time, so no error can build up.
    fn refresh(&mut self, node: &Arc<str>, clock: Option<(UnixMillis, i64)>) {
        let Some(account) = self.nodes.get(node) else {
            return;
        };
        let charges = || {
            account
                .pods
                .iter()
                .filter_map(|uid| self.pods.get(uid))
                .map(|entry| &entry.charge)
        };
        let allocated: Reclaimed = charges().map(|charge| charge.amount).sum();
        let lowest_priority = charges()
            .filter(|charge| !charge.terminating)
            .map(|charge| charge.priority)
            .min()
            .unwrap_or(i32::MAX);
        let old = account.cell.view();
        let base = NodeView {
            allocated,
            lowest_priority,
            improved: old.improved,
            ..NodeView::UNKNOWN
        };
        let mut view = match &account.offer {
            None => base,
            Some(Offer::Malformed { .. }) => NodeView {
                malformed: true,
                ..base
            },
            Some(Offer::Known {
                allocatable,
                agent_ready,
                reported,
            }) => NodeView {
                allocatable: *allocatable,
                agent_ready: *agent_ready,
                reported: *reported,
                ..base
            },
        };
        let room = |view: &NodeView| view.allocatable - view.allocated;
        let (was, is) = (room(&old), room(&view));
        let speaks_again = clock.is_some_and(|(now, stale_after)| {
            view.at(now, stale_after).fresh && !old.at(now, stale_after).fresh
        });
        let improved = is.cpu > was.cpu || is.memory > was.memory || speaks_again;
        if improved {
            view.improved = self.version + 1;
        }
        // The view goes out before the version: whoever reads the new version sees the new view.
        account.cell.publish(view);
        if improved {
            self.version += 1;
        }
    }
}
