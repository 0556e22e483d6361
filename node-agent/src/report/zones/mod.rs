//! The machine as the CNR's tree of zones.
//!
//! ```text
//! Socket 0                     capacity: cpu, memory
//! └─ Numa 0                    capacity, allocatable, allocations: cpu, memory; attributes: cpu_list, physical_cores; siblings: numa_distance
//!    ├─ L3CacheGroup 0         capacity, allocatable: cpu; attributes: cpu_list      (where a node has several)
//!    ├─ PCIeSwitch 0000:3b:00.0  attributes: pci_address, pcie_root, pcie_switch
//!    ├─ GPU 0000:3d:00.0       capacity, allocatable, allocations: milligpu, gpu_memory; attributes: uuid, model, ...; siblings: nvlinks
//!    ├─ NIC eth0               capacity, allocatable: net_bandwidth; attributes: pci_address, pcie_switch, ...
//!    └─ RDMA mlx5_0            attributes: rate, link_layer, interfaces, ...
//! ```
//!
//! Kinds, nesting and attribute names up to the NUMA node are Katalyst's; `PCIeSwitch` and `RDMA` are additive. Devices hang below their NUMA node and
//! name their switch in an attribute, so that a reader that knows no switches finds GPUs where Katalyst puts them. Where the firmware does not tell a
//! device's node, its zone stands at the top.
//!
//! Everything is a pure function of what was sensed and of the pods: the same inputs give the same tree in the same order, and nothing in it changes
//! from second to second. The API server replaces `children` as a whole, so what is not reported any more disappears.

mod allocation;
mod cpu;
mod device;
#[cfg(test)]
mod tests;

pub use allocation::{Consumer, GpuShare};

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use katalyst_core::{cpu_set::CpuSet, quantity::format_bytes, topology::NumaNode, units::Bytes};
use katalyst_crds::node::{Attribute, TopologyZone, ZoneChildren};

use crate::topology::Sensed;

/// The schema takes no more zones at the top.
const TOP: usize = 128;

/// What the tree is made of.
#[derive(Debug, Clone, Copy)]
pub struct ZoneInput<'a> {
    /// The machine.
    pub sensed: &'a Sensed,
    /// CPUs that are given to nobody.
    pub reserved: &'a CpuSet,
    /// Pods that hold a part of a zone.
    pub consumers: &'a [Consumer],
}

/// The tree, and a sentence for each consumer that names what the machine does not have; such a consumer costs itself only.
pub fn zones(input: ZoneInput<'_>) -> (Vec<TopologyZone>, Vec<String>) {
    let topology = &input.sensed.topology;
    let mut taken = allocation::Taken::of(input.sensed, input.consumers);
    let mut below: BTreeMap<Option<u32>, Vec<TopologyZone>> = BTreeMap::new();
    for (node, zone) in device::zones(&input.sensed.devices, &mut taken) {
        below.entry(node).or_default().push(zone);
    }
    let mut sockets: BTreeMap<u32, Vec<&NumaNode>> = BTreeMap::new();
    for node in topology.numa_nodes() {
        sockets.entry(node.socket).or_default().push(node);
    }
    let mut zones: Vec<TopologyZone> = sockets
        .into_iter()
        .map(|(socket, nodes)| {
            let children = nodes
                .iter()
                .map(|node| {
                    let devices = below.remove(&Some(node.id)).unwrap_or_default();
                    cpu::numa(topology, node, input.reserved, &mut taken, devices)
                })
                .collect();
            cpu::socket(socket, &nodes, input.reserved, children)
        })
        .collect();
    // Only those of no node are left: what is reported names only nodes that there are.
    zones.extend(below.into_values().flatten());
    zones.truncate(TOP);
    (zones, taken.problems)
}

fn named(kind: &str, name: &impl ToString) -> TopologyZone {
    TopologyZone {
        type_: kind.to_owned(),
        name: name.to_string(),
        ..TopologyZone::default()
    }
}

fn attribute(name: &str, value: &impl ToString) -> Attribute {
    /// The schema takes no longer values.
    const LONGEST: usize = 4_096;
    let mut value = value.to_string();
    if value.len() > LONGEST {
        value = value.chars().take(LONGEST / 4).collect();
    }
    Attribute {
        name: name.to_owned(),
        value,
    }
}

fn count(number: u64) -> Quantity {
    Quantity(number.to_string())
}

fn bytes(of: Bytes) -> Quantity {
    Quantity(format_bytes(of))
}

fn children(zones: Vec<TopologyZone>) -> ZoneChildren {
    ZoneChildren::Zones(zones)
}
