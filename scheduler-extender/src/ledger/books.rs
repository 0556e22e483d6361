//! The books: who holds what of which node. Plain data and plain functions; [`super::Ledger`] adds the lock.
//!
//! A pod is charged to a node from the moment its binding is about to be sent until the API says otherwise. There is no expiry
//! by time: an entry ends when the binding is definitely refused, when the pod is seen bound elsewhere, or when it is gone. That
//! is what makes double booking impossible while the API server is slow.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use katalyst_core::reclaimed::Reclaimed;

use super::entry::{Charge, Entry, Place};
use super::view::{NodeCell, NodeView, Rejection, Table, UnixMillis};
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

/// What came of asking for a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assumption {
    /// The place is charged: send the binding, then settle.
    Charged,
    /// The pod is on that node already: nothing to send, nothing to settle.
    AlreadyThere,
}

/// Why a place is not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The node cannot take the pod any more.
    #[error("{}", .0.reason())]
    Rejected(Rejection),
    /// The pod is on another node.
    #[error("pod is already bound to node {0}")]
    Elsewhere(Arc<str>),
}

/// How an attempt to bind ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The pod is on the node.
    Bound,
    /// It is not, and this attempt will not put it there.
    Refused,
    /// Nobody knows yet.
    Unknown,
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
    /// Counts listings of pods; a binding that succeeded before a listing began must be in it.
    listing: u64,
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

    // === pods ===

    /// A listing of pods begins.
    pub fn begin_pods(&mut self) {
        self.listing += 1;
        self.listed_pods = Some(HashSet::new());
    }

    /// A pod was seen on a node. This is the truth: charges to other nodes end.
    pub fn seen(&mut self, uid: &Uid, node: &str, charge: Charge) {
        if let Some(listed) = &mut self.listed_pods {
            listed.insert(uid.clone());
        }
        let name = self.open(node);
        let entry = self.pods.entry(uid.clone()).or_default();
        entry.charge = charge;
        let in_flight = entry.place(&name).map_or(0, |place| place.in_flight);
        let places = std::mem::replace(
            &mut entry.places,
            vec![Place {
                in_flight,
                bound: true,
                ..Place::new(name.clone())
            }],
        );
        for place in places.into_iter().filter(|place| place.node != name) {
            self.detach(uid, &place.node);
        }
        self.attach(uid, &name);
    }

    /// A pod is gone, or has ended.
    pub fn gone(&mut self, uid: &str) {
        if let Some((uid, entry)) = self.pods.remove_entry(uid) {
            for place in entry.places {
                self.detach(&uid, &place.node);
            }
        }
    }

    /// A listing of pods is complete: what was bound before it began and is not in it has gone.
    pub fn finish_pods(&mut self) {
        let listed = self.listed_pods.take().unwrap_or_default();
        let listing = self.listing;
        let absent: Vec<Uid> = self
            .pods
            .keys()
            .filter(|uid| !listed.contains(*uid))
            .cloned()
            .collect();
        for uid in absent {
            self.retain_places(&uid, |place| {
                !place.bound
                    && place
                        .committed_during
                        .is_none_or(|during| during >= listing)
            });
        }
    }

    // === bindings ===

    /// Charges a pod to a node, if it fits there now.
    pub fn assume(
        &mut self,
        uid: &Uid,
        node: &str,
        charge: Charge,
        now: UnixMillis,
        stale_after: i64,
    ) -> Result<Assumption, Refusal> {
        if let Some(entry) = self.pods.get_mut(uid) {
            if let Some(place) = entry
                .places
                .iter()
                .find(|place| place.bound || place.committed_during.is_some())
            {
                return if *place.node == *node {
                    Ok(Assumption::AlreadyThere)
                } else {
                    Err(Refusal::Elsewhere(place.node.clone()))
                };
            }
            if let Some(place) = entry.place_mut(node) {
                place.in_flight += 1;
                return Ok(Assumption::Charged);
            }
        }
        let view = self
            .nodes
            .get(node)
            .map_or(NodeView::UNKNOWN, |account| account.cell.view());
        view.check(&charge.amount, now, stale_after)
            .map_err(Refusal::Rejected)?;
        let name = self.open(node);
        let entry = self.pods.entry(uid.clone()).or_default();
        entry.charge = charge;
        entry.places.push(Place {
            in_flight: 1,
            ..Place::new(name.clone())
        });
        self.attach(uid, &name);
        Ok(Assumption::Charged)
    }

    /// Records how an attempt ended that [`Books::assume`] allowed.
    pub fn settle(&mut self, uid: &str, node: &str, settlement: Settlement, now: UnixMillis) {
        let listing = self.listing;
        let Some(place) = self
            .pods
            .get_mut(uid)
            .and_then(|entry| entry.place_mut(node))
        else {
            return;
        };
        place.in_flight = place.in_flight.saturating_sub(1);
        match settlement {
            Settlement::Bound => place.committed_during = Some(listing),
            Settlement::Unknown => place.doubted_since = place.doubted_since.or(Some(now)),
            Settlement::Refused => {}
        }
        self.tidy(uid, node, settlement);
    }

    /// Ends a doubt: the pod was looked at after the attempt can no longer be under way.
    pub fn resolve(&mut self, uid: &str, node: &str, settlement: Settlement) {
        let listing = self.listing;
        let Some(place) = self
            .pods
            .get_mut(uid)
            .and_then(|entry| entry.place_mut(node))
        else {
            return;
        };
        if settlement == Settlement::Unknown {
            return;
        }
        place.doubted_since = None;
        if settlement == Settlement::Bound {
            place.committed_during = Some(listing);
        }
        self.tidy(uid, node, settlement);
    }

    fn tidy(&mut self, uid: &str, node: &str, settlement: Settlement) {
        if settlement == Settlement::Bound {
            self.retain_places(uid, |place| *place.node == *node);
        } else {
            self.retain_places(uid, |place| *place.node != *node || place.holds());
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
