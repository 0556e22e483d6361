//! Sums over the pods of a node, by position in its machine.

use smallvec::SmallVec;

use crate::{
    placement::{
        allocation::{Allocation, CardShare, NumaShare},
        machine::{Machine, Mask},
    },
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

/// What is held of a NUMA node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZoneUse {
    /// CPU.
    pub cpu: Millicpu,
    /// Memory.
    pub memory: Bytes,
    /// Reclaimed amounts of pods that are bound to it.
    pub reclaimed: Reclaimed,
    /// Pods that hold a part of it.
    pub holders: u32,
    /// Those of them that share it with nobody.
    pub exclusive: u32,
}

/// What is held of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CardUse {
    /// Compute, percent.
    pub percent: u32,
    /// Memory, MiB.
    pub mib: u64,
    /// Pods that hold a part of it.
    pub parts: u32,
    /// Pods that hold it whole.
    pub whole: u32,
}

impl CardUse {
    /// Whether nobody is on the card.
    pub const fn is_idle(&self) -> bool {
        self.parts == 0 && self.whole == 0
    }
}

/// What is held of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Used {
    /// Reclaimed amounts.
    pub reclaimed: Reclaimed,
    /// CPU of services that are not bound.
    pub floating: Millicpu,
    /// By position.
    pub zones: SmallVec<[ZoneUse; 2]>,
    /// By position.
    pub cards: SmallVec<[CardUse; 8]>,
    /// Holders of each network card, by position.
    pub nics: SmallVec<[u16; 8]>,
}

impl Used {
    /// Nothing of that machine.
    pub fn of(machine: &Machine) -> Self {
        Self {
            zones: SmallVec::from_elem(ZoneUse::default(), machine.zones().len()),
            cards: SmallVec::from_elem(CardUse::default(), machine.cards().len()),
            nics: SmallVec::from_elem(0, machine.nics().len()),
            ..Self::default()
        }
    }

    /// Network cards that nobody holds.
    pub fn free_nics(&self) -> Mask {
        (0..)
            .zip(&self.nics)
            .filter_map(|(at, holders)| (*holders == 0).then_some(at))
            .collect()
    }

    pub(super) fn add(&mut self, machine: &Machine, held: &Allocation, shares: &[NumaShare]) {
        self.reclaimed = self.reclaimed + held.reclaimed;
        self.floating += floating(held, shares);
        for share in shares {
            let Some(zone) = self.zone(machine, share) else {
                continue;
            };
            zone.cpu += share.cpu;
            zone.memory += share.memory;
            zone.reclaimed = zone.reclaimed + share.reclaimed;
            zone.holders += 1;
            zone.exclusive += u32::from(held.exclusive);
        }
        for card in &held.cards {
            let position = machine.card_position(&card.uuid, card.index);
            let Some(used) = position.and_then(|at| self.cards.get_mut(at)) else {
                continue;
            };
            match card.share {
                CardShare::Whole => used.whole += 1,
                CardShare::Part { percent, mib } => {
                    used.parts += 1;
                    used.percent += u32::from(percent);
                    used.mib += u64::from(mib);
                }
            }
        }
        for name in &held.nics {
            let position = machine.nic_position(name);
            if let Some(holders) = position.and_then(|at| self.nics.get_mut(at)) {
                *holders += 1;
            }
        }
    }

    /// Takes off exactly what [`Used::add`] put on; only ever called with what was added.
    pub(super) fn subtract(&mut self, machine: &Machine, held: &Allocation, shares: &[NumaShare]) {
        self.reclaimed = self.reclaimed - held.reclaimed;
        self.floating = self.floating - floating(held, shares);
        for share in shares {
            let Some(zone) = self.zone(machine, share) else {
                continue;
            };
            zone.cpu = zone.cpu - share.cpu;
            zone.memory = zone.memory - share.memory;
            zone.reclaimed = zone.reclaimed - share.reclaimed;
            zone.holders = zone.holders.saturating_sub(1);
            zone.exclusive = zone.exclusive.saturating_sub(u32::from(held.exclusive));
        }
        for card in &held.cards {
            let position = machine.card_position(&card.uuid, card.index);
            let Some(used) = position.and_then(|at| self.cards.get_mut(at)) else {
                continue;
            };
            match card.share {
                CardShare::Whole => used.whole = used.whole.saturating_sub(1),
                CardShare::Part { percent, mib } => {
                    used.parts = used.parts.saturating_sub(1);
                    used.percent = used.percent.saturating_sub(u32::from(percent));
                    used.mib = used.mib.saturating_sub(u64::from(mib));
                }
            }
        }
        for name in &held.nics {
            let position = machine.nic_position(name);
            if let Some(holders) = position.and_then(|at| self.nics.get_mut(at)) {
                *holders = holders.saturating_sub(1);
            }
        }
    }

    fn zone(&mut self, machine: &Machine, share: &NumaShare) -> Option<&mut ZoneUse> {
        let position = machine.zone_position(share.id)?;
        self.zones.get_mut(position)
    }
}

/// A pod that holds parts of NUMA nodes floats no more.
fn floating(held: &Allocation, shares: &[NumaShare]) -> Millicpu {
    if shares.is_empty() {
        held.floating
    } else {
        Millicpu::ZERO
    }
}
