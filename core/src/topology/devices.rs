//! GPUs, network cards and RDMA devices with their place on the PCI Express tree.
//!
//! Placement asks how near two devices are: traffic between two that share a switch never reaches a processor, traffic between two root
//! complexes of one NUMA node crosses one, and beyond that it crosses the link between sockets. The levels are those that NVIDIA's tools and NCCL
//! name PIX, PXB, PHB, NODE and SYS.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Topology;
use crate::units::Bytes;

/// A PCI function: `0000:3b:00.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    /// Domain; beyond 16 bits behind a virtual root such as VMD.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device on the bus, 0 to 31.
    pub slot: u8,
    /// Function of the device, 0 to 7.
    pub function: u8,
}

/// A text that is no PCI address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a PCI address such as 0000:3b:00.0")]
pub struct PciAddressError(String);

impl FromStr for PciAddress {
    type Err = PciAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |part: &str, digits: std::ops::RangeInclusive<usize>| {
            let plain =
                digits.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            u32::from_str_radix(part, 16).ok().filter(|_| plain)
        };
        let parse = || {
            let (domain, rest) = text.split_once(':')?;
            let (bus, rest) = rest.split_once(':')?;
            let (slot, function) = rest.split_once('.')?;
            Some(Self {
                domain: hex(domain, 4..=8)?,
                bus: u8::try_from(hex(bus, 2..=2)?).ok()?,
                slot: u8::try_from(hex(slot, 2..=2)?)
                    .ok()
                    .filter(|slot| *slot < 32)?,
                function: u8::try_from(hex(function, 1..=1)?)
                    .ok()
                    .filter(|f| *f < 8)?,
            })
        };
        parse().ok_or_else(|| PciAddressError(text.chars().take(40).collect()))
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            domain,
            bus,
            slot,
            function,
        } = self;
        write!(f, "{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")
    }
}

impl Serialize for PciAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PciAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a function hangs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciPlace {
    /// The function.
    pub address: PciAddress,
    /// Its root complex, as the kernel names it: `pci0000:3a`.
    pub root: String,
    /// Bridges from the root down to the function: a root port, then upstream and downstream port of each switch.
    pub bridges: Vec<PciAddress>,
    /// NUMA node, where the firmware says.
    pub numa: Option<u32>,
}

impl PciPlace {
    /// Upstream ports of the switches it hangs below, the nearest to the root first. A path alternates: root port, upstream port, downstream
    /// port, and again up and down for a switch below a switch.
    pub fn switches(&self) -> impl DoubleEndedIterator<Item = PciAddress> + '_ {
        self.bridges.iter().skip(1).step_by(2).copied()
    }

    /// The nearest switch.
    pub fn switch(&self) -> Option<PciAddress> {
        self.switches().next_back()
    }

    /// The switch nearest to both, `None` where their paths meet in a root complex or not at all.
    pub fn common_switch(&self, other: &Self) -> Option<PciAddress> {
        if self.root != other.root {
            return None;
        }
        let shared = self
            .bridges
            .iter()
            .zip(&other.bridges)
            .take_while(|(ours, theirs)| ours == theirs)
            .count();
        // The last upstream port among those shared, at an odd position.
        self.bridges
            .iter()
            .take(shared)
            .skip(1)
            .step_by(2)
            .next_back()
            .copied()
    }

    /// How near the other is. NUMA nodes of one socket count as apart: traffic between them leaves the node.
    pub fn nearness(&self, other: &Self) -> Nearness {
        if self.address == other.address {
            return Nearness::Same;
        }
        if let Some(switch) = self.common_switch(other) {
            return if self.switch() == Some(switch) && other.switch() == Some(switch) {
                Nearness::Switch
            } else {
                Nearness::Switches
            };
        }
        if self.root == other.root {
            return Nearness::Root;
        }
        match (self.numa, other.numa) {
            (Some(ours), Some(theirs)) if ours == theirs => Nearness::Numa,
            _ => Nearness::System,
        }
    }
}

