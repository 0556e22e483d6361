//! What a pod asks of a node, as [`fit`](super::fit()) reads it.
//!
//! [`PodRequest::read`] makes it from annotations and container resources, whoever holds them (an API object, a scheduler's question): see [`PodSource`].
//! A value that does not parse is an error that names key and value; a pod is never placed on a guess.

mod cards;
mod error;
pub mod keys;
mod read;
mod table;
#[cfg(test)]
mod tests;
mod wishes;

pub use error::RequestError;
pub use read::{ContainerSource, PodSource};
pub use table::{Dialect, RESOURCES, Resource};

use super::{
    machine::{Mask, Scope},
    node::{Taint, TaintEffect},
};
use crate::{
    qos::{Level, NumaSet},
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodRequest {
    /// Quality-of-service level.
    pub level: Level,
    /// Reclaimed amounts; `None` where the pod names neither.
    pub reclaimed: Option<Reclaimed>,
    /// CPU request of the pod as a whole, as Kubernetes counts it.
    pub cpu: Millicpu,
    /// Memory request of the pod as a whole.
    pub memory: Bytes,
    /// Every container has limits that equal its requests (Kubernetes' class Guaranteed).
    pub guaranteed: bool,
    /// NUMA nodes it wants.
    pub numa: NumaRequest,
    /// Which taints it tolerates.
    pub tolerations: Box<[Toleration]>,
    /// Its containers, in the order in which they start.
    pub containers: Box<[ContainerRequest]>,
    /// Which GPUs will do.
    pub cards: CardSelector,
    /// How near its devices must be to each other.
    pub affinity: Affinity,
}

impl PodRequest {
    /// Whether a container asks for a device.
    pub fn wants_devices(&self) -> bool {
        self.containers.iter().any(ContainerRequest::wants_devices)
    }

    /// Whether it needs the node's agent to act: reclaimed amounts to be held, NUMA nodes to be bound, devices to be put into containers.
    pub fn needs_agent(&self) -> bool {
        self.reclaimed.is_some() || self.numa != NumaRequest::None || self.wants_devices()
    }

    /// Whether placement has nothing to say about it anywhere, taints excepted.
    pub fn is_plain(&self) -> bool {
        !self.needs_agent() && !self.guaranteed
    }
}

/// When a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Together with all others of its kind.
    #[default]
    App,
    /// Alone, before the app containers.
    Init,
    /// From its start as an init container to the end of the pod.
    Sidecar,
}

/// What a container asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerRequest {
    /// Its name.
    pub name: Box<str>,
    /// When it runs.
    pub role: Role,
    /// CPU request.
    pub cpu: Millicpu,
    /// Memory request.
    pub memory: Bytes,
    /// GPUs.
    pub gpus: Option<GpuRequest>,
    /// RDMA network cards.
    pub nics: u8,
}

impl ContainerRequest {
    /// Whether it asks for a device.
    pub fn wants_devices(&self) -> bool {
        self.gpus.is_some() || self.nics > 0
    }
}

/// Cards of one container. All of them different cards, all with the same share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuRequest {
    /// How many; at least one.
    pub cards: u8,
    /// How much of each.
    pub amount: CardAmount,
}

/// How much of a card is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardAmount {
    /// All of it, with nobody else on it.
    Whole {
        /// The least memory that the card must have, MiB.
        at_least_mib: u32,
    },
    /// A part.
    Part {
        /// Compute, percent; zero where none is promised.
        percent: u8,
        /// Memory.
        memory: CardMemory,
    },
}

/// Memory of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardMemory {
    /// MiB.
    Mib(u32),
    /// Percent of whichever card it is, rounded up to the next MiB.
    Percent(u8),
}

impl CardMemory {
    /// MiB on a card with that many.
    pub fn on(self, card_mib: u32) -> u32 {
        match self {
            Self::Mib(mib) => mib,
            Self::Percent(percent) => {
                let mib = (u64::from(card_mib) * u64::from(percent)).div_ceil(100);
                u32::try_from(mib).unwrap_or(u32::MAX)
            }
        }
    }
}

/// NUMA nodes that a pod wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NumaRequest {
    /// Any, and as many as the kernel likes.
    #[default]
    None,
    /// One NUMA node for shared and reclaimed pods with `numa_binding`.
    One {
        /// One of these.
        among: Option<NumaSet>,
    },
    /// A set of them, for dedicated pods with `numa_binding`.
    Set {
        /// Shared with nobody.
        exclusive: bool,
        /// Exactly so many; as few as possible where `None`.
        count: Option<u32>,
        /// Exactly these.
        ids: Option<NumaSet>,
        /// The same part in each.
        even: bool,
        /// As few sockets as possible before all else.
        by_socket: bool,
    },
}

/// Which cards will do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CardSelector {
    /// Parts of model names, in lower case, one of which must occur; any model where empty.
    pub models: Box<[Box<str>]>,
    /// Parts of model names, in lower case, none of which may occur.
    pub models_excluded: Box<[Box<str>]>,
    /// UUIDs; any where empty.
    pub uuids: Box<[Box<str>]>,
    /// UUIDs that will not do.
    pub uuids_excluded: Box<[Box<str>]>,
}

impl CardSelector {
    /// Whether every card will do.
    pub fn is_any(&self) -> bool {
        self.models.is_empty()
            && self.models_excluded.is_empty()
            && self.uuids.is_empty()
            && self.uuids_excluded.is_empty()
    }

    /// Whether a card of that model and UUID will do.
    pub fn accepts(&self, model: &str, uuid: &str) -> bool {
        let named = |uuids: &[Box<str>]| uuids.iter().any(|other| **other == *uuid);
        let like = |models: &[Box<str>]| models.iter().any(|part| contains(model, part));
        (self.models.is_empty() || like(&self.models))
            && !like(&self.models_excluded)
            && (self.uuids.is_empty() || named(&self.uuids))
            && !named(&self.uuids_excluded)
    }
}

/// Whether the text contains the part, which is in lower case, without regard to case.
fn contains(text: &str, part: &str) -> bool {
    part.is_empty()
        || text
            .as_bytes()
            .windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

/// A wish about nearness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near {
    /// How near.
    pub scope: Scope,
    /// Not placed otherwise.
    pub required: bool,
}

/// How near a container's devices must be to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Affinity {
    /// Each GPU has a network card that near, and each network card a GPU.
    pub gpu_nic: Option<Near>,
    /// All GPUs in one group.
    pub gpus: Option<Near>,
    /// All network cards in one group.
    pub nics: Option<Near>,
    /// Each pair of GPUs is linked directly; `Some(true)` where required.
    pub nvlink: Option<bool>,
    /// Only network cards on these rails; all rails where `None`.
    pub rails: Option<Mask>,
    /// The i-th network card belongs to the i-th GPU, rails ascending.
    pub rail_order: bool,
}

/// A toleration of taints.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Toleration {
    /// Key; every key where empty.
    pub key: Box<str>,
    /// Whatever the value (`operator: Exists`).
    pub exists: bool,
    /// Value, for `operator: Equal`.
    pub value: Box<str>,
    /// Effect; every effect where `None`.
    pub effect: Option<TaintEffect>,
}

impl Toleration {
    /// Whether it tolerates the taint, by Kubernetes' rules: an empty key needs `Exists` and matches every key.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let effect = self.effect.is_none_or(|effect| effect == taint.effect);
        let key = if self.key.is_empty() {
            self.exists
        } else {
            self.key == taint.key
        };
        effect && key && (self.exists || self.value == taint.value)
    }
}
