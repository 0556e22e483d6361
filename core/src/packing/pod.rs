//! What a pod asks for, as packing sees it.

use super::models::ModelSet;

/// Thousandths of a whole card.
pub const WHOLE_CARD: u16 = 1000;

/// A class of pods: all pods with equal requests. Units: thousandths of a CPU, thousandths of a card, MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PodClass {
    /// CPU, milli.
    pub cpu_milli: u64,
    /// Memory of the node, MiB. Zero when not known.
    pub memory_mib: u64,
    /// Compute on each card, milli: 1 to 1000. Zero when it asks for no card.
    pub card_milli: u16,
    /// Memory on each card. Zero when not asked for.
    pub card_memory_mib: u32,
    /// Distinct cards. Zero for a CPU-only pod.
    pub cards: u8,
    /// Models it accepts.
    pub models: ModelSet,
}

impl PodClass {
    /// A pod that asks for no card.
    pub const fn cpu_only(cpu_milli: u64) -> Self {
        Self {
            cpu_milli,
            memory_mib: 0,
            card_milli: 0,
            card_memory_mib: 0,
            cards: 0,
            models: ModelSet::ANY,
        }
    }

    /// A pod that asks for `cards` cards with `card_milli` of each.
    pub const fn gpu(cpu_milli: u64, card_milli: u16, cards: u8) -> Self {
        Self {
            cpu_milli,
            memory_mib: 0,
            card_milli,
            card_memory_mib: 0,
            cards,
            models: ModelSet::ANY,
        }
    }

    /// Compute on all its cards together, milli.
    pub const fn gpu_milli(&self) -> u64 {
        self.card_milli as u64 * self.cards as u64
    }

    /// True when it asks for a part of one card.
    pub const fn is_share(&self) -> bool {
        self.cards == 1 && self.card_milli < WHOLE_CARD
    }
}