/// How near two functions are, the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Nearness {
    /// One function.
    Same,
    /// Below one switch (PIX).
    Switch,
    /// Below one switch, with another switch between (PXB).
    Switches,
    /// Below one root complex (PHB).
    Root,
    /// At root complexes of one NUMA node (NODE).
    Numa,
    /// Farther, or unknown (SYS).
    System,
}

/// A PCI Express switch that devices of interest hang below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Its upstream port, with the switches it hangs below itself.
    pub place: PciPlace,
}

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// Its place.
    pub place: PciPlace,
    /// PCI vendor: 0x10de NVIDIA, 0x1002 AMD, 0x8086 Intel.
    pub vendor: u16,
    /// PCI device of that vendor.
    pub device: u16,
    /// The driver's identity of the card, stable over reboots: `GPU-...`.
    pub uuid: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// N of `/dev/nvidiaN`.
    pub minor: Option<u32>,
    /// Direct links to other GPUs (NVLink), by address: how many.
    pub links: BTreeMap<PciAddress, u32>,
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Its place.
    pub place: PciPlace,
    /// Its interfaces in the host's network namespace, ascending by name.
    pub interfaces: Vec<Interface>,
    /// SR-IOV functions that are switched on.
    pub virtual_functions: u32,
}

/// An interface of a network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Whether it carries traffic (RFC 2863 `up`).
    pub up: bool,
    /// Speed, megabits a second, while the link is up and the driver knows.
    pub megabits: Option<u64>,
}

/// An RDMA device: InfiniBand or RoCE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rdma {
    /// Name: `mlx5_0`.
    pub name: String,
    /// Its place.
    pub place: PciPlace,
    /// Its ports, ascending by number.
    pub ports: Vec<RdmaPort>,
}

/// A port of an RDMA device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdmaPort {
    /// Number, from 1.
    pub number: u32,
    /// Whether it passes data.
    pub active: bool,
    /// Rate, megabits a second.
    pub megabits: Option<u64>,
    /// `InfiniBand` or `Ethernet`.
    pub link_layer: Option<String>,
}

/// The devices of a machine, each list ascending by PCI address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Devices {
    /// Switches above any of the others.
    pub switches: Vec<Switch>,
    /// GPUs.
    pub gpus: Vec<Gpu>,
    /// Network cards.
    pub nics: Vec<Nic>,
    /// RDMA devices.
    pub rdma: Vec<Rdma>,
}

