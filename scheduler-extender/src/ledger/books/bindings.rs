//! Charges for bindings: made before the Binding is sent, settled by what is known of it afterwards.

use std::sync::Arc;

use super::Books;
use crate::ledger::entry::{Charge, Decision, Doubt, Place};
use crate::ledger::view::{Rejection, UnixMillis};
use crate::request::PodRequest;

/// What came of asking for a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assumption {
    /// The place is charged: send the binding with this record, then settle.
    Charged(Arc<Decision>),
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

impl Books {
    /// Charges a pod to a node, if it fits there now, and decides where on the node it goes.
    pub fn assume(
        &mut self,
        pod: &PodRequest,
        node: &str,
        charge: Charge,
        now: UnixMillis,
        stale_after: i64,
    ) -> Result<Assumption, Refusal> {
        let uid = &pod.uid;
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
            let epoch = self.epoch;
            if let Some(place) = entry.place_mut(node)
                && let Some(decision) = place.decision.clone()
            {
                place.send(epoch);
                return Ok(Assumption::Charged(decision));
            }
        }
        let state = self.state(node);
        let placement = state
            .place(&pod.wish, now, stale_after)
            .map_err(Refusal::Rejected)?;
        let machine = state.placement.machine().clone();
        let allocation = Arc::new(placement.allocation(&machine, &pod.wish));
        let decision = Arc::new(Decision { placement, machine });
        let name = self.open(node);
        let mut place = Place::new(name.clone(), allocation.clone());
        place.decision = Some(decision.clone());
        place.send(self.epoch);
        let entry = self.pods.entry(uid.clone()).or_default();
        entry.charge = charge;
        entry.places.push(place);
        self.attach(uid, &name, &allocation);
        Ok(Assumption::Charged(decision))
    }

    /// Records how an attempt ended that [`Books::assume`] allowed with this decision.
    ///
    /// The charge may have ended meanwhile, and another attempt may have made a new one for the same pod and node: what this one became says nothing
    /// about it. The decision itself, not its content, tells the charges apart.
    pub fn settle(
        &mut self,
        uid: &str,
        node: &str,
        decision: &Arc<Decision>,
        settlement: Settlement,
        now: UnixMillis,
    ) {
        let epoch = self.epoch;
        let own = |place: &&mut Place| {
            let held = place.decision.as_ref();
            held.is_some_and(|held| Arc::ptr_eq(held, decision))
        };
        let Some(place) = self.place_mut(uid, node).filter(own) else {
            return;
        };
        place.in_flight = place.in_flight.saturating_sub(1);
        match settlement {
            Settlement::Bound => {
                place.committed_during = Some(epoch);
                // A listing began or ended meanwhile: it may have missed the pod, and the watch its end.
                if place.sent_during != epoch {
                    place.doubt_if_committed(now);
                }
            }
            Settlement::Unknown => place.doubted_since = Some(now),
            Settlement::Refused => {}
        }
        self.tidy(uid, node, settlement);
    }

    /// Ends a doubt after the pod was looked at, unless it is another doubt by now.
    pub fn resolve(&mut self, doubt: &Doubt, settlement: Settlement) {
        let epoch = self.epoch;
        let Some(place) = self.place_mut(&doubt.uid, &doubt.node) else {
            return;
        };
        let outdated = place.doubted_since != Some(doubt.since);
        let uncertain = match settlement {
            Settlement::Bound => doubt.epoch != epoch,
            Settlement::Refused => false,
            Settlement::Unknown => true,
        };
        if outdated || uncertain {
            return;
        }
        place.doubted_since = None;
        if settlement == Settlement::Bound {
            place.committed_during = Some(epoch);
        }
        self.tidy(&doubt.uid, &doubt.node, settlement);
    }

    /// Bindings without a verdict, where no attempt is under way.
    pub fn doubts(&self) -> Vec<Doubt> {
        let places = self
            .pods
            .iter()
            .flat_map(|(uid, entry)| entry.places.iter().map(move |place| (uid, entry, place)));
        let doubts = places
            .filter(|(_, _, place)| {
                place.in_flight == 0 && !place.bound && place.committed_during.is_none()
            })
            .filter_map(|(uid, entry, place)| {
                Some(Doubt {
                    uid: uid.clone(),
                    name: entry.charge.name.clone(),
                    node: place.node.clone(),
                    since: place.doubted_since?,
                    epoch: self.epoch,
                })
            });
        doubts.collect()
    }

    fn place_mut(&mut self, uid: &str, node: &str) -> Option<&mut Place> {
        self.pods
            .get_mut(uid)
            .and_then(|entry| entry.place_mut(node))
    }

    fn tidy(&mut self, uid: &str, node: &str, settlement: Settlement) {
        if settlement == Settlement::Bound {
            self.retain_places(uid, |place| *place.node == *node);
        } else {
            self.retain_places(uid, |place| *place.node != *node || place.holds());
        }
    }
}
