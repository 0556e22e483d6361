//! Where a pod would be, in positions of its node's machine, and what it would hold.

use smallvec::SmallVec;

use crate::{
    placement::{
        allocation::{Allocation, CardShare, HeldCard, NumaShare},
        machine::{Machine, Mask},
        request::{PodRequest, Role},
    },
    reclaimed::Reclaimed,
    units::Millicpu,
};

/// A pod's place on a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// Reclaimed amounts.
    pub reclaimed: Reclaimed,
    /// CPU request of a service that is not bound.
    pub floating: Millicpu,
    /// Its NUMA nodes, ascending by number.
    pub numa: SmallVec<[NumaShare; 1]>,
    /// It shares them with nobody.
    pub exclusive: bool,
    /// Kubelet will choose the NUMA nodes, and these are what it will choose as far as one can tell: they are counted, but not written into the
    /// Binding, where they would be an order to the agent.
    pub predicted: bool,
    /// Containers with devices, in the order of the request.
    pub containers: SmallVec<[ContainerPlacement; 1]>,
    /// How good the choice of devices is.
    pub quality: Quality,
}

/// Devices of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerPlacement {
    /// Its position in the request.
    pub container: u8,
    /// Its cards.
    pub cards: SmallVec<[PlacedCard; 2]>,
    /// Its network cards, by position.
    pub nics: SmallVec<[u8; 2]>,
}

/// A card of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedCard {
    /// Its position.
    pub card: u8,
    /// How much of it.
    pub share: CardShare,
}

/// How far a choice of devices is from the best there could be, the most important first; compared in that order, less is better. Sums over the
/// containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quality {
    /// Wishes about nearness that do not hold.
    pub wishes: u16,
    /// Models beyond the first among a container's cards.
    pub models: u16,
    /// Links that the worst-linked pair of cards lacks to the best-linked pair of the machine.
    pub links: u16,
    /// Sockets, NUMA nodes, root complexes and switches beyond the first that a container's devices touch, the farther the dearer.
    pub spread: u16,
    /// Idle cards that stay behind in switches and NUMA nodes that are broken into.
    pub broken: u16,
    /// What stays free on a shared card, thousandths of its compute and memory.
    pub left: u16,
}

impl Quality {
    /// Of two containers.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            wishes: self.wishes.saturating_add(other.wishes),
            models: self.models.saturating_add(other.models),
            links: self.links.saturating_add(other.links),
            spread: self.spread.saturating_add(other.spread),
            broken: self.broken.saturating_add(other.broken),
            left: self.left.saturating_add(other.left),
        }
    }
}

impl Placement {
    /// What the pod would hold of a node with that machine.
    pub fn allocation(&self, machine: &Machine, request: &PodRequest) -> Allocation {
        let mut nics = Mask::EMPTY;
        for container in &self.containers {
            nics = nics.or(container.nics.iter().map(|nic| usize::from(*nic)).collect());
        }
        Allocation {
            reclaimed: self.reclaimed,
            floating: self.floating,
            numa: self.numa.iter().copied().collect(),
            exclusive: self.exclusive,
            cards: self
                .held_cards(request)
                .into_iter()
                .filter_map(|(position, share)| {
                    let card = machine.cards().get(usize::from(position))?;
                    Some(HeldCard {
                        uuid: card.uuid.clone(),
                        index: card.index,
                        share,
                    })
                })
                .collect(),
            nics: nics
                .iter()
                .filter_map(|position| Some(machine.nics().get(position)?.name.clone()))
                .collect(),
        }
    }

    /// The share of each card over all containers: those that run together add up, an init container takes turns with them.
    pub fn held_cards(&self, request: &PodRequest) -> SmallVec<[(u8, CardShare); 8]> {
        let mut held: SmallVec<[(u8, CardShare); 8]> = SmallVec::new();
        let of_role = |init: bool| {
            self.containers
                .iter()
                .filter(move |placed| {
                    let container = request.containers.get(usize::from(placed.container));
                    container.is_some_and(|container| (container.role == Role::Init) == init)
                })
                .flat_map(|placed| &placed.cards)
        };
        for (init, join) in [
            (
                false,
                CardShare::sum as fn(CardShare, CardShare) -> CardShare,
            ),
            (true, CardShare::most),
        ] {
            for placed in of_role(init) {
                match held.iter_mut().find(|(card, _)| *card == placed.card) {
                    Some((_, share)) => *share = join(*share, placed.share),
                    None => held.push((placed.card, placed.share)),
                }
            }
        }
        held.sort_unstable_by_key(|(card, _)| *card);
        held
    }
}
