//! One pass over the pods: what it looks at, and the contents of files that follow from its plan.

use std::{borrow::Cow, collections::BTreeSet, path::Path};

use katalyst_core::{
    cpu_set::CpuSet,
    pools::{PodCpus, PodReason, PoolPlan},
    qos::{Level, NumaSet},
    topology::Topology,
};

use super::{
    inputs::{Seen, groups_of, read_set},
    settings::{Node, Place, is_restricted, settings},
    time::{self, TimeInput},
};
use crate::{
    cgroup::{Hierarchy, PodUid},
    hold::{Executor, Knob, Setting},
    kubelet::Kubelet,
    rebind::{Binder, BinderPod},
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
        binder: &Binder,
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
            let (Some(dir), Some(held)) = (seen.dir, held(plan, binder, uid)) else {
                continue;
            };
            if plan.left_alone.contains(uid.as_str()) || held.cpus.is_empty() {
                continue;
            }
            let untrusted = executor.is_untrusted(uid) && !self.settled.contains(uid);
            let needs_groups = untrusted
                || held.mems.is_some()
                || is_restricted(&held, self.everyone)
                || placed.contains(uid);
            let below = if needs_groups {
                groups_of(self.hierarchy, dir)
            } else {
                Vec::new()
            };
            let place = Place {
                uid,
                group: &dir.relative,
                below: &below,
                held: &held,
                untrusted,
                memory_is_kubelets: self.memory_is_kubelets(uid),
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

    fn memory_is_kubelets(&self, uid: &PodUid) -> bool {
        let memory = self.kubelet.memory.as_ref();
        memory.is_some_and(|memory| memory.pods.contains_key(uid.as_str()))
    }

    /// Pods with a group, as the memset binder sees them.
    pub(super) fn binder_pods<'p>(
        &'p self,
        executor: &Executor,
        plan: &'p PoolPlan,
        topology: &Topology,
    ) -> Vec<BinderPod<'p>> {
        let held = |group: &Path| {
            executor.records().old(group, Knob::CpusetMems)?;
            let set = read_set(self.hierarchy, group, Knob::CpusetMems)?;
            let all = topology.numa_nodes().all(|node| set.contains(node.id));
            NumaSet::from_ids(set.iter().filter(|_| !all))
        };
        self.pods
            .iter()
            .filter_map(|seen| {
                let dir = seen.dir?;
                let uid = &seen.info.uid;
                let asks = &seen.info.asks;
                let reason = plan.reasons.get(uid.as_str());
                let bound = asks.numa_binding
                    || asks.numa_bind_result.is_some()
                    || matches!(
                        reason,
                        Some(PodReason::ReclaimedNuma | PodReason::NumaShared | PodReason::Kubelet)
                    )
                    || plan.left_alone.contains(uid.as_str())
                    || self.memory_is_kubelets(uid);
                Some(BinderPod {
                    uid,
                    name: seen.info.full_name(),
                    level: seen.info.level,
                    bound,
                    exclusive: seen.info.level == Level::Dedicated && asks.numa_exclusive,
                    group: &dir.relative,
                    planned: plan.pods.get(uid.as_str())?.mems.as_ref(),
                    held: held(&dir.relative),
                })
            })
            .collect()
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

/// What a pod is to hold: the plan's CPUs, and the memory nodes that the binder leaves of the plan's.
pub(super) fn held<'p>(
    plan: &'p PoolPlan,
    binder: &Binder,
    uid: &PodUid,
) -> Option<Cow<'p, PodCpus>> {
    let planned = plan.pods.get(uid.as_str())?;
    let mems = binder.mems(uid, planned.mems.as_ref());
    Some(if mems == planned.mems {
        Cow::Borrowed(planned)
    } else {
        Cow::Owned(PodCpus {
            mems,
            ..planned.clone()
        })
    })
}

/// Percent of the machine's CPUs that is busy.
fn busy_percent(usage: &Usage) -> f64 {
    let capacity = usage.capacity.cpu.get().max(1);
    usage.machine.cpu.get() as f64 / capacity as f64 * 100.0
}
