//! What the loop tells of its plan: notices, events of owners, and the view that others see.

use std::{collections::BTreeSet, sync::Arc};

use katalyst_core::{cpu_set::CpuSet, pools::PoolPlan};

use super::{
    inputs::read_set,
    pass::{Pass, held},
    run::Pools,
    settings::is_restricted,
    view::{Nodes, PlacedPod, PoolsView, RefusedPod},
};
use crate::hold::Knob;

/// Subjects of notices.
const NOTICE_KUBELET: &str = "kubelet";
const NOTICE_REFUSED: &str = "pools: pod ";

impl Pools {
    /// Notices and events.
    pub(super) fn tell(&mut self, pass: &Pass<'_>, plan: &PoolPlan) {
        let mut text = pass.kubelet.notes.clone();
        if pass.kubelet.shared_cpus().is_some() {
            text.push(format!(
                "the CPU manager is static: {} pods keep the CPUs that it gave them",
                plan.left_alone.len()
            ));
        }
        if pass.kubelet.present && pass.kubelet.cpu.is_none() {
            text.push(
                "exclusive CPUs of its CPU manager are recognised by containers' cpusets"
                    .to_owned(),
            );
        }
        let text = (!text.is_empty()).then(|| text.join("; "));
        self.notices.put(NOTICE_KUBELET, text);

        let refused = refused(pass, plan);
        let subject = |pod: &RefusedPod| format!("{NOTICE_REFUSED}{}", pod.name);
        let subjects: BTreeSet<String> = refused.iter().map(subject).collect();
        self.notices
            .retain(NOTICE_REFUSED, |subject| subjects.contains(subject));
        for pod in &refused {
            self.notices.set(&subject(pod), pod.sentence());
            let key = (pod.uid.clone(), pod.reason);
            let info = pass.pods.iter().find(|seen| seen.info.uid == pod.uid);
            if let (Some(events), Some(seen)) = (&self.events, info)
                && !self.told.contains(&key)
            {
                events.placement_refused(seen.info, &pod.sentence());
            }
            self.told.insert(key);
        }
        self.told
            .retain(|(uid, _)| pass.pods.iter().any(|seen| &seen.info.uid == uid));
    }

    pub(super) fn publish(&self, pass: &Pass<'_>, plan: &PoolPlan, reserved: CpuSet) {
        let pods = pass
            .pods
            .iter()
            .filter_map(|seen| {
                let uid = &seen.info.uid;
                let held = held(plan, &self.binder, uid)?;
                let restricted = is_restricted(&held, pass.everyone);
                let in_force = (restricted || held.mems.is_some())
                    && seen.dir.is_some_and(|dir| {
                        let holds = |knob| read_set(pass.hierarchy, &dir.relative, knob);
                        (!restricted || holds(Knob::CpusetCpus).as_ref() == Some(&held.cpus))
                            && held.mems.as_ref().is_none_or(|mems| {
                                let nodes: CpuSet = mems.iter().collect();
                                holds(Knob::CpusetMems) == Some(nodes)
                            })
                    });
                let placed = PlacedPod {
                    name: seen.info.full_name(),
                    pool: held.pool.clone(),
                    cpus: held.cpus.clone(),
                    mems: held.mems.clone().map(Nodes),
                    reason: plan.reasons.get(uid.as_str()).copied(),
                    restricted,
                    in_force,
                    left_alone: plan.left_alone.contains(uid.as_str()),
                };
                Some((uid.clone(), placed))
            })
            .collect();
        let kubelet_policy = pass.kubelet.cpu.as_ref().map_or_else(
            || "unknown: exclusive CPUs are recognised by containers' cpusets".to_owned(),
            |manager| manager.policy.clone(),
        );
        self.view.send_replace(Arc::new(PoolsView {
            pools: plan.pools.clone(),
            pods,
            refused: refused(pass, plan),
            reserved,
            everyone: pass.everyone.clone(),
            kubelet_policy,
            wild: self.wild.view(),
            rebind: self.binder.view(),
        }));
    }
}

fn refused(pass: &Pass<'_>, plan: &PoolPlan) -> Vec<RefusedPod> {
    plan.refused
        .iter()
        .filter_map(|refusal| {
            let seen = pass
                .pods
                .iter()
                .find(|seen| seen.info.uid.as_str() == refusal.uid)?;
            Some(RefusedPod {
                uid: seen.info.uid.clone(),
                name: seen.info.full_name(),
                reason: refusal.reason,
                needed: refusal.needed,
                available: refusal.available,
            })
        })
        .collect()
}
