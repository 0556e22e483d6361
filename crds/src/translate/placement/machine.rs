//! The machine of a node, from the zones that its agent reports (`node-agent/src/report/zones` draws the tree).

use std::collections::BTreeMap;

use katalyst_core::{
    placement::machine::{
        Alignment, CardSpec, KubeletPolicy, Machine, MachineSpec, NicSpec, Spot, ZoneSpec,
    },
    quantity::{parse_bytes, parse_count},
    units::Bytes,
};

use crate::{
    constants::{resource, zone},
    node::{CustomNodeResource, ResourceList, TopologyZone},
    translate::{read_cpu_and_memory, read_reclaimed},
};

/// Zones are at most so deep: a tree that refers to itself cannot be written, but one of any depth can.
const DEEPEST: usize = 8;
/// Switches one below the other, at most.
const SWITCHES: usize = 8;
/// NVIDIA's number among PCI vendors.
const NVIDIA: &str = "10de:";

/// The machine, and a sentence for each zone that cannot be read.
pub fn machine(cnr: &CustomNodeResource) -> (Machine, Vec<String>) {
    let mut walk = Walk::default();
    if let Some(status) = &cnr.status {
        for zone in &status.topology_zone {
            walk.zone(zone, Above::default());
        }
        walk.spec.alignment = alignment(status.topology_policy.as_deref());
    }
    let Walk {
        mut spec,
        parents,
        threads,
        problems,
    } = walk;
    spec.threads = threads;
    let spots = (spec.cards.iter_mut().map(|card| &mut card.spot))
        .chain(spec.nics.iter_mut().map(|nic| &mut nic.spot));
    for spot in spots {
        complete(&mut spot.switches, &parents);
    }
    (Machine::new(spec), problems)
}

/// The words of the CNR's `topologyPolicy`. `Numeric` is that of a kubelet that we do not run on, whose agent binds what the scheduler chose.
fn alignment(policy: Option<&str>) -> Alignment {
    let (policy, pod_scope) = match policy {
        Some("SingleNUMANodeContainerLevel") => (KubeletPolicy::SingleNuma, false),
        Some("SingleNUMANodePodLevel") => (KubeletPolicy::SingleNuma, true),
        Some("RestrictedContainerLevel") => (KubeletPolicy::Restricted, false),
        Some("RestrictedPodLevel") => (KubeletPolicy::Restricted, true),
        _ => (KubeletPolicy::Lenient, false),
    };
    Alignment { policy, pod_scope }
}

/// Puts the switches above the nearest one before it.
fn complete(switches: &mut Vec<String>, parents: &BTreeMap<String, String>) {
    while let Some(parent) = switches.first().and_then(|first| parents.get(first)) {
        if switches.len() >= SWITCHES || switches.contains(parent) {
            return;
        }
        switches.insert(0, parent.clone());
    }
}

/// The zones around a zone.
#[derive(Clone, Copy, Default)]
struct Above {
    depth: usize,
    socket: Option<u32>,
    numa: Option<u32>,
}

#[derive(Default)]
struct Walk {
    spec: MachineSpec,
    /// Switch by switch, the one above it.
    parents: BTreeMap<String, String>,
    threads: u8,
    problems: Vec<String>,
}

impl Walk {
    fn zone(&mut self, zone: &TopologyZone, above: Above) {
        if above.depth > DEEPEST {
            return;
        }
        let mut here = Above {
            depth: above.depth + 1,
            ..above
        };
        match zone.type_.as_str() {
            zone::SOCKET => match zone.name.parse() {
                Ok(socket) => here.socket = Some(socket),
                Err(_) => self.problem(zone, "its name is no number"),
            },
            zone::NUMA => match zone.name.parse() {
                Ok(numa) => {
                    here.numa = Some(numa);
                    self.numa(zone, numa, above.socket);
                }
                Err(_) => self.problem(zone, "its name is no number"),
            },
            zone::PCIE_SWITCH => {
                if let Some(parent) = attribute(zone, "pcie_switch") {
                    let address = attribute(zone, "pci_address").unwrap_or(&zone.name);
                    self.parents.insert(address.to_owned(), parent.to_owned());
                }
            }
            zone::GPU => self.gpu(zone, above.numa),
            zone::RDMA => self.rdma(zone, above.numa),
            _ => {}
        }
        for child in zone.children.zones() {
            self.zone(child, here);
        }
    }

