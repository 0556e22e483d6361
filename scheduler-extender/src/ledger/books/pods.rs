//! Pods as the watch shows them.

use std::collections::HashSet;
use std::sync::Arc;

use katalyst_core::placement::Allocation;

use super::Books;
use crate::ledger::entry::{Charge, Place};
use crate::ledger::view::UnixMillis;
use crate::request::Uid;

impl Books {
    /// A listing of pods begins.
    pub fn begin_pods(&mut self) {
        self.epoch += 1;
        self.listed_pods = Some(HashSet::new());
    }

    /// A pod was seen on a node. This is the truth: charges to other nodes end.
    pub fn seen(&mut self, uid: &Uid, node: &str, charge: Charge, allocation: Arc<Allocation>) {
        if let Some(listed) = &mut self.listed_pods {
            listed.insert(uid.clone());
        }
        let name = self.open(node);
        let machine = self.state(&name).placement.machine().clone();
        let allocation = match Arc::try_unwrap(allocation) {
            Ok(own) => Arc::new(own.share_names(&machine)),
            Err(shared) => shared,
        };
        let entry = self.pods.entry(uid.clone()).or_default();
        entry.charge = charge;
        let before = entry.place(&name);
        let in_flight = before.map_or(0, |place| place.in_flight);
        let decision = before.and_then(|place| place.decision.clone());
        let places = std::mem::replace(
            &mut entry.places,
            vec![Place {
                in_flight,
                decision,
                bound: true,
                ..Place::new(name.clone(), allocation.clone())
            }],
        );
        for place in places.into_iter().filter(|place| place.node != name) {
            self.detach(uid, &place.node);
        }
        self.attach(uid, &name, &allocation);
    }

    /// A pod is gone, or has ended.
    pub fn gone(&mut self, uid: &str) {
        if let Some((uid, entry)) = self.pods.remove_entry(uid) {
            for place in entry.places {
                self.detach(&uid, &place.node);
            }
        }
    }

    /// A listing of pods is complete: what was bound before it began and is not in it has gone. What was bound meanwhile and is
    /// not in it came later, or came and went: that is a doubt.
    pub fn finish_pods(&mut self, now: UnixMillis) {
        let listed = self.listed_pods.take().unwrap_or_default();
        let began = self.epoch;
        self.epoch += 1;
        let absent: Vec<Uid> = self
            .pods
            .keys()
            .filter(|uid| !listed.contains(*uid))
            .cloned()
            .collect();
        for uid in absent {
            self.retain_places(&uid, |place| {
                !place.bound && place.committed_during.is_none_or(|during| during >= began)
            });
            let places = self.pods.get_mut(&uid).map(|entry| entry.places.iter_mut());
            for place in places.into_iter().flatten() {
                place.doubt_if_committed(now);
            }
        }
    }
}
