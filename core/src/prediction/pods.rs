//! State for each pod of a node, in the order of the samples.

use serde::{Deserialize, Serialize};

use super::PodSample;

/// One state a pod.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pods<S> {
    entries: Vec<(u64, S)>,
}

impl<S> Default for Pods<S> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
        }
    }
}

impl<S> Pods<S> {
    /// Keeps the states of the pods of a sample, in its order; makes those of new pods, drops those of pods that are gone. True when anything changed.
    pub(super) fn follow(
        &mut self,
        sample: &[PodSample],
        mut new: impl FnMut(&PodSample) -> S,
    ) -> bool {
        let same = self.entries.len() == sample.len()
            && self
                .entries
                .iter()
                .zip(sample)
                .all(|((id, _), pod)| *id == pod.pod);
        if same {
            return false;
        }
        let mut old = std::mem::take(&mut self.entries);
        old.sort_by_key(|(id, _)| *id);
        let mut old: Vec<(u64, Option<S>)> = old
            .into_iter()
            .map(|(id, state)| (id, Some(state)))
            .collect();
        self.entries = sample
            .iter()
            .map(|pod| {
                let known = old
                    .binary_search_by_key(&pod.pod, |(id, _)| *id)
                    .ok()
                    .and_then(|at| old.get_mut(at))
                    .and_then(|(_, state)| state.take());
                (pod.pod, known.unwrap_or_else(|| new(pod)))
            })
            .collect();
        true
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The states, in the order of the last sample.
    pub(super) fn iter(&self) -> impl Iterator<Item = &S> {
        self.entries.iter().map(|(_, state)| state)
    }

    /// The states, to be changed, in the order of the last sample.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.entries.iter_mut().map(|(_, state)| state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(pods: &[u64]) -> Vec<PodSample> {
        pods.iter()
            .map(|pod| PodSample {
                pod: *pod,
                ..PodSample::default()
            })
            .collect()
    }

    #[test]
    fn states_follow_their_pods_and_leave_with_them() {
        let mut pods = Pods::default();
        assert!(pods.follow(&sample(&[7, 3, 9]), |pod| pod.pod * 10));
        assert!(!pods.follow(&sample(&[7, 3, 9]), |_| 0));
        for state in pods.iter_mut() {
            *state += 1;
        }
        assert!(pods.follow(&sample(&[9, 1, 7]), |pod| pod.pod * 10));
        assert_eq!(pods.iter().copied().collect::<Vec<_>>(), [91, 10, 71]);
        pods.follow(&sample(&[3]), |_| 5);
        assert_eq!(
            pods.iter().copied().collect::<Vec<_>>(),
            [5],
            "3 was gone and is new"
        );
    }
}
