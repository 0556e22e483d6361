//! How good a container's devices are.

use smallvec::SmallVec;

use super::state::State;
use crate::placement::{
    allocation::CardShare,
    fit::placement::{ContainerPlacement, PlacedCard, Quality},
    machine::{Card, Groups, Machine, Mask, Scope},
    request::{Near, PodRequest},
};

/// Devices of one container while it is placed.
#[derive(Debug, Clone, Default)]
pub(super) struct Devices {
    pub(super) cards: Mask,
    pub(super) nics: Mask,
    /// The shares of the cards, in the order of choice.
    pub(super) shares: SmallVec<[PlacedCard; 8]>,
}

/// What each scope beyond the nearest weighs in [`Quality::spread`].
const SPREAD: [(Scope, u16); 4] = [
    (Scope::Socket, 256),
    (Scope::Numa, 64),
    (Scope::Root, 16),
    (Scope::Switch, 4),
];

/// What cards and network cards cost; the state is that before they are taken.
pub(super) fn of(
    machine: &Machine,
    request: &PodRequest,
    state: &State,
    devices: &Devices,
) -> Quality {
    let mut quality = of_cards(machine, request, state, devices);
    if devices.nics.is_empty() {
        return quality;
    }
    let cards = || groups_of_cards(machine, devices.cards);
    let nics = || groups_of_nics(machine, devices.nics);
    let affinity = &request.affinity;
    if let Some(near) = wish(affinity.nics) {
        quality.wishes += distinct(nics(), near.scope).saturating_sub(1);
    }
    if let Some(near) = wish(affinity.gpu_nic).filter(|_| !devices.cards.is_empty()) {
        quality.wishes += alone(cards(), &nics, near.scope) + alone(nics(), &cards, near.scope);
    }
    if affinity.rail_order && !devices.cards.is_empty() {
        let pairs = devices.cards.count().min(devices.nics.count()) as u16;
        quality.wishes += pairs.saturating_sub(pairs_on_one_switch(machine, devices));
    }
    // Network cards count where they lie elsewhere than the GPUs.
    quality.spread = spread(|| cards().chain(nics()));
    if devices.cards.is_empty() {
        quality.broken = left_behind(&nics, |scope, group| {
            let free = state.nics.without(devices.nics);
            groups_of_nics(machine, free)
                .filter(|groups| groups.at(scope) == group)
                .count()
        });
    }
    quality
}

/// What the cards alone cost.
pub(super) fn of_cards(
    machine: &Machine,
    request: &PodRequest,
    state: &State,
    devices: &Devices,
) -> Quality {
    let mut quality = Quality::default();
    if devices.cards.is_empty() {
        return quality;
    }
    let cards = || groups_of_cards(machine, devices.cards);
    let affinity = &request.affinity;
    if devices.cards.count() > 1 {
        if let Some(near) = wish(affinity.gpus) {
            quality.wishes += distinct(cards(), near.scope).saturating_sub(1);
        }
        quality.models = models(machine, devices.cards).saturating_sub(1);
        if machine.has_links() {
            let (unlinked, least) = links(machine, devices.cards);
            if affinity.nvlink == Some(false) {
                quality.wishes += unlinked;
            }
            quality.links = most_links(machine).saturating_sub(u16::from(least));
        }
        quality.spread = spread(cards);
    }
    // Parts of cards that are shared already break nothing.
    let fresh: Mask = devices
        .cards
        .iter()
        .filter(|at| state.is_idle(*at))
        .collect();
    quality.broken = left_behind(&|| groups_of_cards(machine, fresh), |scope, group| {
        let idle = (0..machine.cards().len())
            .filter(|at| state.is_idle(*at) && !devices.cards.contains(*at));
        groups_of_cards(machine, idle.collect())
            .filter(|groups| groups.at(scope) == group)
            .count()
    });
    let shared = devices
        .shares
        .iter()
        .filter(|placed| placed.share != CardShare::Whole);
    for placed in shared.clone() {
        quality.broken += u16::from(fresh.contains(usize::from(placed.card)));
    }
    for placed in &devices.shares {
        quality.left = quality.left.saturating_add(left(machine, state, placed));
    }
    quality
}

fn wish(near: Option<Near>) -> Option<Near> {
    near.filter(|near| !near.required)
}

fn groups_of_cards(machine: &Machine, cards: Mask) -> impl Iterator<Item = Groups> {
    cards
        .iter()
        .filter_map(|at| machine.cards().get(at).map(|card| card.groups))
}

fn groups_of_nics(machine: &Machine, nics: Mask) -> impl Iterator<Item = Groups> {
    nics.iter()
        .filter_map(|at| machine.nics().get(at).map(|nic| nic.groups))
}

/// Group numbers below 128 as bits.
fn bits(groups: impl Iterator<Item = Groups>, scope: Scope) -> u128 {
    groups.fold(0, |bits, groups| {
        bits | 1_u128.checked_shl(u32::from(groups.at(scope))).unwrap_or(0)
    })
}

fn distinct(groups: impl Iterator<Item = Groups>, scope: Scope) -> u16 {
    bits(groups, scope).count_ones() as u16
}

/// How many of these have none of the others near.
fn alone<I: Iterator<Item = Groups>>(
    these: impl Iterator<Item = Groups>,
    others: &dyn Fn() -> I,
    scope: Scope,
) -> u16 {
    let there = bits(others(), scope);
    these
        .filter(|groups| there >> groups.at(scope) & 1 == 0)
        .count() as u16
}