    fn numa(&mut self, zone: &TopologyZone, id: u32, socket: Option<u32>) {
        let empty = ResourceList::new();
        let resources = zone.resources.as_ref();
        let allocatable = resources
            .and_then(|resources| resources.allocatable.as_ref())
            .unwrap_or(&empty);
        let amounts = match read_cpu_and_memory(allocatable) {
            Ok(amounts) => amounts,
            Err(error) => return self.problem(zone, &error.to_string()),
        };
        let names_reclaimed = resource::RECLAIMED
            .iter()
            .any(|name| allocatable.contains_key(*name));
        let reclaimed = match read_reclaimed(allocatable) {
            Ok(reclaimed) => names_reclaimed.then_some(reclaimed),
            Err(error) => return self.problem(zone, &error.to_string()),
        };
        let capacity = resources
            .and_then(|resources| resources.capacity.as_ref())
            .and_then(|list| read_cpu_and_memory(list).ok());
        let cores: Option<u64> =
            attribute(zone, "physical_cores").and_then(|text| text.parse().ok());
        if let (Some(capacity), Some(cores)) = (capacity, cores.filter(|cores| *cores > 0)) {
            let threads = (capacity.cpu.get() / 1_000).div_ceil(cores);
            self.threads = self.threads.max(u8::try_from(threads).unwrap_or(1));
        }
        let distances = zone
            .siblings
            .iter()
            .filter(|sibling| sibling.type_ == zone::NUMA)
            .filter_map(|sibling| {
                let distance = sibling
                    .attributes
                    .iter()
                    .find(|attribute| attribute.name == "numa_distance")?;
                Some((sibling.name.parse().ok()?, distance.value.parse().ok()?))
            })
            .collect();
        self.spec.zones.push(ZoneSpec {
            id,
            socket: socket.unwrap_or(id),
            cpu: amounts.cpu,
            memory: amounts.memory,
            reclaimed,
            distances,
        });
    }

    fn gpu(&mut self, zone: &TopologyZone, numa: Option<u32>) {
        let uuid = attribute(zone, "uuid").unwrap_or_default().to_owned();
        let index = attribute(zone, "minor").and_then(|text| text.parse().ok());
        let list = zone
            .resources
            .as_ref()
            .and_then(|resources| resources.allocatable.as_ref());
        let amount = |name| list.and_then(|list| list.get(name));
        let milli = amount(resource::MILLIGPU).map(|amount| parse_count(&amount.0));
        let memory = amount(resource::GPU_MEMORY).map(|amount| parse_bytes(&amount.0));
        let (Ok(milli), Ok(memory)) = (milli.transpose(), memory.transpose()) else {
            return self.problem(zone, "an amount cannot be read");
        };
        // A card that is partly out of order is out of order.
        let whole = milli.is_none_or(|milli| milli >= 1_000);
        let has_name = !uuid.is_empty() || index.is_some();
        if !has_name {
            self.problem(zone, "it has neither UUID nor device number");
        }
        let links = zone
            .siblings
            .iter()
            .filter(|sibling| sibling.type_ == zone::GPU)
            .filter_map(|sibling| {
                let links = sibling
                    .attributes
                    .iter()
                    .find(|attribute| attribute.name == "nvlinks")?;
                Some((sibling.name.clone(), links.value.parse().ok()?))
            })
            .collect();
        self.spec.cards.push(CardSpec {
            uuid,
            index,
            model: attribute(zone, "model").unwrap_or_default().to_owned(),
            memory: memory.unwrap_or(Bytes::ZERO),
            healthy: whole && has_name,
            nvidia: attribute(zone, "pci_id").is_some_and(|id| id.starts_with(NVIDIA)),
            spot: spot(zone, numa),
            links,
        });
    }

    fn rdma(&mut self, zone: &TopologyZone, numa: Option<u32>) {
        let interface = attribute(zone, "interfaces").and_then(|names| names.split(',').next());
        let active = attribute(zone, "active_ports").is_none_or(|ports| ports != "0");
        self.spec.nics.push(NicSpec {
            name: zone.name.clone(),
            interface: interface.map(str::to_owned),
            up: active,
            rail: attribute(zone, "rail").and_then(|text| text.parse().ok()),
            spot: spot(zone, numa),
        });
    }

    fn problem(&mut self, zone: &TopologyZone, what: &str) {
        let TopologyZone { type_, name, .. } = zone;
        self.problems
            .push(format!("status.topologyZone: {type_} {name}: {what}"));
    }
}

fn spot(zone: &TopologyZone, numa: Option<u32>) -> Spot {
    Spot {
        address: attribute(zone, "pci_address")
            .unwrap_or(&zone.name)
            .to_owned(),
        root: attribute(zone, "pcie_root").unwrap_or_default().to_owned(),
        switches: attribute(zone, "pcie_switch")
            .map(str::to_owned)
            .into_iter()
            .collect(),
        numa,
    }
}

fn attribute<'a>(zone: &'a TopologyZone, name: &str) -> Option<&'a str> {
    zone.attributes
        .iter()
        .find(|attribute| attribute.name == name)
        .map(|attribute| attribute.value.as_str())
}
