//! Which pods the runtime has.

use std::collections::{BTreeMap, BTreeSet};

use super::placer::Sandbox;

/// Pods and containers that are listened to. A kubelet runs 110 pods, the largest known nodes some 1,000.
pub const MAX_OBJECTS: usize = 32_768;

/// Identifiers of sandboxes by the UID of their pod. A pod gets a new sandbox when its first one dies, and neither the end nor the removal of the old
/// one must give up the pod's place.
#[derive(Debug, Default)]
pub struct Live(BTreeMap<String, BTreeSet<String>>);

impl Live {
    /// A sandbox came.
    pub fn add(&mut self, pod: &Sandbox) {
        if self.0.len() < MAX_OBJECTS {
            self.0
                .entry(pod.uid.clone())
                .or_default()
                .insert(pod.id.clone());
        }
    }

    /// A sandbox was stopped; whether it was its pod's last. It is told once.
    pub fn stop(&mut self, pod: &Sandbox) -> bool {
        self.0.contains_key(&pod.uid) && self.remove(pod)
    }

    /// A sandbox is gone; whether it was its pod's last.
    pub fn remove(&mut self, pod: &Sandbox) -> bool {
        let Some(ids) = self.0.get_mut(&pod.uid) else {
            return true;
        };
        ids.remove(&pod.id);
        let last = ids.is_empty();
        if last {
            self.0.remove(&pod.uid);
        }
        last
    }

    /// Takes over a fresh list; returns the UIDs that are gone.
    pub fn replace(&mut self, pods: &BTreeMap<String, Sandbox>) -> Vec<String> {
        let old = std::mem::take(&mut self.0);
        for pod in pods.values() {
            self.add(pod);
        }
        old.into_keys()
            .filter(|uid| !self.0.contains_key(uid))
            .collect()
    }
}
