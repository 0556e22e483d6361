//! The functions of the PCI tree and the way from a root complex to each.

use std::{collections::BTreeMap, fs, io, path::Path, path::PathBuf};

use katalyst_core::topology::devices::{PciAddress, PciPlace};

use crate::{kernel::pci, topology::Found};

pub(super) const SUBJECT: &str = "topology: PCI";
/// More functions than any machine has (256 buses of 256 in one domain; real ones have hundreds).
const FUNCTIONS: usize = 65_536;

/// A PCI function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) place: PciPlace,
    /// Base class, sub-class and interface: `0x030200`.
    pub(super) class: u32,
    pub(super) vendor: u16,
    pub(super) device: u16,
    /// An SR-IOV function of another one.
    pub(super) is_virtual: bool,
    /// Its files.
    pub(super) dir: PathBuf,
}

impl Function {
    /// The upper byte of the class.
    pub(super) fn base_class(&self) -> u32 {
        self.class >> 16
    }
}

/// Every function that tells its class and identity, by address.
pub(super) fn read(root: &Path, notes: &mut Found) -> BTreeMap<PciAddress, Function> {
    let base = root.join("sys/bus/pci/devices");
    let entries = match fs::read_dir(&base) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            notes.add(
                SUBJECT,
                "no /sys/bus/pci/devices; GPUs, network cards and RDMA devices are not reported",
            );
            return BTreeMap::new();
        }
        Err(error) => {
            notes.add(SUBJECT, format!("cannot list {}: {error}", base.display()));
            return BTreeMap::new();
        }
    };
    let mut functions = BTreeMap::new();
    for entry in entries.filter_map(Result::ok).take(FUNCTIONS) {
        let dir = entry.path();
        let Ok(link) = fs::read_link(&dir) else {
            continue;
        };
        let Some(mut place) = place_of(&link) else {
            notes.add(
                SUBJECT,
                format!(
                    "{} leads to {}, which is no way from a PCI root; it is left out",
                    dir.display(),
                    link.display()
                ),
            );
            continue;
        };
        let class = notes.value(SUBJECT, &dir.join("class"), pci::parse_class);
        let vendor = notes.value(SUBJECT, &dir.join("vendor"), pci::parse_id);
        let device = notes.value(SUBJECT, &dir.join("device"), pci::parse_id);
        let (Some(class), Some(vendor), Some(device)) = (class, vendor, device) else {
            continue;
        };
        place.numa = notes
            .value(SUBJECT, &dir.join("numa_node"), pci::parse_numa_node)
            .flatten();
        let function = Function {
            class,
            vendor,
            device,
            is_virtual: dir.join("physfn").exists(),
            dir,
            place,
        };
        functions.insert(function.place.address, function);
    }
    functions
}

/// The way that a link of `/sys/bus/pci/devices` describes: `../../../devices/pci0000:3a/0000:3a:01.0/0000:3b:00.0`. Roots may lie below
/// other buses (Hyper-V, device tree) and below a function (VMD): the last one counts.
fn place_of(link: &Path) -> Option<PciPlace> {
    let names: Vec<&str> = link
        .components()
        .map(|component| component.as_os_str().to_str())
        .collect::<Option<_>>()?;
    let root = names.iter().rposition(|name| pci::is_root(name))?;
    let (root, way) = names.get(root..)?.split_first()?;
    let mut bridges: Vec<PciAddress> = way
        .iter()
        .map(|name| name.parse().ok())
        .collect::<Option<_>>()?;
    let address = bridges.pop()?;
    Some(PciPlace {
        address,
        root: (*root).to_owned(),
        bridges,
        numa: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways() {
        let place = |link: &str| place_of(Path::new(link));
        let switched = place(
            "../../../devices/pci0000:3a/0000:3a:01.0/0000:3b:00.0/0000:3c:04.0/0000:3d:00.0",
        )
        .unwrap();
        assert_eq!(
            (switched.root.as_str(), switched.bridges.len()),
            ("pci0000:3a", 3)
        );
        assert_eq!(switched.switch().unwrap().to_string(), "0000:3b:00.0");

        let hyper_v = place(
            "../../../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/47505500-0001/pci0001:00/0001:00:00.0",
        )
        .unwrap();
        assert_eq!(
            (hyper_v.root.as_str(), hyper_v.bridges.len()),
            ("pci0001:00", 0)
        );

        let vmd = place(
            "../../../devices/pci0000:5d/0000:5d:05.5/pci10000:00/10000:00:02.0/10000:01:00.0",
        )
        .unwrap();
        assert_eq!((vmd.root.as_str(), vmd.bridges.len()), ("pci10000:00", 1));

        for odd in [
            "../../../devices/virtual/x",
            "pci0000:00",
            "pci0000:00/usb1",
        ] {
            assert_eq!(place(odd), None, "{odd}");
        }
    }
}
