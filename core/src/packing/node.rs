//! What is left on a node, as packing sees it: small, comparable, without heap.

use super::models::ModelId;
use super::pod::{PodClass, WHOLE_CARD};

/// Most cards of a node that are looked at. Servers sold today have at most 16; further cards are left out and stay unused
/// by this policy.
pub const MAX_CARDS: usize = 16;

/// What is left of one card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Card {
    /// Compute, thousandths of the card.
    pub milli: u16,
    /// Memory, MiB. Zero everywhere when memory is not modelled (a pod then must not ask for any).
    pub memory_mib: u32,
}

impl Card {
    /// A card with nothing on it, memory not modelled.
    pub const FREE: Self = Self {
        milli: WHOLE_CARD,
        memory_mib: 0,
    };

    /// True when one card's part of the pod fits.
    pub const fn fits(&self, pod: &PodClass) -> bool {
        self.milli >= pod.card_milli && self.memory_mib >= pod.card_memory_mib
    }

    /// What is left with that part on it.
    #[must_use]
    pub const fn without(self, pod: &PodClass) -> Self {
        Self {
            milli: self.milli.saturating_sub(pod.card_milli),
            memory_mib: self.memory_mib.saturating_sub(pod.card_memory_mib),
        }
    }
}

/// Cards of a node, by position, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CardSet(u16);

impl CardSet {
    /// No card.
    pub const EMPTY: Self = Self(0);

    /// One card. Positions from [`MAX_CARDS`] on are no card.
    pub const fn one(position: usize) -> Self {
        if position < MAX_CARDS {
            Self(1 << position)
        } else {
            Self::EMPTY
        }
    }

    /// Both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when the set holds the position.
    pub const fn contains(self, position: usize) -> bool {
        position < MAX_CARDS && self.0 >> position & 1 == 1
    }

    /// Positions, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_CARDS).filter(move |position| self.contains(*position))
    }

    /// Number of cards.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// True without a card.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What is left on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeState {
    /// Free CPU, milli.
    pub cpu_milli: u64,
    /// Free memory, MiB.
    pub memory_mib: u64,
    /// The model of its cards. A node with cards of several models is presented as one state for each model.
    pub model: ModelId,
    /// True while nothing that a scheduler placed runs on it (DaemonSet pods do not count).
    pub untouched: bool,
    cards: [Card; MAX_CARDS],
    count: u8,
}

impl NodeState {
    /// A node on which nothing runs yet. Cards beyond [`MAX_CARDS`] are left out.
    pub fn new(
        cpu_milli: u64,
        memory_mib: u64,
        model: ModelId,
        cards: impl IntoIterator<Item = Card>,
    ) -> Self {
        let mut state = Self {
            cpu_milli,
            memory_mib,
            model,
            untouched: true,
            cards: [Card::default(); MAX_CARDS],
            count: 0,
        };
        for (slot, card) in state.cards.iter_mut().zip(cards) {
            *slot = card;
            state.count += 1;
        }
        state
    }

    /// Its cards, by position.
    pub fn cards(&self) -> &[Card] {
        self.cards.get(..usize::from(self.count)).unwrap_or(&[])
    }

    /// Its cards, to be changed.
    pub fn cards_mut(&mut self) -> &mut [Card] {
        self.cards
            .get_mut(..usize::from(self.count))
            .unwrap_or(&mut [])
    }

    /// Idle compute of all cards, milli.
    pub fn idle_milli(&self) -> u64 {
        self.cards().iter().map(|card| u64::from(card.milli)).sum()
    }

    /// True when the pod's CPU, memory and cards fit, and the model is accepted. Everything else that a scheduler checks is the caller's.
    pub fn fits(&self, pod: &PodClass) -> bool {
        if self.cpu_milli < pod.cpu_milli || self.memory_mib < pod.memory_mib {
            return false;
        }
        if pod.cards == 0 {
            return true;
        }
        pod.models.contains(self.model)
            && self.cards().iter().filter(|card| card.fits(pod)).count() >= usize::from(pod.cards)
    }

    /// The `pod.cards` fitting cards with least left, lowest position first among equals; `None` when too few fit.
    pub fn tightest(&self, pod: &PodClass) -> Option<CardSet> {
        let mut chosen = CardSet::EMPTY;
        for _ in 0..pod.cards {
            let (position, _) = self
                .cards()
                .iter()
                .enumerate()
                .filter(|(position, card)| !chosen.contains(*position) && card.fits(pod))
                .min_by_key(|(_, card)| **card)?;
            chosen = chosen.union(CardSet::one(position));
        }
        Some(chosen)
    }

    /// The state with the pod on these cards. Does not check the fit: what is missing counts as zero.
    #[must_use]
    pub fn with(&self, pod: &PodClass, cards: CardSet) -> Self {
        let mut after = *self;
        after.cpu_milli = after.cpu_milli.saturating_sub(pod.cpu_milli);
        after.memory_mib = after.memory_mib.saturating_sub(pod.memory_mib);
        after.untouched = false;
        for (position, card) in after.cards_mut().iter_mut().enumerate() {
            if cards.contains(position) {
                *card = card.without(pod);
            }
        }
        after
    }

    /// The same state with its cards in ascending order and what no cost depends on cleared: equal for nodes that any cost treats equally.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut state = *self;
        state.cards_mut().sort_unstable();
        state.untouched = false;
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(lefts: &[u16]) -> NodeState {
        NodeState::new(
            8000,
            1024,
            ModelId::default(),
            lefts.iter().map(|milli| Card {
                milli: *milli,
                memory_mib: 0,
            }),
        )
    }

    #[test]
    fn a_pod_takes_the_tightest_cards_that_hold_it() {
        let node = node(&[1000, 300, 500, 300]);
        let share = PodClass::gpu(1000, 250, 1);
        assert_eq!(node.tightest(&share), Some(CardSet::one(1)));
        let two = PodClass::gpu(1000, 500, 2);
        assert_eq!(
            node.tightest(&two),
            Some(CardSet::one(0).union(CardSet::one(2)))
        );
        assert_eq!(node.tightest(&PodClass::gpu(1, 1000, 2)), None);
        let after = node.with(&two, node.tightest(&two).unwrap());
        assert_eq!(after.idle_milli(), 1100);
        assert_eq!((after.cpu_milli, after.untouched), (7000, false));
    }

    #[test]
    fn a_card_is_full_when_its_memory_is() {
        let mut node = node(&[1000]);
        let pod = PodClass {
            card_memory_mib: 600,
            ..PodClass::gpu(0, 100, 1)
        };
        assert!(!node.fits(&pod));
        for card in node.cards_mut() {
            card.memory_mib = 1000;
        }
        assert!(node.fits(&pod));
        assert!(!node.with(&pod, CardSet::one(0)).fits(&pod));
    }

    #[test]
    fn order_of_cards_does_not_tell_states_apart() {
        assert_eq!(node(&[1, 2, 3]).canonical(), node(&[3, 1, 2]).canonical());
        assert_ne!(node(&[1, 2]).canonical(), node(&[1, 2, 0]).canonical());
    }

    #[test]
    fn cards_beyond_the_limit_are_left_out() {
        let node = node(&[1000; 20]);
        assert_eq!(node.cards().len(), MAX_CARDS);
        assert!(CardSet::one(20).is_empty());
    }
}
