//! The search.

use smallvec::SmallVec;

use super::{
    Eligible, Found, STEPS, nics,
    quality::{self, Devices},
    state::{CardState, State},
};
use crate::placement::{
    allocation::CardShare,
    fit::placement::{ContainerPlacement, PlacedCard, Quality},
    machine::{Groups, Machine, Mask, Scope},
    request::{ContainerRequest, GpuRequest, PodRequest},
};

/// What came of a search.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The best placement, or the best within the steps.
    Found(Found),
    /// There is none.
    Nothing,
    /// None within the steps.
    GaveUp,
}

/// A search on one machine.
pub(super) struct Search<'a> {
    pub(super) machine: &'a Machine,
    pub(super) request: &'a PodRequest,
    pub(super) eligible: Eligible,
    state: State,
    steps: u32,
    placed: SmallVec<[ContainerPlacement; 1]>,
    best: Option<Found>,
}

/// Cards that may be tried for a container, those that differ in nothing beside each other.
type Order = SmallVec<[Candidate; 16]>;

/// A card that may be tried.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    card: u8,
    share: CardShare,
    /// Number of its class: cards of a class differ in nothing.
    class: u8,
}

/// What makes cards alike: place, what is free, memory, model, and the position where links set it apart.
type Key<'m> = (Groups, CardState, u32, &'m str, usize);

impl<'a> Search<'a> {
    pub(super) fn new(
        machine: &'a Machine,
        request: &'a PodRequest,
        eligible: Eligible,
        state: State,
    ) -> Self {
        Self {
            machine,
            request,
            eligible,
            state,
            steps: 0,
            placed: SmallVec::new(),
            best: None,
        }
    }

    /// Places these containers, all of them at the same time.
    pub(super) fn run(mut self, containers: &[u8]) -> Outcome {
        self.next(containers, Quality::default());
        match self.best {
            Some(found) => Outcome::Found(found),
            None if self.steps >= STEPS => Outcome::GaveUp,
            None => Outcome::Nothing,
        }
    }

    /// Counts a step; false when there have been too many.
    pub(super) fn step(&mut self) -> bool {
        self.steps += 1;
        self.steps < STEPS
    }

    /// Whether a placement of at least this cost cannot be better than the best.
    pub(super) fn is_hopeless(&self, quality: Quality) -> bool {
        self.best
            .as_ref()
            .is_some_and(|best| quality >= best.quality)
    }

    /// Places the first of these and then the others, with what the ones before cost.
    fn next(&mut self, containers: &[u8], before: Quality) {
        let Some((first, rest)) = containers.split_first() else {
            if !self.is_hopeless(before) {
                self.best = Some(Found {
                    containers: self.placed.clone(),
                    quality: before,
                });
            }
            return;
        };
        let request = self.request;
        let Some(container) = request.containers.get(usize::from(*first)) else {
            return;
        };
        let mut trial = Trial {
            index: *first,
            container,
            rest,
            before,
            devices: Devices::default(),
        };
        match container.gpus {
            Some(gpus) => {
                let order = self.order(gpus);
                self.cards(&mut trial, &order, gpus);
            }
            None => nics::choose(self, &mut trial),
        }
    }

