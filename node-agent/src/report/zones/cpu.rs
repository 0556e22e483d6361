//! Sockets, NUMA nodes and last-level caches.

use std::collections::BTreeMap;

use katalyst_core::{
    cpu_set::CpuSet,
    reclaimed::Reclaimed,
    topology::{NumaNode, Topology},
    units::{Bytes, Millicpu},
};
use katalyst_crds::{
    constants::{resource, zone},
    node::{Resources, Sibling, TopologyZone},
    translate::machine_list,
};

use super::{allocation::Taken, attribute, children, named};

/// A socket with its NUMA nodes.
pub(super) fn socket(
    id: u32,
    nodes: &[&NumaNode],
    reserved: &CpuSet,
    numa: Vec<TopologyZone>,
) -> TopologyZone {
    let cpus = nodes
        .iter()
        .fold(CpuSet::new(), |all, node| all.union(&node.cpus));
    let memory = nodes
        .iter()
        .fold(Bytes::ZERO, |sum, node| sum + node.memory);
    TopologyZone {
        resources: Some(resources(&cpus, reserved, Some(memory))),
        children: children(numa),
        ..named(zone::SOCKET, &id)
    }
}

/// A NUMA node with its caches and devices.
pub(super) fn numa(
    topology: &Topology,
    node: &NumaNode,
    reserved: &CpuSet,
    taken: &mut Taken,
    devices: Vec<TopologyZone>,
) -> TopologyZone {
    let mut below = caches(topology, node, reserved);
    below.extend(devices);
    let mut cores: Vec<u32> = node
        .cpus
        .iter()
        .filter_map(|cpu| Some(topology.cpu(cpu)?.core))
        .collect();
    cores.sort_unstable();
    cores.dedup();
    let kept = node.cpus.intersection(reserved);
    let mut attributes = vec![
        attribute("cpu_list", &&node.cpus),
        attribute("physical_cores", &cores.len()),
    ];
    if !kept.is_empty() {
        attributes.push(attribute("reserved_cpu_list", &kept));
    }
    TopologyZone {
        resources: Some(resources(&node.cpus, reserved, Some(node.memory))),
        attributes,
        allocations: taken.numa(node.id),
        children: children(below),
        siblings: topology
            .numa_nodes()
            .filter(|other| other.id != node.id)
            .map(|other| Sibling {
                type_: zone::NUMA.to_owned(),
                name: other.id.to_string(),
                attributes: vec![attribute(
                    "numa_distance",
                    &topology.distance(node.id, other.id),
                )],
            })
            .collect(),
        ..named(zone::NUMA, &node.id)
    }
}

/// The groups of CPUs that share a last-level cache, where the node has several: one group says nothing that the node does not.
fn caches(topology: &Topology, node: &NumaNode, reserved: &CpuSet) -> Vec<TopologyZone> {
    let mut groups: BTreeMap<u32, CpuSet> = BTreeMap::new();
    for cpu in node.cpus.iter().filter_map(|cpu| topology.cpu(cpu)) {
        groups.entry(cpu.l3).or_default().insert(cpu.id);
    }
    if groups.len() < 2 {
        return Vec::new();
    }
    groups
        .into_iter()
        .map(|(id, cpus)| TopologyZone {
            resources: Some(resources(&cpus, reserved, None)),
            attributes: vec![attribute("cpu_list", &&cpus)],
            ..named(zone::L3_CACHE_GROUP, &id)
        })
        .collect()
}

/// CPUs that are reserved are capacity, and not allocatable.
fn resources(cpus: &CpuSet, reserved: &CpuSet, memory: Option<Bytes>) -> Resources {
    let list = |cpus: usize| {
        let mut list = machine_list(&Reclaimed {
            cpu: Millicpu::new((cpus as u64).saturating_mul(1_000)),
            memory: memory.unwrap_or(Bytes::ZERO),
        });
        if memory.is_none() {
            list.remove(resource::MEMORY);
        }
        Some(list)
    };
    Resources {
        capacity: list(cpus.len()),
        allocatable: list(cpus.difference(reserved).len()),
        ..Resources::default()
    }
}
