//! BestFit: the node that is left with the least free CPU and compute, and there the tightest card.
//!
//! A reference, as the FGD benchmark has it (`05-BestFit`): cost = mean of the free fractions after the pod, each of a fixed
//! large node (128 cores, 8 cards). It looks at nothing but the pod, needs no learning, and survives random ties better than FGD.
//! Fails: it knows no models (fills scarce ones), no remainders that nobody asks for, and takes CPU from cards.

use super::node::NodeState;
use super::pod::PodClass;
use super::policy::{Budget, PackingPolicy, Placement};
use super::rounding::Rounding;
use super::table::{Capacity, ClassTable};

/// The policy, with what a free fraction is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestFit {
    /// CPU of the large node, milli.
    pub cpu_milli: f64,
    /// Compute of the large node, milli.
    pub gpu_milli: f64,
    /// Whether costs are rounded to levels, as the benchmark does.
    pub rounding: Rounding,
}

impl Default for BestFit {
    fn default() -> Self {
        Self {
            cpu_milli: 128_000.0,
            gpu_milli: 8000.0,
            rounding: Rounding::None,
        }
    }
}

impl PackingPolicy for BestFit {
    fn learned(&self, _: &ClassTable, _: &Capacity) -> Box<dyn PackingPolicy> {
        Box::new(*self)
    }

    fn cost(&self, _: &PodClass, _: &NodeState, after: &NodeState, _: &mut Budget) -> f64 {
        let free = 0.5 * after.cpu_milli as f64 / self.cpu_milli
            + 0.5 * after.idle_milli() as f64 / self.gpu_milli;
        -self.rounding.apply(1.0 - free)
    }

    /// All cards of a node give the same cost: the tightest is taken.
    fn place(&self, pod: &PodClass, node: &NodeState, budget: &mut Budget) -> Option<Placement> {
        if !node.fits(pod) {
            return None;
        }
        let cards = node.tightest(pod)?;
        Some(Placement {
            cards,
            cost: self.cost(pod, node, &node.with(pod, cards), budget),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packing::node::Card;
    use crate::packing::{CardSet, ModelId};

    #[test]
    fn the_fuller_node_and_the_tighter_card_win() {
        let pod = PodClass::gpu(1000, 300, 1);
        let empty = NodeState::new(64_000, 1, ModelId::default(), [Card::FREE; 2]);
        let first = empty.with(&PodClass::gpu(4000, 600, 1), CardSet::one(1));
        let policy = BestFit::default();
        let budget = &mut Budget::unlimited();
        let on = |node: &NodeState, budget: &mut Budget| policy.place(&pod, node, budget).unwrap();
        assert!(on(&first, budget).cost < on(&empty, budget).cost);
        assert_eq!(on(&first, budget).cards, CardSet::one(1));
    }
}