    /// Cards with room, those of a class beside each other.
    fn order(&self, gpus: GpuRequest) -> Order {
        let machine = self.machine;
        // Where links differ, a card is defined by its links as well: none is like another.
        let own_class = gpus.cards > 1 && !machine.uniform_links();
        let mut keyed: SmallVec<[(Key<'_>, usize, CardShare); 16]> = self
            .eligible
            .cards
            .iter()
            .filter_map(|at| {
                let share = self.state.room(machine, at, gpus)?;
                let (card, state) = (machine.cards().get(at)?, self.state.cards.get(at)?);
                let own = if own_class { at } else { 0 };
                let key = (card.groups, *state, card.mib, &*card.model, own);
                Some((key, at, share))
            })
            .collect();
        keyed.sort_unstable_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        let mut class = 0;
        let mut before = None;
        keyed
            .iter()
            .map(|(key, at, share)| {
                if before.is_some_and(|before| before != key) {
                    class += 1;
                }
                before = Some(key);
                Candidate {
                    card: *at as u8,
                    share: *share,
                    class,
                }
            })
            .collect()
    }

    /// Chooses the rest of a container's cards among `order`.
    fn cards(&mut self, trial: &mut Trial<'_>, order: &[Candidate], gpus: GpuRequest) {
        if trial.devices.cards.count() == usize::from(gpus.cards) {
            // What the cards alone cost is a lower bound: network cards only add.
            let cost = quality::of_cards(self.machine, self.request, &self.state, &trial.devices);
            if !self.is_hopeless(trial.before.plus(cost)) {
                nics::choose(self, trial);
            }
            return;
        }
        let mut left = order;
        while let Some((first, after)) = left.split_first() {
            if left.len() + trial.devices.cards.count() < usize::from(gpus.cards) || !self.step() {
                return;
            }
            if self.allowed(trial, usize::from(first.card)) {
                trial.devices.add_card(first.card, first.share);
                self.cards(trial, after, gpus);
                trial.devices.remove_card(first.card);
            }
            // Without this one, those like it will not do better.
            let like = after
                .iter()
                .take_while(|other| other.class == first.class)
                .count();
            left = after.get(like..).unwrap_or_default();
        }
    }

    /// Whether the card may stand beside those chosen, by what is required.
    fn allowed(&self, trial: &Trial<'_>, card: usize) -> bool {
        let affinity = &self.request.affinity;
        let chosen = trial.devices.cards;
        let groups = |at: usize| self.machine.cards().get(at).map(|card| card.groups);
        let Some(own) = groups(card) else {
            return false;
        };
        if let Some(near) = affinity.gpus.filter(|near| near.required) {
            let together = |at: usize| {
                groups(at).is_some_and(|other| other.at(near.scope) == own.at(near.scope))
            };
            if !chosen.iter().all(together) {
                return false;
            }
        }
        if affinity.nvlink == Some(true)
            && !chosen.iter().all(|at| self.machine.links(at, card) > 0)
        {
            return false;
        }
        match affinity.gpu_nic.filter(|near| near.required) {
            Some(near) if trial.container.nics > 0 => self.nic_near(own, near.scope),
            _ => true,
        }
    }

    fn nic_near(&self, groups: Groups, scope: Scope) -> bool {
        self.free_nics().iter().any(|at| {
            let nic = self.machine.nics().get(at);
            nic.is_some_and(|nic| nic.groups.at(scope) == groups.at(scope))
        })
    }

    /// Network cards that are free and will do.
    pub(super) fn free_nics(&self) -> Mask {
        self.state.nics.and(self.eligible.nics)
    }

    /// The container's devices are chosen: goes on to the next container, and takes back what was chosen.
    pub(super) fn chosen(&mut self, trial: &Trial<'_>) {
        let cost = quality::of(self.machine, self.request, &self.state, &trial.devices);
        let cost = trial.before.plus(cost);
        if self.is_hopeless(cost) {
            return;
        }
        let state = self.state.clone();
        for card in &trial.devices.shares {
            self.state.take(usize::from(card.card), card.share);
        }
        self.state.nics = self.state.nics.without(trial.devices.nics);
        self.placed.push(ContainerPlacement {
            container: trial.index,
            ..quality::paired(self.machine, &trial.devices)
        });
        self.next(trial.rest, cost);
        self.placed.pop();
        self.state = state;
    }
}

/// A container that is being placed.
pub(super) struct Trial<'a> {
    index: u8,
    pub(super) container: &'a ContainerRequest,
    /// Those after it.
    rest: &'a [u8],
    /// What those before it cost.
    before: Quality,
    pub(super) devices: Devices,
}

impl Devices {
    fn add_card(&mut self, card: u8, share: CardShare) {
        self.cards = self.cards.with(usize::from(card));
        self.shares.push(PlacedCard { card, share });
    }

    fn remove_card(&mut self, card: u8) {
        self.cards = self.cards.without(Mask::one(usize::from(card)));
        self.shares.pop();
    }
}
