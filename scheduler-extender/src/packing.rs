//! Ranks of nodes for pods that ask for GPUs, by a policy of `katalyst_core::packing`.
//!
//! The policy learns from the pods that are asked about: each counts once. When what it knows is worth a new look, another policy is
//! made of it away from the request ([`Packing::learn`]), and every cost is computed anew from then on. Costs that are known are kept
//! with the node's verdict. A value of the rollout policy takes tens of microseconds, a glance at all nodes of a cluster would take seconds:
//! where a cost is not known it is guessed first, by what best fit would say, and computed for the few nodes that a question would otherwise
//! choose by guess, of most of them after the question ([`Ranking`]).

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use katalyst_core::packing::{
    Arrivals, BestFit, Budget, Capacity, Card, CardSet, ModelId, ModelSet, NodeState,
    PackingPolicy, PodClass, PolicyName, WHOLE_CARD,
};
use katalyst_core::placement::request::{CardAmount, CardSelector, GpuRequest};
use katalyst_core::placement::{NodePlacement, Placement, PodRequest as Wish};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ledger::Table;
use crate::recent::Recent;
use crate::request::Uid;

/// Values that one node may take: with the pod and without it.
const VALUES: u32 = 2;
/// Pods that are remembered as counted.
const COUNTED: usize = 20_000;
/// Pods that popularity is learned from.
const WINDOW: usize = 6400;

type Policy = Box<dyn PackingPolicy>;

/// See the module.
pub struct Packing {
    /// None while no policy ranks: placement's own score does.
    policy: ArcSwapOption<Policy>,
    learning: Mutex<Learning>,
    epoch: AtomicU64,
    wanted: Notify,
}

struct Learning {
    arrivals: Arrivals,
    counted: Recent<()>,
    models: Vec<Arc<str>>,
    /// Popularities changed since the policy was made.
    anew: bool,
}

impl std::fmt::Debug for Packing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packing")
            .field("on", &self.is_on())
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

impl Default for Packing {
    /// No policy.
    fn default() -> Self {
        Self::new(None)
    }
}

impl Packing {
    /// With a policy that has learned nothing yet, or with none.
    pub fn new(policy: Option<PolicyName>) -> Self {
        Self {
            policy: ArcSwapOption::from_pointee(policy.map(PolicyName::policy)),
            learning: Mutex::new(Learning {
                arrivals: Arrivals::sliding(WINDOW),
                counted: Recent::new(COUNTED),
                models: Vec::new(),
                anew: false,
            }),
            epoch: AtomicU64::new(0),
            wanted: Notify::new(),
        }
    }

    /// Whether a policy ranks nodes.
    pub fn is_on(&self) -> bool {
        self.policy.load().is_some()
    }

    /// Grows when costs are no longer comparable with earlier ones.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Counts a pod when it is first asked about.
    pub fn arrived(&self, uid: &Uid, wish: &Wish) {
        if !wish.wants_devices() || !self.is_on() {
            return;
        }
        let mut learning = self.learning.lock();
        if learning.counted.get(uid).is_some() {
            return;
        }
        learning.counted.put(uid.clone(), ());
        let Some(class) = learning.class(wish) else {
            return;
        };
        if learning.arrivals.arrived(class) {
            learning.anew = true;
            self.wanted.notify_one();
        } else if learning.arrivals.prices_are_old() {
            self.wanted.notify_one();
        }
    }

    /// Waits until another look at what was learned, or at what is left, is worth it.
    pub async fn worth_learning(&self) {
        self.wanted.notified().await;
    }

    /// Makes the policy anew from what arrived, where that changed, and prices what is left on the nodes. Takes milliseconds and more: not on a request.
    pub fn learn(&self, table: &Table) {
        let Some(policy) = self.policy.load_full() else {
            return;
        };
        let (classes, capacity, left) = {
            let mut learning = self.learning.lock();
            let mut capacity = Capacity::default();
            let mut left = Vec::new();
            for (_, cell) in table.iter() {
                let state = cell.state();
                if let Some(card) = state.placement.machine().cards().first() {
                    left.push(self::state(&state.placement, learning.model(&card.model)));
                }
                for card in state.placement.machine().cards() {
                    capacity.add(learning.model(&card.model), u64::from(WHOLE_CARD));
                }
            }
            let classes = std::mem::take(&mut learning.anew).then(|| learning.arrivals.table());
            (classes, capacity, left)
        };
        let learned = classes.map(|classes| policy.learned(&classes, &capacity));
        let priced = learned.as_ref().unwrap_or(&policy).priced(&left);
        let Some(next) = priced.or(learned) else {
            return;
        };
        self.policy.store(Some(Arc::new(next)));
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Ranks for one request; `None` where no policy ranks, or the pod asks for no GPU.
    ///
    /// Read the [epoch](Self::epoch) before: costs of a newer policy may be taken for those of an older one, which go soon, and never the other way.
    pub fn ranking(&self, wish: &Wish) -> Option<Ranking<'_>> {
        if !wish.wants_devices() {
            return None;
        }
        let policy = self.policy.load_full()?;
        Some(Ranking {
            packing: self,
            policy,
            class: self.learning.lock().class(wish)?,
            models: RefCell::default(),
        })
    }
}

