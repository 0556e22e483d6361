//! The plan as a whole.

use std::collections::BTreeSet;

use crate::{cpu_set::CpuSet, qos::Level, units::Millicpu};

use super::{
    PodCpus, PodReason, Pool, PoolInput, PoolKind, PoolParams, PoolPlan, PoolReason, names,
};

/// Plans the pools. The same input gives the same plan, whatever the order of the pods.
pub fn plan_pools(input: &PoolInput<'_>, _params: &PoolParams) -> PoolPlan {
    let mut plan = PoolPlan::default();
    let online = input.topology.all_cpus();
    let kubelet = input
        .pods
        .iter()
        .fold(CpuSet::new(), |all, pod| all.union(&pod.kubelet_cpus))
        .intersection(&online);
    let free = online.difference(&kubelet);
    let shared = free.difference(input.reserved);
    let shared = [&shared, &free, &online]
        .into_iter()
        .find(|set| !set.is_empty())
        .cloned()
        .unwrap_or_default();
    let mut seen = BTreeSet::new();
    for pod in input
        .pods
        .iter()
        .filter(|pod| seen.insert(pod.uid.as_str()))
    {
        let (pool, kind, cpus, reason) = match pod.level {
            _ if !pod.kubelet_cpus.is_empty() => {
                plan.left_alone.insert(pod.uid.clone());
                (
                    names::KUBELET,
                    PoolKind::Kubelet,
                    &pod.kubelet_cpus,
                    PodReason::Kubelet,
                )
            }
            Level::Reclaimed => (
                names::RECLAIM,
                PoolKind::Reclaimed,
                &shared,
                PodReason::Reclaimed,
            ),
            Level::System => (names::SYSTEM, PoolKind::System, &free, PodReason::System),
            Level::Shared | Level::Dedicated => {
                (names::SHARE, PoolKind::Shared, &shared, PodReason::Shared)
            }
        };
        let entry = plan.pools.entry(pool.to_owned()).or_insert_with(|| Pool {
            kind,
            cpus: cpus.clone(),
            pods: 0,
            requested: Millicpu::ZERO,
            used: Millicpu::ZERO,
            wanted: 0,
            reason: PoolReason::Remainder,
            shrinking: None,
        });
        entry.cpus = entry.cpus.union(cpus);
        entry.pods += 1;
        entry.requested += pod.request;
        entry.used += pod.usage.unwrap_or_default();
        plan.reasons.insert(pod.uid.clone(), reason);
        plan.pods.insert(
            pod.uid.clone(),
            PodCpus {
                pool: pool.to_owned(),
                cpus: cpus.clone(),
                mems: None,
            },
        );
    }
    plan
}

#[cfg(test)]
mod tests {
    use crate::topology::{Cpu, Topology};

    use super::*;

    #[test]
    fn a_machine_without_pods_has_an_empty_plan() {
        let cpu = |id| Cpu {
            id,
            core: id,
            l3: 0,
            numa: 0,
            socket: 0,
        };
        let topology = Topology::new([cpu(0), cpu(1)], []);
        let input = PoolInput {
            topology: &topology,
            reserved: &CpuSet::new(),
            pods: &[],
            previous: None,
            now_seconds: 0.0,
        };
        assert!(plan_pools(&input, &PoolParams::default()).pods.is_empty());
    }
}
