//! Futures: sequences of pods that may arrive at a node, drawn once for all nodes and states.

use crate::packing::draw::Draw;
use crate::packing::models::ModelId;
use crate::packing::node::NodeState;
use crate::packing::node::{Card, MAX_CARDS};
use crate::packing::pod::PodClass;

/// What the walks need to know of a class, packed for the cache.
#[derive(Debug, Clone, Copy)]
struct Step {
    class: PodClass,
    offered: u32,
}

/// The drawn sequences.
#[derive(Debug, Clone, Default)]
pub(super) struct Sequences {
    steps: Vec<Step>,
    sequences: Vec<Vec<u16>>,
}

impl Sequences {
    /// Draws `count` sequences of `length` classes in proportion to the weights. At each position the sequences together are a Latin hypercube over
    /// the distribution: a class of popularity p is at p·count of them, give or take one, which takes most of the noise away.
    pub(super) fn draw(
        classes: &[(PodClass, f64)],
        count: usize,
        length: usize,
        seed: u64,
    ) -> Self {
        let total: f64 = classes.iter().map(|(_, weight)| weight).sum();
        if total <= 0.0 || total.is_nan() {
            return Self::default();
        }
        let mut cumulated = Vec::with_capacity(classes.len());
        let mut sum = 0.0;
        for (_, weight) in classes {
            sum += weight / total;
            cumulated.push(sum);
        }
        let mut draw = Draw::new(seed);
        let mut sequences = vec![Vec::with_capacity(length); count];
        let mut strata: Vec<usize> = (0..count).collect();
        for _ in 0..length {
            draw.shuffle(&mut strata);
            for (sequence, stratum) in sequences.iter_mut().zip(&strata) {
                let at = (*stratum as f64 + draw.unit()) / count as f64;
                let index = cumulated
                    .partition_point(|upper| *upper <= at)
                    .min(classes.len() - 1);
                sequence.push(index as u16);
            }
        }
        Self {
            steps: classes
                .iter()
                .map(|(class, _)| Step {
                    class: *class,
                    offered: class.gpu_milli() as u32,
                })
                .collect(),
            sequences,
        }
    }

    /// The least CPU and compute that any class with cards asks for on this model; `None` when none accepts it.
    fn least(&self, model: ModelId) -> Option<(u64, u16)> {
        self.steps
            .iter()
            .map(|step| &step.class)
            .filter(|class| class.cards > 0 && class.models.contains(model))
            .map(|class| (class.cpu_milli, class.card_milli))
            .reduce(|a, b| (a.0.min(b.0), a.1.min(b.1)))
    }

    /// Idle compute that is left, in the mean over the first `count` sequences, when each has offered the node `factor` times what was idle. Milli.
    ///
    /// A pod that fits is taken: one card from the tightest that holds it, several from the tightest of those. A pod that does not
    /// fit goes elsewhere, but has been offered.
    pub(super) fn left(&self, node: &NodeState, factor: u32, count: usize) -> f64 {
        let idle = node.idle_milli();
        if idle == 0 {
            return 0.0;
        }
        let Some(least) = self.least(node.model) else {
            return idle as f64;
        };
        let limit = idle as u32 * factor;
        let walked = self.sequences.iter().take(count);
        let count = walked.len();
        let sum: u64 = walked
            .map(|sequence| self.walk(node, sequence, idle, limit, least))
            .sum();
        if count == 0 {
            return idle as f64;
        }
        sum as f64 / count as f64
    }

