//! All pods of the node.

use std::collections::{BTreeMap, BTreeSet};

use katalyst_core::reclaimed::Reclaimed;

use super::info::PodInfo;
use crate::cgroup::PodUid;

/// The node's pods by the UID of their groups.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodIndex {
    /// A complete list was received at least once.
    pub synced: bool,
    pods: BTreeMap<PodUid, PodInfo>,
}

impl PodIndex {
    /// Adds or replaces a pod. A mirror object that replaces one of the same static pod is found by its hash.
    pub fn insert(&mut self, pod: PodInfo) {
        self.pods.insert(pod.uid.clone(), pod);
    }

    /// Removes a pod, unless a newer object already stands for the same group.
    pub fn remove(&mut self, pod: &PodInfo) {
        if self
            .pods
            .get(&pod.uid)
            .is_some_and(|known| known.object_uid == pod.object_uid)
        {
            self.pods.remove(&pod.uid);
        }
    }

    /// A pod by the UID of its group.
    pub fn get(&self, uid: &PodUid) -> Option<&PodInfo> {
        self.pods.get(uid)
    }

    /// All pods.
    pub fn iter(&self) -> impl Iterator<Item = &PodInfo> {
        self.pods.values()
    }

    /// UIDs of all groups.
    pub fn uids(&self) -> BTreeSet<PodUid> {
        self.pods.keys().cloned().collect()
    }

    /// Sum of the requests of reclaimed pods that have not ended.
    pub fn allocated(&self) -> Reclaimed {
        self.iter()
            .filter(|pod| pod.is_reclaimed() && !pod.finished)
            .map(|pod| pod.requests)
            .sum()
    }
}

/// A complete list.
impl FromIterator<PodInfo> for PodIndex {
    fn from_iter<I: IntoIterator<Item = PodInfo>>(pods: I) -> Self {
        let pods = pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect();
        Self { synced: true, pods }
    }
}
