//! GPUs and network cards for the containers of a pod: one search over both.
//!
//! Containers that run together are placed one after the other, each with a set of cards and then a set of network cards, and when a later one finds no place, earlier
//! choices are taken back. Of all placements the best by [`Quality`] is kept. Cards that differ in nothing (same switch, same
//! model, same free amounts) are tried once, in ascending order, so eight idle cards below four switches are nineteen sets of four and
//! not seventy. After [`STEPS`] steps the search ends with the best so far, or with [`Unfit::SearchLimit`].
//!
//! An init container runs alone: it takes the pod's own cards where they do, else free ones.

mod nics;
mod quality;
mod search;
mod state;
mod why;

use smallvec::SmallVec;

use super::placement::{ContainerPlacement, Quality};
use crate::placement::{
    machine::{Machine, Mask},
    node::NodePlacement,
    request::{PodRequest, Role},
    unfit::Unfit,
};
use search::{Outcome, Search};
use state::State;

/// Steps after which a search ends: about half a millisecond.
pub(super) const STEPS: u32 = 20_000;

/// Where devices may come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Within {
    /// Devices in these NUMA nodes, by position; any, also of unknown place, where `None`.
    pub(super) zones: Option<Mask>,
    /// Cards, by position.
    pub(super) cards: Mask,
}

impl Within {
    /// Anywhere.
    pub(super) const ANY: Self = Self {
        zones: None,
        cards: Mask::ALL,
    };

    fn holds(self, zone: Option<u8>) -> bool {
        self.zones
            .is_none_or(|zones| zone.is_some_and(|position| zones.contains(usize::from(position))))
    }
}

/// Devices of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    pub(super) containers: SmallVec<[ContainerPlacement; 1]>,
    pub(super) quality: Quality,
}

/// Finds the best devices.
pub(super) fn place(
    node: &NodePlacement,
    request: &PodRequest,
    within: Within,
) -> Result<Found, Unfit> {
    let machine = node.machine();
    let state = State::now(node);
    let eligible = Eligible::of(machine, request, within);
    why::check(machine, request, eligible, &state)?;
    match place_on(machine, request, eligible, &state) {
        Outcome::Found(found) => Ok(found),
        Outcome::Nothing => Err(why::unfit(machine, request, eligible)),
        Outcome::GaveUp => Err(Unfit::SearchLimit),
    }
}

/// Devices that the pod accepts, whether free or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Eligible {
    pub(super) cards: Mask,
    pub(super) nics: Mask,
}

impl Eligible {
    fn of(machine: &Machine, request: &PodRequest, within: Within) -> Self {
        let any = request.cards.is_any();
        let cards = (0..)
            .zip(machine.cards())
            .filter(|(at, card)| {
                card.healthy
                    && within.cards.contains(*at)
                    && within.holds(card.zone)
                    && (any || request.cards.accepts(&card.model, &card.uuid))
            })
            .map(|(at, _)| at)
            .collect();
        let rails = request.affinity.rails;
        let nics = (0..)
            .zip(machine.nics())
            .filter(|(_, nic)| {
                nic.up
                    && within.holds(nic.zone)
                    && rails.is_none_or(|rails| rails.contains(usize::from(nic.rail)))
            })
            .map(|(at, _)| at)
            .collect();
        Self { cards, nics }
    }
}

fn place_on(machine: &Machine, request: &PodRequest, eligible: Eligible, state: &State) -> Outcome {
    let of_role = |init: bool| {
        (0_u8..)
            .zip(&request.containers)
            .filter(move |(_, container)| {
                container.wants_devices() && (container.role == Role::Init) == init
            })
            .map(|(at, _)| at)
    };
    let together: SmallVec<[u8; 4]> = of_role(false).collect();
    let mut found = match Search::new(machine, request, eligible, state.clone()).run(&together) {
        Outcome::Found(found) => found,
        other => return other,
    };
    // Beside an init container only sidecars run.
    let mut beside = state.clone();
    let (mut own_cards, mut own_nics) = (Mask::EMPTY, Mask::EMPTY);
    for placed in &found.containers {
        let role = request
            .containers
            .get(usize::from(placed.container))
            .map(|container| container.role);
        let nics: Mask = placed.nics.iter().map(|nic| usize::from(*nic)).collect();
        for card in &placed.cards {
            if role == Some(Role::Sidecar) {
                beside.take(usize::from(card.card), card.share);
            }
            own_cards = own_cards.with(usize::from(card.card));
        }
        if role == Some(Role::Sidecar) {
            beside.nics = beside.nics.without(nics);
        }
        own_nics = own_nics.or(nics);
    }
    for init in of_role(true) {
        let own = Eligible {
            cards: eligible.cards.and(own_cards),
            nics: eligible.nics.and(own_nics),
        };
        let search =
            |eligible| Search::new(machine, request, eligible, beside.clone()).run(&[init]);
        let more = match search(own) {
            Outcome::Found(more) => more,
            Outcome::Nothing | Outcome::GaveUp => match search(eligible) {
                Outcome::Found(more) => more,
                other => return other,
            },
        };
        for placed in &more.containers {
            own_cards = own_cards.or(placed
                .cards
                .iter()
                .map(|card| usize::from(card.card))
                .collect());
            own_nics = own_nics.or(placed.nics.iter().map(|nic| usize::from(*nic)).collect());
        }
        found.quality = found.quality.plus(more.quality);
        found.containers.extend(more.containers);
    }
    found.containers.sort_by_key(|placed| placed.container);
    Outcome::Found(found)
}
