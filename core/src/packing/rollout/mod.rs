//! Rollout waste: the node and cards that leave the least compute idle when the futures drawn from what arrives have been offered to it.
//!
//! For a node in state s, W(s) is the compute that stays idle, in the mean over K = 256 drawn sequences of arrivals, once they have asked for
//! twelve times what was idle ([`sequences`]). The cost of a pod is what it adds to that:
//!
//! ```text
//! W(after) - W(before)
//!   + 0.1 [Fm(after) - Fm(before)]     whole cards kept together for pods of several cards
//!   - price [U(after) - U(before)]     CPU that CPU-only pods could use, as far as it is scarce
//!   + 0.5 scarcity(model) milli        models that pods insist on are left to them
//!   + 40  when nothing runs on the node yet
//! ```
//!
//! in thousandths of a card. Fm is FGD's fragmentation for classes of two cards and more, each weighted with its share of the demand; U is what walks leave
//! ([`room`]). Its price, and the scarcity of models, follow what is left in the cluster ([`PackingPolicy::priced`]); W, Fm and U are properties of a state and
//! are kept. All nodes meet the same sequences: differences between nodes are then differences between states, not luck. Where FGD sees one pod ahead, W sees
//! as far as the node will be filled. Its values are nearly continuous, so equal scores are rare and a scheduler's random choice among them does no harm.
//!
//! Constants are from a sweep over recorded arrivals (`docs/packing.md`). Fails: with few sequences (64 and less) the noise eats the gain; where CPU
//! runs out before cards, more compute is placed at the price of CPU-only pods.

mod card;
mod room;
mod sequences;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use self::room::{CLASSES, Room, Usable};
use self::sequences::{Outlook, Sequences};
use super::demand::Scarcity;
use super::fragment::expected;
use super::node::NodeState;
use super::pod::PodClass;
use super::policy::{Budget, PackingPolicy};
use super::table::{Capacity, ClassTable};

/// Settings. Costs are in thousandths of a card.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Params {
    /// Sequences drawn.
    pub sequences: usize,
    /// Classes in each.
    pub length: usize,
    /// How often a sequence asks for what was idle before it ends.
    pub factor: u32,
    /// Weight of CPU-only classes in the draw: other nodes take most of them.
    pub cpu_only: f64,
    /// Weight of the fragmentation for several cards.
    pub several: f64,
    /// Weight of the model's scarcity.
    pub scarcity: f64,
    /// Price of a core that CPU-only pods could use, where they find no room elsewhere.
    pub room: f64,
    /// Price of a node on which nothing runs.
    pub untouched: f64,
    /// Sequences walked when the budget of a request is spent.
    pub estimate: usize,
    /// Most values kept; all are dropped when there are more. About 170 bytes each.
    pub kept: usize,
    /// Seed of the draw.
    pub seed: u64,
}

/// Pods that count as coming at least, of those that the popularity was learned from.
const COMING: f64 = 0.3;

impl Default for Params {
    fn default() -> Self {
        Self {
            sequences: 256,
            length: 300,
            factor: 12,
            cpu_only: 0.2,
            several: 0.1,
            scarcity: 0.5,
            room: 14.0,
            untouched: 40.0,
            estimate: 16,
            kept: 200_000,
            seed: 1,
        }
    }
}

/// The policy, what it learned and what it computed.
#[derive(Debug, Default, Clone)]
pub struct Rollout {
    params: Params,
    table: ClassTable,
    sequences: Arc<Sequences>,
    several: Arc<[(PodClass, f64)]>,
    scarcity: Scarcity,
    /// Of a thousandth of a core, by class of the room.
    room: [f64; CLASSES],
    kept: Arc<RwLock<HashMap<NodeState, Outlook, foldhash::fast::RandomState>>>,
}

impl Rollout {
    /// Knows no class yet: every node costs the same but for what is untouched.
    pub fn new(params: Params) -> Self {
        Self {
            params,
            ..Self::default()
        }
    }

    /// What becomes of a node; `left` includes the fragmentation for several cards. `None` where it is not kept and the budget is spent.
    fn outlook(&self, node: &NodeState, budget: &mut Budget) -> Option<Outlook> {
        let key = node.canonical();
        let known = self
            .kept
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .copied();
        if known.is_some() || !budget.take() {
            return known;
        }
        let outlook = self.walked(&key, self.params.sequences);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= self.params.kept {
            kept.clear();
        }
        kept.insert(key, outlook);
        Some(outlook)
    }

    /// The outlook by the first so many sequences.
    fn walked(&self, key: &NodeState, sequences: usize) -> Outlook {
        let mut outlook = self.sequences.outlook(key, sequences);
        outlook.left += self.params.several * expected(key, &self.several);
        outlook
    }

