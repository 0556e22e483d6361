//! NVML, NVIDIA's management library, loaded at run time (`libnvidia-ml.so.1`).
//!
//! It is opened for one reading and closed again: an open handle keeps the driver's module in use and would block its upgrade. A GPU that cannot be
//! asked (fallen off the bus, drained) costs itself only.

use std::collections::BTreeMap;

use katalyst_core::{topology::devices::PciAddress, units::Bytes};
use nvml_wrapper::{Device, Nvml, error::NvmlError};

use super::gpu::{GpuFacts, GpuLibrary};

/// NVLinks of one GPU; Blackwell has 18.
const LINKS: u32 = 18;

/// NVML.
#[derive(Debug, Clone, Copy, Default)]
pub struct NvmlLibrary;

impl GpuLibrary for NvmlLibrary {
    fn gpus(&self) -> Result<BTreeMap<PciAddress, GpuFacts>, String> {
        let nvml = Nvml::init().map_err(|error| format!("NVML: {error}"))?;
        let count = nvml
            .device_count()
            .map_err(|error| format!("NVML: counting GPUs: {error}"))?;
        Ok((0..count)
            .filter_map(|index| facts(&nvml.device_by_index(index).ok()?).ok().flatten())
            .collect())
    }
}

fn facts(device: &Device<'_>) -> Result<Option<(PciAddress, GpuFacts)>, NvmlError> {
    let Some(address) = address(&device.pci_info()?.bus_id) else {
        return Ok(None);
    };
    let mut links = BTreeMap::new();
    for link in 0..LINKS {
        let link = device.link_wrapper_for(link);
        if !link.is_active().unwrap_or(false) {
            continue;
        }
        // Behind an NVSwitch the other end is the switch, not a GPU; the caller keeps what is a GPU.
        if let Ok(remote) = link.remote_pci_info()
            && let Some(remote) = self::address(&remote.bus_id)
        {
            *links.entry(remote).or_insert(0) += 1;
        }
    }
    Ok(Some((
        address,
        GpuFacts {
            uuid: device.uuid().ok(),
            model: device.name().ok(),
            memory: device
                .memory_info()
                .ok()
                .map(|memory| Bytes::new(memory.total)),
            minor: device.minor_number().ok(),
            links,
        },
    )))
}

/// NVML writes `00000000:3B:00.0`, the kernel `0000:3b:00.0`.
fn address(bus_id: &str) -> Option<PciAddress> {
    bus_id.to_ascii_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_spellings_are_one() {
        assert_eq!(address("00000000:3B:00.0"), "0000:3b:00.0".parse().ok());
        assert_eq!(address("GPU"), None);
    }

    #[test]
    fn a_machine_without_driver_is_an_answer() {
        // On a machine with one, this reads it.
        match NvmlLibrary.gpus() {
            Ok(gpus) => assert!(gpus.values().all(|gpu| gpu.uuid.is_some())),
            Err(reason) => assert!(reason.starts_with("NVML: "), "{reason}"),
        }
    }
}
