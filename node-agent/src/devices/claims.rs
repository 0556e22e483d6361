//! The record of a pod as claims on cards, and whether this machine has what it names.

use std::collections::{BTreeMap, BTreeSet};

use katalyst_core::{
    card_claims::{Conflict, Holder, Share},
    topology::devices::Gpu,
};
use katalyst_crds::devices::{AllocatedGpu, ContainerDevices, DeviceAllocation, DeviceError};
use thiserror::Error;

use super::node::nvidia_minor;

const MEBIBYTE: u64 = 1 << 20;
/// Instances of a divided card have names of their own, which the PCI tree does not tell.
const INSTANCE: &str = "MIG-";

/// Why a container does not get the devices of its record.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] DeviceError),
    /// No such card here: it was lost, or the record is another node's.
    #[error("this node has no card {card}")]
    Unknown {
        /// By the name in the record.
        card: String,
    },
    /// The record's device node is another card's.
    #[error("card {card} is /dev/nvidia{minor}, and the record names {path}")]
    OtherNode {
        /// The card.
        card: String,
        /// N of its own node.
        minor: u32,
        /// What the record names.
        path: String,
    },
    /// No such device nodes here.
    #[error("this node has no device {}, or does not show it to the agent", paths.join(", "))]
    Missing {
        /// Their paths.
        paths: Vec<String>,
    },
    /// Others hold it.
    #[error(transparent)]
    Held(#[from] Conflict),
}

impl Refusal {
    /// For the metric.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Unknown { .. } => "unknown_card",
            Self::OtherNode { .. } => "other_node",
            Self::Missing { .. } => "missing_node",
            Self::Held(_) => "held",
        }
    }
}

/// The card in `gpus` that the record means.
fn find<'a>(gpus: &'a [Gpu], named: &AllocatedGpu) -> Option<&'a Gpu> {
    gpus.iter().find(|gpu| {
        if named.uuid.is_empty() {
            gpu.minor.is_some() && gpu.minor == named.index
        } else {
            gpu.uuid.as_ref() == Some(&named.uuid)
        }
    })
}

/// One name for a card, however the record names it.
fn key(gpus: &[Gpu], named: &AllocatedGpu) -> String {
    find(gpus, named)
        .and_then(|gpu| gpu.uuid.clone())
        .unwrap_or_else(|| match named.index {
            Some(index) if named.uuid.is_empty() => format!("number {index}"),
            _ => named.uuid.clone(),
        })
}

/// The memory of the card with this [`key`], MiB.
pub(super) fn memory(gpus: &[Gpu], key: &str) -> Option<u64> {
    let named = |gpu: &&Gpu| match gpu.uuid.as_deref() {
        Some(uuid) => uuid == key,
        None => gpu
            .minor
            .is_some_and(|minor| format!("number {minor}") == key),
    };
    let memory = gpus.iter().find(named)?.memory?;
    Some(memory.get() / MEBIBYTE)
}

/// Refuses a card that this machine does not have, as far as it tells what it has: a driver that has not looked at its cards knows no UUIDs.
pub(super) fn check(gpus: &[Gpu], devices: &ContainerDevices) -> Result<(), Refusal> {
    for named in &devices.gpus {
        let Some(gpu) = find(gpus, named) else {
            let told = gpus.iter().all(|gpu| {
                if named.uuid.is_empty() {
                    gpu.minor.is_some()
                } else {
                    gpu.uuid.is_some()
                }
            });
            if gpus.is_empty() || !told || named.uuid.starts_with(INSTANCE) {
                continue;
            }
            return Err(Refusal::Unknown {
                card: key(gpus, named),
            });
        };
        let Some(minor) = gpu.minor else { continue };
        let other = named
            .devices
            .iter()
            .find(|path| nvidia_minor(path).is_some_and(|named| named != minor));
        if let Some(path) = other {
            return Err(Refusal::OtherNode {
                card: key(gpus, named),
                minor,
                path: path.clone(),
            });
        }
    }
    Ok(())
}

/// What a pod holds by its record: init containers run one after the other and before the rest, as Kubernetes counts them.
pub(super) fn holder(
    name: String,
    record: &DeviceAllocation,
    init: &BTreeSet<String>,
    gpus: &[Gpu],
) -> Holder {
    let mut cards = BTreeMap::new();
    let (first, rest): (Vec<_>, Vec<_>) =
        (record.containers.iter()).partition(|(container, _)| init.contains(*container));
    for (_, devices) in rest {
        for named in &devices.gpus {
            add(&mut cards, key(gpus, named), share(named), Share::sum);
        }
    }
    for (_, devices) in first {
        let mut alone = BTreeMap::new();
        for named in &devices.gpus {
            add(&mut alone, key(gpus, named), share(named), Share::sum);
        }
        for (card, share) in alone {
            add(&mut cards, card, share, Share::most);
        }
    }
    Holder { name, cards }
}

