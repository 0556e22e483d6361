//! What one pod holds of a node.
//!
//! Devices are held by name, because positions change when a card is lost or a node is restarted. Names that the machine knows are shared with it, so a
//! held card costs a few words.

use std::sync::Arc;

use super::machine::Machine;
use crate::{
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

impl Allocation {
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
