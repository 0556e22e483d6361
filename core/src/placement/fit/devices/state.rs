//! What of a machine's devices is free while a placement is looked for.

use smallvec::SmallVec;

use crate::placement::{
    allocation::CardShare,
    machine::{Card, Machine, Mask},
    node::{NodePlacement, Used},
    request::{CardAmount, GpuRequest},
};

/// Most pods on one card: as many clients as NVIDIA's Multi-Process Service serves on a card since Volta.
pub(super) const TENANTS: u32 = 48;

/// A card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CardState {
    /// Compute that is free, percent.
    pub(super) percent: u8,
    /// Memory that is free, MiB.
    pub(super) mib: u32,
    /// Tenants on it.
    pub(super) tenants: u32,
    /// One of them has it whole.
    pub(super) taken: bool,
}

impl CardState {
    /// Nobody is on it.
    pub(super) const fn is_idle(self) -> bool {
        self.tenants == 0 && !self.taken
    }

    /// The share that such an amount would be on this card; `None` where it has no room.
    pub(super) fn room(self, card: &Card, amount: CardAmount) -> Option<CardShare> {
        match amount {
            CardAmount::Whole { at_least_mib } => {
                (self.is_idle() && card.mib >= at_least_mib).then_some(CardShare::Whole)
            }
            CardAmount::Part { percent, memory } => {
                let mib = memory.on(card.mib);
                // Without a promise of compute a tenant still needs some: a card that is given away in full has none.
                let compute = percent <= self.percent && self.percent > 0;
                (!self.taken && self.tenants < TENANTS && compute && mib <= self.mib)
                    .then_some(CardShare::Part { percent, mib })
            }
        }
    }

    pub(super) fn take(&mut self, share: CardShare) {
        self.tenants += 1;
        match share {
            CardShare::Whole => {
                self.taken = true;
            }
            CardShare::Part { percent, mib } => {
                self.percent = self.percent.saturating_sub(percent);
                self.mib = self.mib.saturating_sub(mib);
            }
        }
    }
}

/// All devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// By position.
    pub(super) cards: SmallVec<[CardState; 8]>,
    /// Network cards that are free.
    pub(super) nics: Mask,
}

impl State {
    /// As it is.
    pub(super) fn now(node: &NodePlacement) -> Self {
        Self::with(node.machine(), node.used())
    }

    /// As if nobody were there.
    pub(super) fn idle(machine: &Machine) -> Self {
        Self::with(machine, &Used::of(machine))
    }

    fn with(machine: &Machine, used: &Used) -> Self {
        let cards = machine
            .cards()
            .iter()
            .zip(&used.cards)
            .map(|(card, used)| CardState {
                percent: 100_u32.saturating_sub(used.percent) as u8,
                mib: u64::from(card.mib)
                    .saturating_sub(used.mib)
                    .try_into()
                    .unwrap_or(u32::MAX),
                tenants: used.parts + used.whole,
                taken: used.whole > 0,
            })
            .collect();
        Self {
            cards,
            nics: used.free_nics(),
        }
    }

    /// A card, and the share that such an amount would be on it.
    pub(super) fn room(&self, machine: &Machine, card: usize, of: GpuRequest) -> Option<CardShare> {
        self.cards
            .get(card)?
            .room(machine.cards().get(card)?, of.amount)
    }

    pub(super) fn is_idle(&self, card: usize) -> bool {
        self.cards.get(card).is_some_and(|state| state.is_idle())
    }

    pub(super) fn take(&mut self, card: usize, share: CardShare) {
        if let Some(state) = self.cards.get_mut(card) {
            state.take(share);
        }
    }
}