/// What a node costs for one request; the lower the better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cost {
    /// The policy's word.
    Known(f64),
    /// What best fit says; to be compared with other guesses only.
    Guessed(f64),
}

/// Costs of nodes for one request.
pub struct Ranking<'a> {
    packing: &'a Packing,
    policy: Arc<Policy>,
    class: PodClass,
    /// Numbers of the models that were met, so that the lock is not taken for each node.
    models: RefCell<Vec<(Arc<str>, ModelId)>>,
}

impl Ranking<'_> {
    /// Cost of a placement that was found on the node, without computing a value.
    pub fn glance(&self, node: &NodePlacement, placement: &Placement) -> Cost {
        let (before, after) = self.step(node, placement);
        if let Some(cost) = self.policy.known(&self.class, &before, &after) {
            return Cost::Known(cost);
        }
        let none = &mut Budget::new(0);
        Cost::Guessed(BestFit::default().cost(&self.class, &before, &after, none))
    }

    /// The same, computed where it is not known: two values.
    pub fn cost(&self, node: &NodePlacement, placement: &Placement) -> f64 {
        let (before, after) = self.step(node, placement);
        let budget = &mut Budget::new(VALUES);
        self.policy.cost(&self.class, &before, &after, budget)
    }

    fn step(&self, node: &NodePlacement, placement: &Placement) -> (NodeState, NodeState) {
        let model = node.machine().cards().first().map(|card| &card.model);
        let before = state(
            node,
            model.map_or_else(ModelId::default, |name| self.model(name)),
        );
        let cards = placement
            .containers
            .iter()
            .flat_map(|container| &container.cards)
            .fold(CardSet::EMPTY, |set, card| {
                set.union(CardSet::one(usize::from(card.card)))
            });
        let after = before.with(&self.class, cards);
        (before, after)
    }

    fn model(&self, name: &Arc<str>) -> ModelId {
        let mut models = self.models.borrow_mut();
        if let Some((_, number)) = models.iter().find(|(known, _)| known == name) {
            return *number;
        }
        let number = self.packing.learning.lock().model(name);
        models.push((name.clone(), number));
        number
    }
}

impl Learning {
    /// The number of a model; the rarest share the last one.
    fn model(&mut self, name: &Arc<str>) -> ModelId {
        let at = self
            .models
            .iter()
            .position(|known| known == name)
            .unwrap_or_else(|| {
                if self.models.len() < usize::from(ModelId::COUNT) {
                    self.models.push(name.clone());
                }
                self.models.len() - 1
            });
        u8::try_from(at)
            .ok()
            .and_then(ModelId::new)
            .unwrap_or_default()
    }

    fn accepted(&self, selector: &CardSelector) -> ModelSet {
        if selector.models.is_empty() && selector.models_excluded.is_empty() {
            return ModelSet::ANY;
        }
        let by_model = CardSelector {
            uuids: Box::default(),
            uuids_excluded: Box::default(),
            ..selector.clone()
        };
        (0..)
            .zip(&self.models)
            .filter(|(_, name)| by_model.accepts(name, ""))
            .filter_map(|(at, _)| ModelId::new(at))
            .collect()
    }

    /// The container with the most compute stands for the pod.
    fn class(&self, wish: &Wish) -> Option<PodClass> {
        let gpus = wish.containers.iter().filter_map(|each| each.gpus);
        let request =
            gpus.max_by_key(|request| u64::from(milli(request)) * u64::from(request.cards))?;
        Some(PodClass {
            cpu_milli: wish.cpu.get(),
            memory_mib: 0,
            card_milli: milli(&request),
            card_memory_mib: 0,
            cards: request.cards,
            models: self.accepted(&wish.cards),
        })
    }
}

/// What is left on a node. Memory is not modelled, of cards nor of the node: fit has decided about it.
fn state(node: &NodePlacement, model: ModelId) -> NodeState {
    let (machine, used) = (node.machine(), node.used());
    let free_cpu = machine
        .zones()
        .iter()
        .zip(&used.zones)
        .fold(0, |sum, (zone, held)| sum + (zone.cpu - held.cpu).get());
    let cards = machine.cards().iter().zip(&used.cards).map(|(card, held)| {
        let milli = if held.whole > 0 || !card.healthy {
            0
        } else {
            WHOLE_CARD.saturating_sub(u16::try_from(held.percent * 10).unwrap_or(u16::MAX))
        };
        Card {
            milli,
            memory_mib: 0,
        }
    });
    let free_cpu = free_cpu.saturating_sub(used.floating.get());
    let mut state = NodeState::new(free_cpu, 0, model, cards);
    state.untouched = node.pods().len() == 0;
    state
}

/// Compute on each card, thousandths. A part that asks for memory alone counts as a hundredth: it keeps others from the whole card.
fn milli(request: &GpuRequest) -> u16 {
    match request.amount {
        CardAmount::Whole { .. } => WHOLE_CARD,
        CardAmount::Part { percent, .. } => u16::from(percent.max(1)) * 10,
    }
}
