//! All that a pod's annotations say about its quality of service.

use std::collections::BTreeMap;

use super::cpu::{self, CpuWishes};
use super::direct::{self, DirectWishes};
use super::error::QosError;
use super::keys;
use super::level::Level;
use super::memory::{self, MemoryWishes};
use super::network::{self, NetworkWishes};
use super::reader::{Place, Safest, parsed};

/// A pod's level and wishes.
#[derive(Clone, PartialEq, Debug)]
pub struct PodQos {
    /// How the pod shares the machine.
    pub level: Level,
    /// What it wishes of its CPUs.
    pub cpu: CpuWishes,
    /// What it wishes of its memory.
    pub memory: MemoryWishes,
    /// What it wishes of its network card.
    pub network: NetworkWishes,
    /// Wishes and results that are annotations of their own.
    pub direct: DirectWishes,
}

/// A pod's level and wishes, and what was wrong with its annotations.
#[derive(Clone, PartialEq, Debug)]
pub struct Parsed {
    /// What the annotations mean, with the safest meaning wherever one is malformed.
    pub qos: PodQos,
    /// Everything that is wrong, in the order of the annotations' reading.
    pub errors: Vec<QosError>,
}

impl PodQos {
    /// Reads a pod's annotations. Never fails: what is malformed gets the safest meaning and an error that says so.
    pub fn parse(annotations: &BTreeMap<String, String>) -> Parsed {
        let mut errors = Vec::new();
        let level = read_level(annotations, &mut errors);
        let qos = Self {
            level,
            cpu: cpu::read(level, annotations, &mut errors),
            memory: memory::read(level, annotations, &mut errors),
            network: network::read(annotations, &mut errors),
            direct: direct::read(annotations, &mut errors),
        };
        Parsed { qos, errors }
    }
}

fn read_level(annotations: &BTreeMap<String, String>, errors: &mut Vec<QosError>) -> Level {
    let Some(name) = annotations.get(keys::QOS_LEVEL) else {
        return Level::default();
    };
    parsed(
        Place {
            annotation: keys::QOS_LEVEL,
            key: None,
        },
        name,
        "reclaimed_cores, shared_cores, dedicated_cores or system_cores",
        // Shared pods are neither held back nor given anything of their own.
        Safest::Is(Level::Shared, "shared_cores"),
        Level::from_name,
        errors,
    )
    .unwrap_or_default()
}
