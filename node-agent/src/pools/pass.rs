//! One pass over the pods: what it looks at, and the contents of files that follow from its plan.

use std::{collections::BTreeSet, path::Path};

use katalyst_core::{cpu_set::CpuSet, pools::PoolPlan};

use super::{
    inputs::{Seen, groups_of},
    settings::{Node, Place, is_restricted, settings},
    time::{self, TimeInput},
};
use crate::{
    cgroup::{Hierarchy, PodUid},
    hold::{Executor, Knob, Setting},
    kubelet::Kubelet,
    sample::Usage,
};

/// What one pass looks at.
pub(super) struct Pass<'a> {
    pub(super) settled: &'a BTreeSet<PodUid>,
    pub(super) hierarchy: &'a Hierarchy,
    pub(super) kubelet: &'a Kubelet,
    pub(super) everyone: &'a CpuSet,
    pub(super) pods: &'a [Seen<'a>],
}

impl Pass<'_> {
    /// Pods that ran before records began and have a group, so that this pass has seen to them.
    pub(super) fn with_groups(&self, executor: &Executor) -> BTreeSet<PodUid> {
        self.pods
            .iter()
            .filter(|seen| seen.dir.is_some() && executor.is_untrusted(&seen.info.uid))
            .map(|seen| seen.info.uid.clone())
            .collect()
    }

    /// Contents of files.
    pub(super) fn settings(
        &self,
        executor: &Executor,
        plan: &PoolPlan,
        usage: Option<&Usage>,
    ) -> Vec<Setting> {
        let node = Node {
            version: self.hierarchy.version(),
            everyone: self.everyone,
            kubelet_writes: self.kubelet.shared_cpus().is_some(),
        };
        let placed = executor
            .records()
            .pods_with(|knob| knob.is_set() || knob == Knob::MemoryMigrate);
        let mut all = Vec::new();
        for seen in self.pods {
            let uid = &seen.info.uid;
            let (Some(dir), Some(held)) = (seen.dir, plan.pods.get(uid.as_str())) else {
                continue;
            };
            if plan.left_alone.contains(uid.as_str()) || held.cpus.is_empty() {
                continue;
            }
            let untrusted = executor.is_untrusted(uid) && !self.settled.contains(uid);
            let needs_groups = untrusted
                || held.mems.is_some()
                || is_restricted(held, self.everyone)
                || placed.contains(uid);
            let below = if needs_groups {
                groups_of(self.hierarchy, dir)
            } else {
                Vec::new()
            };
            let memory = self.kubelet.memory.as_ref();
            let place = Place {
                uid,
                group: &dir.relative,
                below: &below,
                held,
                untrusted,
                memory_is_kubelets: memory
                    .is_some_and(|memory| memory.pods.contains_key(uid.as_str())),
            };
            let recorded = |group: &Path, knob| executor.records().old(group, knob).is_some();
            all.extend(settings(&node, &place, recorded));
            let input = TimeInput {
                info: seen.info,
                group: &dir.relative,
                reason: plan.reasons.get(uid.as_str()).copied(),
                utilisation: usage.map(busy_percent),
            };
            all.extend(time::settings(self.hierarchy, &input, recorded));
        }
        all
    }

    /// CPUs that running pods gained or lost.
    pub(super) fn moved(&self, before: &PoolPlan, after: &PoolPlan) -> u64 {
        let cpus = self
            .pods
            .iter()
            .filter(|seen| seen.dir.is_some())
            .filter_map(|seen| {
                let uid = seen.info.uid.as_str();
                let (before, after) = (&before.pods.get(uid)?.cpus, &after.pods.get(uid)?.cpus);
                Some(before.difference(after).len() + after.difference(before).len())
            })
            .sum::<usize>();
        u64::try_from(cpus).unwrap_or(u64::MAX)
    }
}

/// Percent of the machine's CPUs that is busy.
fn busy_percent(usage: &Usage) -> f64 {
    let capacity = usage.capacity.cpu.get().max(1);
    usage.machine.cpu.get() as f64 / capacity as f64 * 100.0
}
