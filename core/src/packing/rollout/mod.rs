//! Rollout waste: the node and cards that leave the least compute idle when the futures drawn from what arrives have been offered to it.
//!
//! For a node in state s, W(s) is the compute that stays idle, in the mean over K = 256 drawn sequences of arrivals, once they have asked for
//! twelve times what was idle ([`sequences`]). The cost of a pod is what it adds to that:
//!
//! ```text
//! W(after) - W(before)
//!   + 0.1 [Fm(after) - Fm(before)]     whole cards kept together for pods of several cards
//!   + 0.5 scarcity(model) milli        models that pods insist on are left to them
//!   + 40  when nothing runs on the node yet
//! ```
//!
//! in thousandths of a card. Fm is FGD's fragmentation for classes of two cards and more, each weighted with its share of the demand. All nodes meet the
//! same sequences: differences between nodes are then differences between states, not luck. Where FGD sees one pod ahead, W sees as far as the node
//! will be filled. Its values are nearly continuous, so equal scores are rare and a scheduler's random choice among them does no harm.
//!
//! Constants are from a sweep over recorded arrivals (`docs/packing.md`). Fails: with few sequences (64 and less) the noise eats the gain; where CPU
//! runs out before cards, more compute is placed at the price of CPU-only pods.

mod sequences;

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use self::sequences::Sequences;
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
    /// Price of the room for one CPU-only pod: what a placement takes from the number of them that the node could still hold, in the mean over CPU-only
    /// classes by popularity.
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

impl Default for Params {
    fn default() -> Self {
        Self {
            sequences: 256,
            length: 300,
            factor: 12,
            cpu_only: 0.2,
            several: 0.1,
            scarcity: 0.5,
            room: 0.0,
            untouched: 40.0,
            estimate: 16,
            kept: 200_000,
            seed: 1,
        }
    }
}

/// The policy, what it learned and what it computed.
#[derive(Debug, Default)]
pub struct Rollout {
    params: Params,
    sequences: Sequences,
    several: Vec<(PodClass, f64)>,
    cpu_only: Vec<(PodClass, f64)>,
    scarcity: Scarcity,
    values: RwLock<HashMap<NodeState, f64>>,
}

impl Rollout {
    /// Knows no class yet: every node costs the same but for what is untouched.
    pub fn new(params: Params) -> Self {
        Self {
            params,
            ..Self::default()
        }
    }

    /// Number of CPU-only pods that would still find room, in the mean over their classes.
    fn room(&self, cpu_milli: u64) -> f64 {
        self.cpu_only
            .iter()
            .map(|(class, weight)| weight * (cpu_milli / class.cpu_milli.max(1)) as f64)
            .sum()
    }

    /// Compute expected to stay idle, plus the fragmentation for several cards.
    fn value(&self, node: &NodeState, budget: &mut Budget) -> f64 {
        let key = node.canonical();
        let kept = self
            .values
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .copied();
        if let Some(value) = kept {
            return value;
        }
        let full = budget.take();
        let sequences = if full {
            self.params.sequences
        } else {
            self.params.estimate
        };
        let value = self.sequences.left(&key, self.params.factor, sequences)
            + self.params.several * expected(&key, &self.several)
            - self.params.room * self.room(node.cpu_milli);
        if full {
            let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
            if values.len() >= self.params.kept {
                values.clear();
            }
            values.insert(key, value);
        }
        value
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
        let cpu_only_share: f64 = table
            .all()
            .filter(|(class, _)| class.cards == 0)
            .map(|(_, p)| p)
            .sum();
        let cpu_only = table
            .all()
            .filter(|(class, _)| class.cards == 0)
            .map(|(class, p)| (class, p / cpu_only_share))
            .collect();
        Box::new(Self {
            params: self.params,
            cpu_only,
            sequences: Sequences::draw(
                &drawn,
                self.params.sequences,
                self.params.length,
                self.params.seed,
            ),
            several,
            scarcity: Scarcity::new(table, capacity),
            values: RwLock::default(),
        })
    }

    fn cost(
        &self,
        pod: &PodClass,
        before: &NodeState,
        after: &NodeState,
        budget: &mut Budget,
    ) -> f64 {
        let untouched = if before.untouched {
            self.params.untouched
        } else {
            0.0
        };
        self.value(after, budget) - self.value(before, budget)
            + self.params.scarcity * self.scarcity.of(before.model) * pod.gpu_milli() as f64
            + untouched
    }
}

#[cfg(test)]
mod tests;