    fn walk(
        &self,
        node: &NodeState,
        sequence: &[u16],
        idle: u64,
        limit: u32,
        least: (u64, u16),
    ) -> u64 {
        let mut storage = [Card::default(); MAX_CARDS];
        let mut number = 0;
        for (slot, card) in storage.iter_mut().zip(node.cards()) {
            *slot = *card;
            number += 1;
        }
        let Some(cards) = storage.get_mut(..number) else {
            return idle;
        };
        let mut cpu = node.cpu_milli;
        let mut left = idle;
        let mut widest = cards.iter().map(|card| card.milli).max().unwrap_or(0);
        let mut offered = 0;
        for index in sequence {
            let Some(step) = self.steps.get(usize::from(*index)) else {
                continue;
            };
            offered += step.offered;
            let class = &step.class;
            if class.cpu_milli <= cpu && class.card_milli <= widest {
                if class.cards == 0 {
                    cpu -= class.cpu_milli;
                    if cpu < least.0 {
                        return left;
                    }
                } else if class.models.contains(node.model) && take(cards, class) {
                    cpu -= class.cpu_milli;
                    left -= class.gpu_milli();
                    widest = cards.iter().map(|card| card.milli).max().unwrap_or(0);
                    // Nothing that could come would be taken any more.
                    if cpu < least.0 || widest < least.1 {
                        return left;
                    }
                }
            }
            if offered >= limit {
                return left;
            }
        }
        left
    }
}

/// Takes a class's cards, tightest first; changes nothing and says false when too few fit.
fn take(cards: &mut [Card], class: &PodClass) -> bool {
    let wanted = usize::from(class.cards);
    if wanted > 1 && cards.iter().filter(|card| card.fits(class)).count() < wanted {
        return false;
    }
    // A card that was taken is marked by its position, because what is left of it may fit again.
    let mut taken = 0u16;
    for _ in 0..wanted {
        let mut best: Option<(u32, &mut Card)> = None;
        for (position, card) in (0u32..).zip(cards.iter_mut()) {
            if taken >> position & 1 == 0
                && card.fits(class)
                && best.as_ref().is_none_or(|(_, tightest)| *card < **tightest)
            {
                best = Some((position, card));
            }
        }
        let Some((position, card)) = best else {
            return false;
        };
        taken |= 1 << position;
        *card = card.without(class);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(cpu: u64, lefts: &[u16]) -> NodeState {
        NodeState::new(
            cpu,
            1,
            ModelId::default(),
            lefts.iter().map(|milli| Card {
                milli: *milli,
                memory_mib: 0,
            }),
        )
    }

    #[test]
    fn each_position_holds_each_class_as_often_as_it_is_popular() {
        let classes = [
            (PodClass::gpu(1, 500, 1), 0.25),
            (PodClass::gpu(1, 1000, 1), 0.75),
        ];
        let drawn = Sequences::draw(&classes, 64, 50, 7);
        for position in 0..50 {
            let first = drawn
                .sequences
                .iter()
                .filter(|sequence| sequence[position] == 0)
                .count();
            assert!((15..=17).contains(&first), "{first} at {position}");
        }
    }

    #[test]
    fn a_remainder_that_nobody_asks_for_is_left() {
        let drawn = Sequences::draw(&[(PodClass::gpu(1000, 400, 1), 1.0)], 8, 100, 1);
        assert!((drawn.left(&node(64_000, &[1000, 1000]), 12, 8) - 400.0).abs() < 1e-9);
        // One more than CPU allows stays wholly idle.
        assert!((drawn.left(&node(3000, &[1000, 1000]), 12, 8) - 800.0).abs() < 1e-9);
        assert!((drawn.left(&node(64_000, &[300]), 12, 8) - 300.0).abs() < 1e-9);
    }

    #[test]
    fn several_cards_are_distinct() {
        let drawn = Sequences::draw(&[(PodClass::gpu(1000, 500, 2), 1.0)], 4, 100, 1);
        assert!((drawn.left(&node(64_000, &[1000, 0]), 12, 4) - 1000.0).abs() < 1e-9);
        assert!(drawn.left(&node(64_000, &[1000, 1000]), 12, 4) < 1e-9);
    }

    #[test]
    fn nothing_known_means_all_is_left() {
        assert!((Sequences::default().left(&node(1, &[700]), 12, 8) - 700.0).abs() < 1e-9);
    }
}
