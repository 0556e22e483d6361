//! What one pod holds of a node.
//!
//! Devices are held by name, because positions change when a card is lost or a node is restarted. Names that the machine knows are shared with it, so a
//! held card costs a few words.

use std::sync::Arc;

use super::{
    machine::Machine,
    request::{NumaRequest, PodRequest, Role},
};
use crate::{
    qos::Level,
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

/// A pod's UID.
pub type Uid = Arc<str>;

/// What a pod holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allocation {
    /// Reclaimed amounts.
    pub reclaimed: Reclaimed,
    /// CPU request of a service that no NUMA node is chosen for: it must find room in what is left.
    pub floating: Millicpu,
    /// Its parts of NUMA nodes; empty where it is not bound.
    pub numa: Box<[NumaShare]>,
    /// It shares those NUMA nodes with nobody.
    pub exclusive: bool,
    /// GPUs or parts of them; each card once.
    pub cards: Box<[HeldCard]>,
    /// Network cards, by name.
    pub nics: Box<[Arc<str>]>,
}

/// A part of a NUMA node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NumaShare {
    /// Number of the NUMA node.
    pub id: u32,
    /// CPU.
    pub cpu: Millicpu,
    /// Memory.
    pub memory: Bytes,
    /// Reclaimed amounts.
    pub reclaimed: Reclaimed,
}

/// A GPU, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCard {
    /// UUID; empty where it has none.
    pub uuid: Arc<str>,
    /// Number of its device node.
    pub index: Option<u32>,
    /// How much of it.
    pub share: CardShare,
}

/// How much of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CardShare {
    /// The card, with nobody else on it.
    Whole,
    /// A part.
    Part {
        /// Compute, percent; zero where none is promised.
        percent: u8,
        /// Memory, MiB.
        mib: u32,
    },
}

impl CardShare {
    /// What covers both, where one container runs after the other.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        match (self, other) {
            (
                Self::Part { percent, mib },
                Self::Part {
                    percent: percent_of_other,
                    mib: mib_of_other,
                },
            ) => Self::Part {
                percent: percent.max(percent_of_other),
                mib: mib.max(mib_of_other),
            },
            _ => Self::Whole,
        }
    }

    /// What covers both, where the containers run together.
    #[must_use]
    pub fn sum(self, other: Self) -> Self {
        match (self, other) {
            (
                Self::Part { percent, mib },
                Self::Part {
                    percent: percent_of_other,
                    mib: mib_of_other,
                },
            ) => Self::Part {
                percent: percent.saturating_add(percent_of_other),
                mib: mib.saturating_add(mib_of_other),
            },
            _ => Self::Whole,
        }
    }
}

/// Devices that a record gives to one container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordedDevices {
    /// Cards.
    pub cards: Vec<HeldCard>,
    /// Network cards, by name.
    pub nics: Vec<Arc<str>>,
}

impl Allocation {
    /// What a bound pod holds, by its request and what was recorded for it: its parts of NUMA nodes, and devices by the name of the container. A container
    /// that the pod does not have counts as one that runs with all others.
    pub fn recorded<'a>(
        request: &PodRequest,
        numa: Vec<NumaShare>,
        devices: impl IntoIterator<Item = (&'a str, RecordedDevices)>,
    ) -> Self {
        let (mut together, mut in_turn): (Vec<HeldCard>, Vec<HeldCard>) = Default::default();
        let mut nics = Vec::new();
        for (name, recorded) in devices {
            let role = request
                .containers
                .iter()
                .find(|container| *container.name == *name)
                .map(|container| container.role);
            if role == Some(Role::Init) {
                join(&mut in_turn, recorded.cards, CardShare::most);
            } else {
                join(&mut together, recorded.cards, CardShare::sum);
            }
            nics.extend(recorded.nics);
        }
        join(&mut together, in_turn, CardShare::most);
        nics.sort();
        nics.dedup();
        let mut shares = numa;
        shares.sort_by_key(|share| share.id);
        Self {
            reclaimed: request.reclaimed.unwrap_or_default(),
            floating: if shares.is_empty() && request.level != Level::Reclaimed {
                request.cpu
            } else {
                Millicpu::ZERO
            },
            exclusive: matches!(
                request.numa,
                NumaRequest::Set {
                    exclusive: true,
                    ..
                }
            ) && !shares.is_empty(),
            numa: shares.into(),
            cards: together.into(),
            nics: nics.into(),
        }
    }

    /// Whether the pod holds nothing at all.
    pub fn is_empty(&self) -> bool {
        self.reclaimed.is_zero()
            && self.floating == Millicpu::ZERO
            && self.numa.is_empty()
            && self.cards.is_empty()
            && self.nics.is_empty()
    }

    /// Shares the names that the machine has too.
    #[must_use]
    pub fn share_names(mut self, machine: &Machine) -> Self {
        for held in &mut self.cards {
            let known = machine
                .card_position(&held.uuid, held.index)
                .and_then(|position| machine.cards().get(position));
            if let Some(card) = known {
                held.uuid = Arc::clone(&card.uuid);
            }
        }
        for name in &mut self.nics {
            let known = machine
                .nic_position(name)
                .and_then(|position| machine.nics().get(position));
            if let Some(nic) = known {
                *name = Arc::clone(&nic.name);
            }
        }
        self
    }
}

fn join(
    held: &mut Vec<HeldCard>,
    more: Vec<HeldCard>,
    rule: fn(CardShare, CardShare) -> CardShare,
) {
    for card in more {
        let same = |other: &&mut HeldCard| {
            if card.uuid.is_empty() {
                other.uuid.is_empty() && other.index == card.index
            } else {
                other.uuid == card.uuid
            }
        };
        match held.iter_mut().find(same) {
            Some(other) => other.share = rule(other.share, card.share),
            None => held.push(card),
        }
    }
}
