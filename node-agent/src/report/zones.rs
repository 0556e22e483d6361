//! The machine as the CNR's tree of zones: sockets with their NUMA nodes.

use std::collections::BTreeMap;

use katalyst_core::{
    reclaimed::Reclaimed,
    topology::{NumaNode, Topology},
    units::Millicpu,
};
use katalyst_crds::{
    constants::zone,
    node::{Attribute, Resources, Sibling, TopologyZone, ZoneChildren},
    translate::machine_list,
};

/// The tree. A pure function of the machine: the same machine gives the same tree, in the same order.
pub(super) fn zones(topology: &Topology) -> Vec<TopologyZone> {
    let mut sockets: BTreeMap<u32, Vec<&NumaNode>> = BTreeMap::new();
    for node in topology.numa_nodes() {
        sockets.entry(node.socket).or_default().push(node);
    }
    sockets
        .into_iter()
        .map(|(socket, nodes)| {
            let whole = nodes.iter().map(|node| capacity(node)).sum();
            TopologyZone {
                type_: zone::SOCKET.to_owned(),
                name: socket.to_string(),
                resources: Some(whole_resources(whole)),
                children: ZoneChildren::Zones(
                    nodes
                        .into_iter()
                        .map(|node| numa_zone(node, topology))
                        .collect(),
                ),
                ..TopologyZone::default()
            }
        })
        .collect()
}

fn capacity(node: &NumaNode) -> Reclaimed {
    Reclaimed {
        cpu: Millicpu::new((node.cpus.len() as u64).saturating_mul(1_000)),
        memory: node.memory,
    }
}

fn whole_resources(of: Reclaimed) -> Resources {
    Resources {
        capacity: Some(machine_list(&of)),
        ..Resources::default()
    }
}

fn numa_zone(node: &NumaNode, topology: &Topology) -> TopologyZone {
    TopologyZone {
        type_: zone::NUMA.to_owned(),
        name: node.id.to_string(),
        resources: Some(whole_resources(capacity(node))),
        attributes: vec![Attribute {
            name: "cpu_list".to_owned(),
            value: node.cpus.to_string(),
        }],
        siblings: topology
            .numa_nodes()
            .filter(|other| other.id != node.id)
            .map(|other| Sibling {
                type_: zone::NUMA.to_owned(),
                name: other.id.to_string(),
                attributes: vec![Attribute {
                    name: "numa_distance".to_owned(),
                    value: topology.distance(node.id, other.id).to_string(),
                }],
            })
            .collect(),
        ..TopologyZone::default()
    }
}

#[cfg(test)]
mod tests {
    use katalyst_core::{cpu_set::CpuSet, topology::Cpu, units::Bytes};

    use super::*;

    #[test]
    fn two_sockets() {
        let cpu = |id, numa| Cpu {
            id,
            core: id,
            l3: numa * 2,
            numa,
            socket: numa,
        };
        let node = |id, other| NumaNode {
            id,
            memory: Bytes::new(4 << 30),
            cpus: CpuSet::new(),
            distances: BTreeMap::from([(id, 10), (other, 21)]),
            ..NumaNode::default()
        };
        let topology = Topology::new(
            [cpu(0, 0), cpu(1, 0), cpu(2, 1), cpu(3, 1)],
            [node(0, 1), node(1, 0)],
        );
        let json = serde_json::to_value(zones(&topology)).unwrap();
        let numa = &json[1]["children"][0];
        assert_eq!(numa["name"], "1");
        assert_eq!(numa["resources"]["capacity"]["memory"], "4Gi");
        assert_eq!(numa["attributes"][0]["value"], "2-3");
        assert_eq!(numa["siblings"][0]["attributes"][0]["value"], "21");
    }
}