fn add(
    cards: &mut BTreeMap<String, Share>,
    card: String,
    share: Share,
    how: fn(Share, Share) -> Share,
) {
    cards
        .entry(card)
        .and_modify(|held| *held = how(*held, share))
        .or_insert(share);
}

/// What is absent is the whole of it, and all of the memory leaves nothing to anybody.
fn share(named: &AllocatedGpu) -> Share {
    named.memory_mib.map_or(Share::Whole, |mib| Share::Part {
        percent: named.percent.map_or(100, u32::from),
        mib,
    })
}

#[cfg(test)]
mod tests {
    use katalyst_core::{topology::devices::PciPlace, units::Bytes};

    use super::*;

    fn gpu(uuid: Option<&str>, minor: Option<u32>) -> Gpu {
        Gpu {
            place: PciPlace {
                address: "0000:13:00.0".parse().unwrap(),
                numa: None,
                root: "pci0000:00".to_owned(),
                bridges: Vec::new(),
            },
            vendor: 0x10de,
            device: 0,
            uuid: uuid.map(str::to_owned),
            model: None,
            memory: Some(Bytes::new(80 << 30)),
            minor,
            links: BTreeMap::new(),
        }
    }

    fn named(uuid: &str, index: Option<u32>, path: &str) -> ContainerDevices {
        ContainerDevices {
            gpus: vec![AllocatedGpu {
                uuid: uuid.to_owned(),
                index,
                devices: vec![path.to_owned()],
                ..AllocatedGpu::default()
            }],
            nics: Vec::new(),
        }
    }

    #[test]
    fn cards_that_are_not_here_are_refused_where_the_machine_tells() {
        let told = [gpu(Some("GPU-1"), Some(3)), gpu(Some("GPU-2"), Some(0))];
        let asleep = [gpu(None, Some(3)), gpu(Some("GPU-2"), Some(0))];
        let reason = |gpus: &[Gpu], devices: &ContainerDevices| {
            check(gpus, devices).err().map(|refusal| refusal.reason())
        };
        for (gpus, devices, expected) in [
            (
                told.as_slice(),
                named("GPU-1", Some(0), "/dev/nvidia3"),
                None,
            ),
            (
                &told,
                named("GPU-9", None, "/dev/nvidia3"),
                Some("unknown_card"),
            ),
            (&asleep, named("GPU-9", None, "/dev/nvidia3"), None),
            (&[], named("GPU-9", None, "/dev/nvidia3"), None),
            (&told, named("MIG-9", None, "/dev/nvidia3"), None),
            (
                &told,
                named("GPU-1", None, "/dev/nvidia0"),
                Some("other_node"),
            ),
            (
                &told,
                named("", Some(7), "/dev/nvidia7"),
                Some("unknown_card"),
            ),
            (&told, named("", Some(0), "/dev/nvidia0"), None),
        ] {
            assert_eq!(reason(gpus, &devices), expected, "{devices:?}");
        }
    }

    #[test]
    fn a_card_has_one_name_and_its_memory() {
        let gpus = [gpu(Some("GPU-1"), Some(3)), gpu(None, Some(4))];
        let key = |uuid: &str, index| key(&gpus, &named(uuid, index, "/dev/x").gpus[0]);
        assert_eq!(key("GPU-1", Some(9)), "GPU-1");
        assert_eq!(key("", Some(3)), "GPU-1");
        assert_eq!(key("", Some(4)), "number 4");
        assert_eq!(memory(&gpus, "GPU-1"), Some(80 << 10));
        assert_eq!(memory(&gpus, "number 4"), Some(80 << 10));
        assert_eq!(memory(&gpus, "number 9"), None);
    }

    #[test]
    fn containers_that_run_together_add_up_and_init_containers_do_not() {
        let part = |percent| AllocatedGpu {
            uuid: "GPU-1".to_owned(),
            percent: Some(percent),
            memory_mib: Some(u64::from(percent) * 10),
            ..AllocatedGpu::default()
        };
        let of = |gpus: Vec<AllocatedGpu>| ContainerDevices {
            gpus,
            nics: Vec::new(),
        };
        let record = DeviceAllocation {
            containers: BTreeMap::from([
                ("a".to_owned(), of(vec![part(20)])),
                ("b".to_owned(), of(vec![part(30)])),
                ("init".to_owned(), of(vec![part(60)])),
                ("init-2".to_owned(), of(vec![part(10)])),
            ]),
        };
        let init = BTreeSet::from(["init".to_owned(), "init-2".to_owned()]);
        let holder = holder("n/a".to_owned(), &record, &init, &[]);
        assert_eq!(
            holder.cards["GPU-1"],
            Share::Part {
                percent: 60,
                mib: 600
            }
        );
        assert_eq!(share(&AllocatedGpu::default()), Share::Whole);
        let memory_alone = AllocatedGpu {
            memory_mib: Some(7),
            ..AllocatedGpu::default()
        };
        let part = Share::Part {
            percent: 100,
            mib: 7,
        };
        assert_eq!(share(&memory_alone), part);
    }
}
