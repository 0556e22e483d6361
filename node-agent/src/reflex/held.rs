//! Which pods are held, with what the agent knows of them.
//!
//! A pod is reclaimed because the API server says so. One that the API server has forgotten while its group still lives (a forced
//! deletion, an agent that restarts while the API server is away) stays reclaimed as long as its group is there.

use std::collections::BTreeMap;

use katalyst_core::reclaimed::Reclaimed;

use crate::{
    cgroup::PodUid,
    hold::Records,
    pods::{PodIndex, PodInfo},
};

/// What is remembered of reclaimed pods.
#[derive(Debug, Default)]
pub(super) struct Known {
    pods: BTreeMap<PodUid, Reclaimed>,
}

impl Known {
    /// Starts from the records of an earlier run.
    pub(super) fn from_records(records: &Records) -> Self {
        Self {
            pods: records.reclaimed().clone(),
        }
    }

    /// Learns from the API server. Returns pods that were reclaimed and are no more: their values are to be put back.
    pub(super) fn learn(&mut self, index: &PodIndex) -> Vec<PodUid> {
        // Four times a second over pods that hardly ever change: nothing is copied that is there.
        let mut changed = Vec::new();
        for pod in index.iter() {
            if !pod.is_reclaimed() {
                changed.extend(self.pods.remove_entry(&pod.uid).map(|(uid, _)| uid));
            } else if let Some(requests) = self.pods.get_mut(&pod.uid) {
                *requests = pod.requests;
            } else {
                self.pods.insert(pod.uid.clone(), pod.requests);
            }
        }
        changed
    }

    /// Learns of a pod from the container runtime, before the API server tells. Its requests are those known, or none.
    pub(super) fn meet(&mut self, pod: &PodInfo) {
        if pod.is_reclaimed() {
            self.pods.entry(pod.uid.clone()).or_insert(pod.requests);
        }
    }

    /// Forgets pods that neither have a group nor are known to the API server.
    pub(super) fn prune(&mut self, index: &PodIndex, has_group: impl Fn(&PodUid) -> bool) {
        self.pods
            .retain(|uid, _| has_group(uid) || index.get(uid).is_some());
    }

    /// Whether no pod is known to be reclaimed.
    pub(super) fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// Whether the pod is reclaimed.
    pub(super) fn contains(&self, uid: &PodUid) -> bool {
        self.pods.contains_key(uid)
    }

    /// What it asks for.
    pub(super) fn requests(&self, uid: &PodUid) -> Option<Reclaimed> {
        self.pods.get(uid).copied()
    }
}
