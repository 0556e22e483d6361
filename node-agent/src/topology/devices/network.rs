//! Network cards and RDMA devices (Documentation/ABI/testing/sysfs-class-net, stable/sysfs-class-infiniband).
//!
//! SR-IOV functions are no cards of their own: there can be hundreds, they come and go with pods, and the card they belong to says how many there
//! are. Interfaces are seen while they are in the host's network namespace.

use std::{fs, path::Path};

use katalyst_core::topology::devices::{Interface, Nic, Rdma, RdmaPort};

use super::pci::{Function, SUBJECT};
use crate::{
    cgroup::file,
    kernel::{infiniband, number},
    topology::Found,
};

/// PCI base class of network controllers.
const NETWORK: u32 = 0x02;
/// A bound for directories that list few things.
const ENTRIES: usize = 64;

pub(super) fn is_nic(function: &Function) -> bool {
    function.base_class() == NETWORK && !function.is_virtual
}

pub(super) fn read_nic(function: &Function, notes: &mut Found) -> Nic {
    let mut interfaces: Vec<Interface> = names(&function.dir.join("net"))
        .into_iter()
        .map(|name| interface(&function.dir.join("net").join(&name), name))
        .collect();
    for child in names(&function.dir) {
        if child.starts_with("virtio") {
            let net = function.dir.join(&child).join("net");
            interfaces.extend(
                names(&net)
                    .into_iter()
                    .map(|name| interface(&net.join(&name), name)),
            );
        }
    }
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    let functions = notes.value(SUBJECT, &function.dir.join("sriov_numvfs"), number::parse);
    Nic {
        place: function.place.clone(),
        interfaces,
        virtual_functions: functions
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0),
    }
}

fn interface(dir: &Path, name: String) -> Interface {
    let state = file::read(&dir.join("operstate"));
    // `speed` answers EINVAL while the link is down, and -1 where the driver does not know.
    let speed = file::read(&dir.join("speed"))
        .ok()
        .and_then(|text| number::parse(&text));
    let up = state.is_ok_and(|text| text.trim() == "up");
    Interface {
        name,
        up,
        megabits: speed.filter(|megabits| up && *megabits > 0 && *megabits < u64::from(u32::MAX)),
    }
}

/// The RDMA devices of a function; one as a rule.
pub(super) fn read_rdma(function: &Function, notes: &mut Found) -> Vec<Rdma> {
    if function.is_virtual {
        return Vec::new();
    }
    let base = function.dir.join("infiniband");
    names(&base)
        .into_iter()
        .map(|name| {
            let ports = base.join(&name).join("ports");
            let mut ports: Vec<RdmaPort> = names(&ports)
                .into_iter()
                .filter_map(|number| read_port(&ports, &number, notes))
                .collect();
            ports.sort_by_key(|port| port.number);
            Rdma {
                name,
                place: function.place.clone(),
                ports,
            }
        })
        .collect()
}

fn read_port(ports: &Path, number: &str, notes: &mut Found) -> Option<RdmaPort> {
    let dir = ports.join(number);
    let active = notes.value(SUBJECT, &dir.join("state"), infiniband::parse_active);
    Some(RdmaPort {
        number: number.parse().ok()?,
        active: active == Some(true),
        megabits: notes.value(SUBJECT, &dir.join("rate"), infiniband::parse_rate),
        link_layer: file::read(&dir.join("link_layer"))
            .ok()
            .map(|text| text.trim().chars().take(32).collect())
            .filter(|text: &String| !text.is_empty()),
    })
}

/// Names in a directory, ascending, bounded; none where there is no such directory.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names.truncate(ENTRIES);
    names
}