    /// Compute expected to stay idle, less what CPU-only pods could use at its price.
    fn value(&self, outlook: &Outlook) -> f64 {
        let room: f64 = self
            .room
            .iter()
            .zip(outlook.usable)
            .map(|(price, usable)| price * f64::from(usable))
            .sum();
        outlook.left - room
    }

    /// Cost of a step from one outlook to the other.
    fn price(&self, pod: &PodClass, before: &NodeState, (now, then): &(Outlook, Outlook)) -> f64 {
        let untouched = if before.untouched {
            self.params.untouched
        } else {
            0.0
        };
        self.value(then) - self.value(now)
            + self.params.scarcity * self.scarcity.of(before.model) * pod.gpu_milli() as f64
            + untouched
    }

    /// Prices of room, by class, for what is usable on all nodes together and idle on their cards.
    fn prices(&self, usable: &Usable, idle_milli: u64) -> [f64; CLASSES] {
        let asked: f64 = self
            .table
            .all()
            .map(|(class, p)| p * class.gpu_milli() as f64)
            .sum();
        // Pods that come until the idle cards have been asked for, and some more: cards that stay idle are no reason to fail other pods.
        let coming = (idle_milli as f64 / asked.max(1.0)).max(COMING * self.table.pods() as f64);
        let classes = self.sequences.room().classes();
        let all: f64 = self
            .table
            .all()
            .filter(|(class, _)| class.cards == 0)
            .map(|(_, p)| p)
            .sum();
        let mut prices = [0.0; CLASSES];
        for ((price, (class, p)), usable) in prices.iter_mut().zip(classes).zip(usable) {
            let wanted = p * coming * class.cpu_milli as f64;
            let scarce = (wanted / f64::from(usable.max(1.0))).min(1.0);
            *price = self.params.room / 1000.0 * p / all * scarce;
        }
        prices
    }
}

impl PackingPolicy for Rollout {
    fn learned(&self, table: &ClassTable, capacity: &Capacity) -> Box<dyn PackingPolicy> {
        let drawn: Vec<(PodClass, f64)> = table
            .typical()
            .map(|(class, p)| {
                if class.cards == 0 {
                    (class, p * self.params.cpu_only)
                } else {
                    (class, p)
                }
            })
            .collect();
        let demand: f64 = table
            .all()
            .map(|(class, p)| p * class.gpu_milli() as f64 / 1000.0)
            .sum();
        let several = table
            .all()
            .filter(|(class, _)| class.cards >= 2 && demand > 0.0)
            .map(|(class, p)| (class, p * f64::from(class.cards) / demand))
            .collect();
        Box::new(Self {
            params: self.params,
            table: table.clone(),
            sequences: Arc::new(Sequences::draw(
                &drawn,
                self.params.sequences,
                self.params.length,
                self.params.seed,
                self.params.factor,
                Room::new(table.all()),
            )),
            several,
            scarcity: Scarcity::new(table, capacity),
            room: [0.0; CLASSES],
            kept: Arc::default(),
        })
    }

    fn priced(&self, nodes: &[NodeState]) -> Option<Box<dyn PackingPolicy>> {
        let mut idle = Capacity::default();
        let mut usable = Usable::default();
        for node in nodes {
            idle.add(node.model, node.idle_milli());
            let Some(outlook) = self.outlook(node, &mut Budget::unlimited()) else {
                continue;
            };
            for (sum, usable) in usable.iter_mut().zip(outlook.usable) {
                *sum += usable;
            }
        }
        Some(Box::new(Self {
            scarcity: Scarcity::new(&self.table, &idle),
            room: self.prices(&usable, idle.total()),
            ..self.clone()
        }))
    }

    fn cost(
        &self,
        pod: &PodClass,
        before: &NodeState,
        after: &NodeState,
        budget: &mut Budget,
    ) -> f64 {
        // Both from the same sequences: between a mean over all and one over a few there would be as much luck as difference.
        let exact = (self.outlook(before, budget)).zip(self.outlook(after, budget));
        let outlooks = exact.unwrap_or_else(|| {
            let few = |node: &NodeState| self.walked(&node.canonical(), self.params.estimate);
            (few(before), few(after))
        });
        self.price(pod, before, &outlooks)
    }

    fn known(&self, pod: &PodClass, before: &NodeState, after: &NodeState) -> Option<f64> {
        let none = &mut Budget::new(0);
        let outlooks = self.outlook(before, none).zip(self.outlook(after, none))?;
        Some(self.price(pod, before, &outlooks))
    }
}

#[cfg(test)]
mod tests;
