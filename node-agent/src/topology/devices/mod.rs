//! GPUs, network cards and RDMA devices, from the PCI tree of `/sys`.
//!
//! | what | from | missing |
//! |---|---|---|
//! | functions and bridges above them | the links of `/sys/bus/pci/devices` | no device is reported, and a note |
//! | class, vendor, NUMA node | `class`, `vendor`, `device`, `numa_node` of each | that function is left out; NUMA node unknown |
//! | interfaces of a card | `net/*` below it (`virtioN/net/*` for virtio) | a card without interfaces |
//! | RDMA devices | `infiniband/*` below it | none |
//! | model, UUID, memory of a GPU | NVML, `/proc/driver/nvidia`, amdgpu's files | unknown, and a note: see [`gpu`] |
//!
//! Only links and small text files are read: neither the configuration space nor anything that needs a capability.

pub mod gpu;
mod network;
#[cfg(all(feature = "nvml", not(target_feature = "crt-static")))]
pub mod nvml;
mod pci;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path};

use katalyst_core::topology::{
    Topology,
    devices::{Devices, PciAddress, PciPlace, Switch},
};

use self::gpu::GpuFacts;
use super::{Found, Note};

/// Reads the devices under `root`. `topology` settles the NUMA node where the firmware is silent; `facts` is what a GPU library knows.
pub fn read(
    root: &Path,
    topology: &Topology,
    facts: &BTreeMap<PciAddress, GpuFacts>,
) -> (Devices, Vec<Note>) {
    let mut notes = Found::default();
    let mut functions = pci::read(root, &mut notes);
    for function in functions.values_mut() {
        function.place.numa = Devices::numa_of(&function.place, topology);
    }
    let mut devices = Devices::default();
    for function in functions.values() {
        if gpu::is_gpu(function) {
            devices
                .gpus
                .push(gpu::read(root, function, facts, &mut notes));
        }
        if network::is_nic(function) {
            devices.nics.push(network::read_nic(function, &mut notes));
        }
        devices
            .rdma
            .extend(network::read_rdma(function, &mut notes));
    }
    devices.switches = switches(&devices, &functions);
    let mut notes = notes.0;
    notes.sort();
    notes.dedup();
    (devices, notes)
}

/// The switches above any device, with the switches above those.
fn switches(devices: &Devices, functions: &BTreeMap<PciAddress, pci::Function>) -> Vec<Switch> {
    let mut ports: BTreeMap<PciAddress, &PciPlace> = BTreeMap::new();
    let below = (devices.gpus.iter().map(|gpu| &gpu.place))
        .chain(devices.nics.iter().map(|nic| &nic.place))
        .chain(devices.rdma.iter().map(|rdma| &rdma.place));
    for port in below.flat_map(PciPlace::switches) {
        if let Some(function) = functions.get(&port) {
            ports.insert(port, &function.place);
        }
    }
    ports
        .into_values()
        .map(|place| Switch {
            place: place.clone(),
        })
        .collect()
}
