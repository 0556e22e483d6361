//! What a CNR says beside its machine: taints, use, and what pods hold of NUMA nodes.

use std::collections::BTreeMap;

use katalyst_core::{
    placement::{
        NumaShare,
        node::{Load, Reported, Taint, TaintEffect},
    },
    qos::Level,
    reclaimed::Reclaimed,
};

use crate::{
    constants::zone,
    node::{CustomNodeResource, ResourceList, ResourceMetric, TopologyZone},
    translate::read_cpu_and_memory,
};

/// Zones are at most so deep.
const DEEPEST: usize = 8;

/// The taints. One whose level or effect nobody knows is for nobody, which the schema makes sure does not happen.
pub fn taints(cnr: &CustomNodeResource) -> Vec<Taint> {
    cnr.spec
        .taints
        .iter()
        .filter_map(|taint| {
            Some(Taint {
                key: taint.key.as_str().into(),
                value: taint.value.as_deref().unwrap_or_default().into(),
                effect: effect(&taint.effect)?,
                level: Level::from_name(&taint.qos_level)?,
            })
        })
        .collect()
}

/// A taint's effect by its name.
pub(super) fn effect(name: &str) -> Option<TaintEffect> {
    Some(match name {
        "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        "NoSchedule" => TaintEffect::NoSchedule,
        "NoExecute" => TaintEffect::NoExecute,
        _ => return None,
    })
}

/// How much of the machine is in use, and the service peak as what is to be expected; zero where the report does not say.
pub fn load(cnr: &CustomNodeResource) -> Load {
    let Some(report) = cnr
        .status
        .as_ref()
        .and_then(|status| status.node_metric_status.as_ref())
    else {
        return Load::default();
    };
    let read = |list: Option<&ResourceList>| {
        list.and_then(|list| read_cpu_and_memory(list).ok())
            .unwrap_or_default()
    };
    let capacity = read(report.capacity.as_ref());
    let use_now = report
        .node_metric
        .as_ref()
        .and_then(|metric| metric.generic_usage.as_ref())
        .map(metric)
        .unwrap_or_default();
    let peak = report.service_peak.as_ref();
    let peak = read(peak.and_then(|peak| peak.usage.as_ref()));
    let part = |of: u64, all: u64| {
        if all == 0 {
            0.0
        } else {
            (of as f64 / all as f64) as f32
        }
    };
    Load {
        cpu: part(use_now.cpu.get(), capacity.cpu.get()),
        memory: part(use_now.memory.get(), capacity.memory.get()),
        predicted_cpu: part(peak.cpu.get(), capacity.cpu.get()),
        predicted_memory: part(peak.memory.get(), capacity.memory.get()),
    }
}

fn metric(usage: &ResourceMetric) -> Reclaimed {
    let list: ResourceList = [("cpu", &usage.cpu), ("memory", &usage.memory)]
        .into_iter()
        .filter_map(|(name, amount)| Some((name.to_owned(), amount.clone()?)))
        .collect();
    read_cpu_and_memory(&list).unwrap_or_default()
}

/// What pods hold of NUMA nodes, by the agent's word. An allocation that cannot be read is left out.
pub fn reported(cnr: &CustomNodeResource) -> Vec<Reported> {
    let mut shares: BTreeMap<&str, Vec<NumaShare>> = BTreeMap::new();
    for zone in cnr.status.iter().flat_map(|status| &status.topology_zone) {
        collect(zone, 0, &mut shares);
    }
    shares
        .into_iter()
        .map(|(uid, shares)| Reported {
            uid: uid.into(),
            shares: shares.into(),
        })
        .collect()
}

fn collect<'a>(
    zone: &'a TopologyZone,
    depth: usize,
    shares: &mut BTreeMap<&'a str, Vec<NumaShare>>,
) {
    if depth > DEEPEST {
        return;
    }
    if let Some(id) = zone.name.parse().ok().filter(|_| zone.type_ == zone::NUMA) {
        for allocation in &zone.allocations {
            let requests = allocation.requests.as_ref().map(read_cpu_and_memory);
            // `namespace/name/uid`.
            let uid = allocation.consumer.splitn(3, '/').nth(2);
            if let (Some(uid), Some(Ok(amounts))) = (uid, requests) {
                shares.entry(uid).or_default().push(NumaShare {
                    id,
                    cpu: amounts.cpu,
                    memory: amounts.memory,
                    ..NumaShare::default()
                });
            }
        }
    }
    for child in zone.children.zones() {
        collect(child, depth + 1, shares);
    }
}