impl Devices {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.gpus.is_empty() && self.nics.is_empty() && self.rdma.is_empty()
    }

    /// NUMA node of a place on that machine: the firmware's word, or the only node there is. Firmware names nodes that are not online, too.
    pub fn numa_of(place: &PciPlace, topology: &Topology) -> Option<u32> {
        let mut nodes = topology.numa_nodes().map(|node| node.id);
        let told = place
            .numa
            .filter(|node| topology.numa_node(*node).is_some());
        let only = match (nodes.next(), nodes.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        };
        told.or(only)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> PciAddress {
        text.parse().unwrap()
    }

    fn place(root: &str, path: &[&str], numa: Option<u32>) -> PciPlace {
        let (last, bridges) = path.split_last().unwrap();
        PciPlace {
            address: address(last),
            root: root.to_owned(),
            bridges: bridges.iter().map(|bridge| address(bridge)).collect(),
            numa,
        }
    }

    #[test]
    fn addresses() {
        for text in ["0000:3b:00.0", "10000:e1:1f.7", "ffff:ff:00.1"] {
            assert_eq!(address(text).to_string(), text);
        }
        for text in [
            "0000:3b:00",
            "0000:3b:20.0",
            "0000:3b:00.8",
            "000:3b:00.0",
            "0000:3b:0.0",
            "0000:+b:00.0",
            "",
        ] {
            assert!(text.parse::<PciAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn nearness_on_a_server_with_switches() {
        let port = ["0000:3a:01.0", "0000:3b:00.0"];
        let gpu = place(
            "pci0000:3a",
            &[port[0], port[1], "0000:3c:04.0", "0000:3d:00.0"],
            Some(0),
        );
        let nic = place(
            "pci0000:3a",
            &[port[0], port[1], "0000:3c:08.0", "0000:3e:00.0"],
            Some(0),
        );
        let second_function = place(
            "pci0000:3a",
            &[port[0], port[1], "0000:3c:08.0", "0000:3e:00.1"],
            Some(0),
        );
        let below_a_second_switch = place(
            "pci0000:3a",
            &[
                port[0],
                port[1],
                "0000:3c:0c.0",
                "0000:40:00.0",
                "0000:41:00.0",
                "0000:42:00.0",
            ],
            Some(0),
        );
        let other_port = place("pci0000:3a", &["0000:3a:02.0", "0000:50:00.0"], Some(0));
        let other_root = place("pci0000:5c", &["0000:5c:01.0", "0000:5d:00.0"], Some(0));
        let other_node = place("pci0000:85", &["0000:85:01.0", "0000:86:00.0"], Some(1));
        let nowhere = place("pci0000:d0", &["0000:d0:01.0", "0000:d1:00.0"], None);
        for (other, expected) in [
            (&gpu, Nearness::Same),
            (&nic, Nearness::Switch),
            (&second_function, Nearness::Switch),
            (&below_a_second_switch, Nearness::Switches),
            (&other_port, Nearness::Root),
            (&other_root, Nearness::Numa),
            (&other_node, Nearness::System),
            (&nowhere, Nearness::System),
        ] {
            assert_eq!(gpu.nearness(other), expected, "{other:?}");
            assert_eq!(other.nearness(&gpu), expected, "{other:?}");
        }
        assert_eq!(gpu.switch(), Some(address("0000:3b:00.0")));
        assert_eq!(
            nic.nearness(&second_function),
            Nearness::Switch,
            "two functions of a card below one downstream port"
        );
        assert_eq!(other_port.switch(), None, "a root port is no switch");
        assert_eq!(
            below_a_second_switch.switches().collect::<Vec<_>>(),
            [address("0000:3b:00.0"), address("0000:40:00.0")]
        );
    }

    #[test]
    fn firmware_that_says_nothing_on_one_node() {
        use crate::topology::NumaNode;
        let node = |id| NumaNode {
            id,
            ..NumaNode::default()
        };
        let unknown = place("pci0000:00", &["0000:00:03.0"], None);
        let wrong = place("pci0000:00", &["0000:00:03.0"], Some(9));
        let one = Topology::new([], [node(4)]);
        let two = Topology::new([], [node(0), node(1)]);
        assert_eq!(Devices::numa_of(&unknown, &one), Some(4));
        assert_eq!(Devices::numa_of(&wrong, &one), Some(4));
        assert_eq!(Devices::numa_of(&unknown, &two), None);
        assert_eq!(Devices::numa_of(&wrong, &two), None);
    }

    proptest! {
        #[test]
        fn nearness_is_symmetric(a in path(), b in path()) {
            prop_assert_eq!(a.nearness(&b), b.nearness(&a));
            prop_assert_eq!(a.common_switch(&b), b.common_switch(&a));
        }

        #[test]
        fn addresses_read_back(domain in any::<u32>(), bus in any::<u8>(), slot in 0_u8..32, function in 0_u8..8) {
            let address = PciAddress { domain, bus, slot, function };
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }

    /// A place in a small tree, so that paths share beginnings.
    fn path() -> impl Strategy<Value = PciPlace> {
        (
            0_u32..2,
            prop::collection::vec(0_u8..2, 1..6),
            prop::option::of(0_u32..2),
        )
            .prop_map(|(domain, turns, numa)| {
                let mut bus = 0_u8;
                let mut path: Vec<PciAddress> = turns
                    .into_iter()
                    .map(|slot| {
                        let at = PciAddress {
                            domain,
                            bus,
                            slot,
                            function: 0,
                        };
                        bus = bus.wrapping_mul(2).wrapping_add(slot + 1);
                        at
                    })
                    .collect();
                let address = path.pop().unwrap();
                PciPlace {
                    address,
                    root: format!("pci{domain:04x}:00"),
                    bridges: path,
                    numa,
                }
            })
    }
}
