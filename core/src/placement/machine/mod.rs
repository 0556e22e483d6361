//! What a node has, as the search for devices and NUMA nodes reads it: small numbers and bit sets instead of names.
//!
//! Nearness of devices is a ladder of [`Scope`]s. At each, devices fall into groups (equal switch, equal root complex, ...), which are numbered: two
//! devices are that near when their numbers are equal. A device whose place at some scope is unknown is in a group of its own there, so
//! that what is unknown never counts as near.
//!
//! A machine is immutable and shared by the snapshots of its node; it is built anew when the node's custom resource tells of another one.
//! Sets of zones, cards and network cards are 64 bits, more than machines have; what is beyond [`MOST`] is left out and counted in
//! [`Machine::left_out`].

mod build;
mod mask;

pub use build::{CardSpec, MachineSpec, NicSpec, Spot, ZoneSpec};
pub use mask::Mask;

use std::sync::Arc;

use crate::{
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

/// Most zones, cards and network cards of a machine.
pub const MOST: usize = 64;
/// Distance of two NUMA nodes about which the firmware says nothing (ACPI's own default).
const REMOTE: u32 = 20;
/// Distance of a NUMA node to itself.
const LOCAL: u32 = 10;

/// How near devices are, the nearest first. Each scope includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Below one PCI Express switch (PIX).
    Switch,
    /// Below switches that hang below one switch (PXB).
    SwitchTree,
    /// Below one root complex (PHB).
    Root,
    /// In one NUMA node (NODE).
    Numa,
    /// In one socket.
    Socket,
}

impl Scope {
    /// Every scope, the nearest first.
    pub const ALL: [Self; 5] = [
        Self::Switch,
        Self::SwitchTree,
        Self::Root,
        Self::Numa,
        Self::Socket,
    ];
}

/// Numbers of a device's groups, by scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Groups([u8; 5]);

impl Groups {
    /// The group at that scope.
    pub const fn at(self, scope: Scope) -> u8 {
        let [switch, tree, root, numa, socket] = self.0;
        match scope {
            Scope::Switch => switch,
            Scope::SwitchTree => tree,
            Scope::Root => root,
            Scope::Numa => numa,
            Scope::Socket => socket,
        }
    }
}

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its number; numbers need not follow each other.
    pub id: u32,
    /// Its socket.
    pub socket: u32,
    /// CPU that can be given out.
    pub cpu: Millicpu,
    /// Memory that can be given out.
    pub memory: Bytes,
    /// Reclaimed amounts it offers, where the node says so for each NUMA node.
    pub reclaimed: Option<Reclaimed>,
}

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its UUID; empty where it has none.
    pub uuid: Arc<str>,
    /// Number of its device node.
    pub index: Option<u32>,
    /// Model, in the driver's words; empty where unknown.
    pub model: Arc<str>,
    /// Memory, MiB; zero where unknown.
    pub mib: u32,
    /// It may be given out.
    pub healthy: bool,
    /// It is NVIDIA's, whose device nodes have fixed names.
    pub nvidia: bool,
    /// Its NUMA node, as a position in [`Machine::zones`].
    pub zone: Option<u8>,
    /// Where it hangs.
    pub groups: Groups,
}

/// An RDMA network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Name of the RDMA device, or of the interface where it has none.
    pub name: Arc<str>,
    /// Its interface.
    pub interface: Option<Arc<str>>,
    /// It passes data.
    pub up: bool,
    /// Its rail: the number of the leaf switch that it is cabled to, the same on each node of a rail-optimised fabric.
    pub rail: u8,
    /// Its NUMA node, as a position in [`Machine::zones`].
    pub zone: Option<u8>,
    /// Where it hangs.
    pub groups: Groups,
}

/// How kubelet aligns pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KubeletPolicy {
    /// Not at all, or only where it happens to work (`none`, `best-effort`): it refuses nobody.
    #[default]
    Lenient,
    /// `restricted`: refuses a pod whose resources would not come from as few NUMA nodes as they could on an idle machine.
    Restricted,
    /// `single-numa-node`.
    SingleNuma,
}

/// Policy and scope of kubelet's topology manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alignment {
    /// Policy.
    pub policy: KubeletPolicy,
    /// Pods as a whole, instead of each container.
    pub pod_scope: bool,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Machine {
    zones: Box<[Zone]>,
    /// Row by row, by position.
    distances: Box<[u32]>,
    cards: Box<[Card]>,
    nics: Box<[Nic]>,
    /// NVLinks between cards, row by row; empty where no card has any.
    links: Box<[u8]>,
    uniform_links: bool,
    alignment: Alignment,
    threads: u8,
    left_out: usize,
}

impl Machine {
    /// NUMA nodes, ascending by number.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// GPUs, in the order of their bus addresses.
    pub fn cards(&self) -> &[Card] {
        &self.cards
    }

    /// RDMA network cards, in the order of their bus addresses.
    pub fn nics(&self) -> &[Nic] {
        &self.nics
    }

    /// How kubelet aligns pods.
    pub fn alignment(&self) -> Alignment {
        self.alignment
    }

    /// Threads of a physical core.
    pub fn threads(&self) -> u8 {
        self.threads
    }

    /// Zones and devices beyond [`MOST`], which are given to nobody.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Position of the NUMA node of that number.
    pub fn zone_position(&self, id: u32) -> Option<usize> {
        self.zones.binary_search_by_key(&id, |zone| zone.id).ok()
    }

    /// Distance between NUMA nodes, by position.
    pub fn distance(&self, from: usize, to: usize) -> u32 {
        let stated = self.distances.get(from * self.zones.len() + to);
        stated
            .copied()
            .unwrap_or(if from == to { LOCAL } else { REMOTE })
    }

    /// Sum of the distances between the NUMA nodes of a set, each pair in both directions.
    pub fn spread(&self, zones: Mask) -> u32 {
        zones
            .iter()
            .flat_map(|from| zones.iter().map(move |to| (from, to)))
            .filter(|(from, to)| from != to)
            .fold(0, |sum, (from, to)| {
                sum.saturating_add(self.distance(from, to))
            })
    }

    /// How many sockets a set of NUMA nodes touches.
    pub fn sockets(&self, zones: Mask) -> u32 {
        let socket = |position: usize| self.zones.get(position).map(|zone| zone.socket);
        let first_of_its_socket = |at: &usize| {
            !zones
                .iter()
                .take_while(|other| other < at)
                .any(|other| socket(other) == socket(*at))
        };
        zones.iter().filter(first_of_its_socket).count() as u32
    }

    /// Position of the card of that UUID, or of that number where the UUID is empty.
    pub fn card_position(&self, uuid: &str, index: Option<u32>) -> Option<usize> {
        self.cards.iter().position(|card| {
            if uuid.is_empty() {
                index.is_some() && card.index == index
            } else {
                *card.uuid == *uuid
            }
        })
    }

    /// Position of the network card of that name or interface.
    pub fn nic_position(&self, name: &str) -> Option<usize> {
        self.nics
            .iter()
            .position(|nic| *nic.name == *name || nic.interface.as_deref() == Some(name))
    }

    /// NVLinks between two cards, by position.
    pub fn links(&self, one: usize, other: usize) -> u8 {
        self.links
            .get(one * self.cards.len() + other)
            .copied()
            .unwrap_or(0)
    }

    /// Whether any two cards are linked.
    pub fn has_links(&self) -> bool {
        !self.links.is_empty()
    }

    /// Whether all pairs of cards have equally many links, as on machines with NVSwitch and on those without NVLink.
    pub fn uniform_links(&self) -> bool {
        self.uniform_links
    }
}