fn spread<I: Iterator<Item = Groups>>(devices: impl Fn() -> I) -> u16 {
    SPREAD
        .iter()
        .map(|(scope, weight)| weight * distinct(devices(), *scope).saturating_sub(1).min(60))
        .fold(0, u16::saturating_add)
}

/// Free devices that stay behind in the switches and NUMA nodes of these.
fn left_behind<I: Iterator<Item = Groups>>(
    these: &dyn Fn() -> I,
    free: impl Fn(Scope, u8) -> usize,
) -> u16 {
    let mut sum = 0;
    for scope in [Scope::Switch, Scope::Numa] {
        let mut touched = bits(these(), scope);
        while touched != 0 {
            sum += free(scope, touched.trailing_zeros() as u8);
            touched &= touched - 1;
        }
    }
    sum as u16
}

fn models(machine: &Machine, cards: Mask) -> u16 {
    let model = |at: usize| machine.cards().get(at).map(|card: &Card| &*card.model);
    let first_of_its_model = |at: &usize| {
        !cards
            .iter()
            .take_while(|other| other < at)
            .any(|other| model(other) == model(*at))
    };
    cards.iter().filter(first_of_its_model).count() as u16
}

/// Pairs without a link, and the links of the worst-linked pair.
fn links(machine: &Machine, cards: Mask) -> (u16, u8) {
    let mut unlinked = 0;
    let mut least = u8::MAX;
    for one in cards.iter() {
        for other in cards.iter().take_while(|other| *other < one) {
            let links = machine.links(one, other);
            unlinked += u16::from(links == 0);
            least = least.min(links);
        }
    }
    (unlinked, least)
}

fn most_links(machine: &Machine) -> u16 {
    let cards = machine.cards().len();
    (0..cards)
        .flat_map(|one| (0..one).map(move |other| machine.links(one, other)))
        .max()
        .map_or(0, u16::from)
}

/// What stays free of a shared card, or how much card is spent on a pod that takes it whole, in thousandths.
fn left(machine: &Machine, state: &State, placed: &PlacedCard) -> u16 {
    let at = usize::from(placed.card);
    let (Some(card), Some(state)) = (machine.cards().get(at), state.cards.get(at)) else {
        return 0;
    };
    let largest = machine
        .cards()
        .iter()
        .map(|card| card.mib)
        .max()
        .unwrap_or(0);
    let thousandths = |of: u32, all: u32| {
        (u64::from(of) * 500)
            .checked_div(u64::from(all))
            .unwrap_or(0) as u16
    };
    match placed.share {
        CardShare::Whole => thousandths(card.mib, largest),
        CardShare::Part { percent, mib } => {
            let percent = u32::from(state.percent.saturating_sub(percent));
            thousandths(percent, 100) + thousandths(state.mib.saturating_sub(mib), card.mib)
        }
    }
}

/// The devices of a container in the order in which it gets them: each card with the nearest network card, by rail; then cards without one, then
/// network cards without a card.
pub(super) fn paired(machine: &Machine, devices: &Devices) -> ContainerPlacement {
    let mut pairs: SmallVec<[(Option<u8>, PlacedCard); 8]> = SmallVec::new();
    let mut free = devices.nics;
    let mut cards = devices.shares.clone();
    cards.sort_unstable_by_key(|placed| placed.card);
    let groups = |placed: &PlacedCard| {
        let card = machine.cards().get(usize::from(placed.card));
        card.map(|card| card.groups)
    };
    // The nearest pairs first, so that no card takes what is nearer to another.
    for scope in Scope::ALL.map(Some).into_iter().chain([None]) {
        cards.retain(|placed| {
            let near = free.iter().find(|at| {
                scope.is_none_or(|scope| {
                    let nic = machine.nics().get(*at).map(|nic| nic.groups.at(scope));
                    nic.is_some() && nic == groups(placed).map(|groups| groups.at(scope))
                })
            });
            let Some(at) = near else {
                return true;
            };
            free = free.without(Mask::one(at));
            pairs.push((Some(at as u8), *placed));
            false
        });
    }
    pairs.extend(cards.into_iter().map(|placed| (None, placed)));
    let rail = |at: &Option<u8>| {
        let nic = at.and_then(|at| machine.nics().get(usize::from(at)));
        nic.map_or(u8::MAX, |nic| nic.rail)
    };
    pairs.sort_by_key(|(nic, placed)| (rail(nic), nic.unwrap_or(u8::MAX), placed.card));
    ContainerPlacement {
        container: 0,
        cards: pairs.iter().map(|(_, placed)| *placed).collect(),
        nics: pairs
            .iter()
            .filter_map(|(nic, _)| *nic)
            .chain(free.iter().map(|at| at as u8))
            .collect(),
    }
}

fn pairs_on_one_switch(machine: &Machine, devices: &Devices) -> u16 {
    let pairs = paired(machine, devices);
    let together = |(placed, nic): &(&PlacedCard, &u8)| {
        let card = machine.cards().get(usize::from(placed.card));
        let nic = machine.nics().get(usize::from(**nic));
        card.zip(nic).is_some_and(|(card, nic)| {
            card.groups.at(Scope::Switch) == nic.groups.at(Scope::Switch)
        })
    };
    pairs.cards.iter().zip(&pairs.nics).filter(together).count() as u16
}
