//! Switches, GPUs, network cards and RDMA devices.

use katalyst_core::topology::devices::{Devices, Gpu, Nic, PciPlace, Rdma, Switch};
use katalyst_crds::{
    constants::{resource, zone},
    node::{Attribute, ResourceList, Resources, Sibling, TopologyZone},
};

use super::{allocation::Taken, attribute, bytes, count, named};

/// A GPU's compute in thousandths.
const WHOLE: u64 = 1_000;
/// No machine has more devices of a kind; what is beyond is left out, so that a fault of firmware cannot make a report that is refused.
const EACH_KIND: usize = 128;

/// The zone of each device with its NUMA node, in the order of kind and address.
pub(super) fn zones(devices: &Devices, taken: &mut Taken) -> Vec<(Option<u32>, TopologyZone)> {
    let mut zones = Vec::new();
    for switch in devices.switches.iter().take(EACH_KIND) {
        zones.push((switch.place.numa, switch_zone(switch)));
    }
    for gpu in devices.gpus.iter().take(EACH_KIND) {
        zones.push((gpu.place.numa, gpu_zone(gpu, devices, taken)));
    }
    for nic in devices.nics.iter().take(EACH_KIND) {
        zones.push((nic.place.numa, nic_zone(nic, taken)));
    }
    for rdma in devices.rdma.iter().take(EACH_KIND) {
        zones.push((rdma.place.numa, rdma_zone(rdma, devices, taken)));
    }
    zones
}

fn place(place: &PciPlace) -> Vec<Attribute> {
    let mut attributes = vec![
        attribute("pci_address", &place.address),
        attribute("pcie_root", &&place.root),
    ];
    if let Some(switch) = place.switch() {
        attributes.push(attribute("pcie_switch", &switch));
    }
    attributes
}

fn switch_zone(switch: &Switch) -> TopologyZone {
    TopologyZone {
        attributes: place(&switch.place),
        ..named(zone::PCIE_SWITCH, &switch.place.address)
    }
}

fn gpu_zone(gpu: &Gpu, devices: &Devices, taken: &mut Taken) -> TopologyZone {
    let mut attributes = place(&gpu.place);
    attributes.push(attribute(
        "pci_id",
        &format!("{:04x}:{:04x}", gpu.vendor, gpu.device),
    ));
    for (name, value) in [
        ("uuid", gpu.uuid.clone()),
        ("model", gpu.model.clone()),
        ("minor", gpu.minor.map(|minor| minor.to_string())),
    ] {
        attributes.extend(value.map(|value| attribute(name, &value)));
    }
    let mut list = ResourceList::from([(resource::MILLIGPU.to_owned(), count(WHOLE))]);
    if let Some(memory) = gpu.memory {
        list.insert(resource::GPU_MEMORY.to_owned(), bytes(memory));
    }
    TopologyZone {
        resources: Some(all_of(list)),
        attributes,
        allocations: taken.gpu(gpu.place.address),
        siblings: devices
            .gpus
            .iter()
            .filter_map(|other| {
                let links = gpu.links.get(&other.place.address)?;
                Some(Sibling {
                    type_: zone::GPU.to_owned(),
                    name: other.place.address.to_string(),
                    attributes: vec![attribute("nvlinks", &links)],
                })
            })
            .collect(),
        ..named(zone::GPU, &gpu.place.address)
    }
}

/// Named after its first interface, as Katalyst's annotations name a card; after its address while it has none.
fn nic_zone(nic: &Nic, taken: &mut Taken) -> TopologyZone {
    let names: Vec<&str> = nic
        .interfaces
        .iter()
        .map(|interface| interface.name.as_str())
        .collect();
    let mut attributes = place(&nic.place);
    if !names.is_empty() {
        attributes.push(attribute("interfaces", &names.join(",")));
    }
    let up = nic.interfaces.iter().any(|interface| interface.up);
    attributes.push(attribute("up", &up));
    if nic.virtual_functions > 0 {
        attributes.push(attribute("virtual_functions", &nic.virtual_functions));
    }
    // Interfaces of one function share its link.
    let megabits = nic
        .interfaces
        .iter()
        .filter_map(|interface| interface.megabits)
        .max();
    let name = names
        .first()
        .map_or_else(|| nic.place.address.to_string(), |name| (*name).to_owned());
    TopologyZone {
        resources: megabits.map(|megabits| {
            all_of(ResourceList::from([(
                resource::NET_BANDWIDTH.to_owned(),
                count(megabits),
            )]))
        }),
        attributes,
        allocations: taken.card(&names),
        ..named(zone::NIC, &name)
    }
}

fn rdma_zone(rdma: &Rdma, devices: &Devices, taken: &mut Taken) -> TopologyZone {
    let mut attributes = place(&rdma.place);
    let active: Vec<_> = rdma.ports.iter().filter(|port| port.active).collect();
    attributes.push(attribute("ports", &rdma.ports.len()));
    attributes.push(attribute("active_ports", &active.len()));
    if let Some(rate) = active.iter().filter_map(|port| port.megabits).max() {
        attributes.push(attribute("rate_mbps", &rate));
    }
    if let Some(layer) = rdma.ports.iter().find_map(|port| port.link_layer.clone()) {
        attributes.push(attribute("link_layer", &layer));
    }
    let interfaces: Vec<&str> = devices
        .nics
        .iter()
        .filter(|nic| nic.place.address == rdma.place.address)
        .flat_map(|nic| nic.interfaces.iter().map(|each| each.name.as_str()))
        .collect();
    if !interfaces.is_empty() {
        attributes.push(attribute("interfaces", &interfaces.join(",")));
    }
    TopologyZone {
        attributes,
        allocations: taken.card(&[&rdma.name]),
        ..named(zone::RDMA, &rdma.name)
    }
}

/// Nothing of a device is kept back.
fn all_of(list: ResourceList) -> Resources {
    Resources {
        capacity: Some(list.clone()),
        allocatable: Some(list),
        ..Resources::default()
    }
}
