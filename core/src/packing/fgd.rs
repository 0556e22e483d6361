//! FGD, fragmentation gradient descent (Weng et al., USENIX ATC 2023): the node and card whose fragmentation grows least.
//!
//! The best published policy, and our reference. Cost: fragmentation after minus before, in thousandths of a card, through a sigmoid as published
//! (`06-FGD`); only typical classes count. It looks one pod ahead: an 810-milli pod leaves 190 that nobody asks for wherever it goes, so the remainder has
//! no price. Most costs are equal: which equal node wins decides five to nine points of allocation, and kube-scheduler chooses at random.

use super::fragment::expected;
use super::node::NodeState;
use super::pod::PodClass;
use super::policy::{Budget, PackingPolicy};
use super::rounding::Rounding;
use super::table::{Capacity, ClassTable};

/// The policy and the classes it expects.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fgd {
    classes: Vec<(PodClass, f64)>,
    rounding: Rounding,
}

impl Fgd {
    /// Knows no class yet; costs rounded like this.
    pub fn new(rounding: Rounding) -> Self {
        Self {
            classes: Vec::new(),
            rounding,
        }
    }
}

impl PackingPolicy for Fgd {
    fn learned(&self, table: &ClassTable, _: &Capacity) -> Box<dyn PackingPolicy> {
        Box::new(Self {
            classes: table.without_memory().typical().collect(),
            rounding: self.rounding,
        })
    }

    fn cost(&self, _: &PodClass, before: &NodeState, after: &NodeState, _: &mut Budget) -> f64 {
        let gain = expected(before, &self.classes) - expected(after, &self.classes);
        let goodness = 1.0 / (1.0 + (-gain / 1000.0).exp());
        -self.rounding.apply(goodness)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packing::node::Card;
    use crate::packing::{CardSet, ModelId};

    #[test]
    fn a_whole_card_stays_whole_when_a_part_is_left() {
        let table = ClassTable::new(vec![
            (PodClass::gpu(1000, 1000, 1), 3),
            (PodClass::gpu(1000, 400, 1), 1),
        ]);
        let policy = Fgd::default().learned(&table, &Capacity::default());
        let node = NodeState::new(
            64_000,
            1,
            ModelId::default(),
            [1000, 500].map(|milli| Card {
                milli,
                memory_mib: 0,
            }),
        );
        let placement = policy
            .place(
                &PodClass::gpu(1000, 400, 1),
                &node,
                &mut Budget::unlimited(),
            )
            .unwrap();
        assert_eq!(placement.cards, CardSet::one(1));
    }
}
