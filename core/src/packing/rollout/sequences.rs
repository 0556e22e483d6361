//! Futures: sequences of pods that may arrive at a node, drawn once for all nodes and states.

use super::card::CardWaste;
use super::room::{Room, Usable};
use crate::packing::draw::Draw;
use crate::packing::models::ModelId;
use crate::packing::node::NodeState;
use crate::packing::node::{Card, MAX_CARDS};
use crate::packing::pod::PodClass;

/// What the walks need to know of a class.
#[derive(Debug, Clone, Copy)]
struct Step {
    class: PodClass,
    offered: u32,
}

/// The drawn sequences.
#[derive(Debug, Clone, Default)]
pub(super) struct Sequences {
    steps: Vec<Step>,
    drawn: Vec<Vec<u16>>,
    waste: CardWaste,
    room: Room,
    factor: u32,
}

/// What becomes of a node in the mean over the sequences.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Outlook {
    /// Compute that stays idle, milli.
    pub(super) left: f64,
    /// CPU that CPU-only pods used, or could use of what is left, milli, by class of the room.
    pub(super) usable: Usable,
}

/// The least that any class with cards asks for.
#[derive(Debug, Clone, Copy)]
struct Least {
    cpu_milli: u64,
    memory_mib: u64,
    card_milli: u16,
}

/// Where a walk ends.
struct End {
    left: u64,
    cpu_milli: u64,
    memory_mib: u64,
    cpu_only: u64,
}

impl Sequences {
    /// Draws `count` sequences of `length` classes in proportion to the weights. At each position the sequences together are a Latin hypercube over
    /// the distribution: a class of popularity p is at p·count of them, give or take one, which takes most of the noise away.
    pub(super) fn draw(
        classes: &[(PodClass, f64)],
        count: usize,
        length: usize,
        seed: u64,
        factor: u32,
        room: Room,
    ) -> Self {
        let total: f64 = classes.iter().map(|(_, weight)| weight).sum();
        if total <= 0.0 || total.is_nan() {
            return Self {
                room,
                ..Self::default()
            };
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
            drawn: sequences,
            waste: CardWaste::new(classes, factor),
            room,
            factor,
        }
    }

    /// Classes whose room is looked at.
    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// The least that any class with cards asks for on this model; `None` when none accepts it.
    fn least(&self, model: ModelId) -> Option<Least> {
        self.steps
            .iter()
            .map(|step| &step.class)
            .filter(|class| class.cards > 0 && class.models.contains(model))
            .map(|class| Least {
                cpu_milli: class.cpu_milli,
                memory_mib: class.memory_mib,
                card_milli: class.card_milli,
            })
            .reduce(|a, b| Least {
                cpu_milli: a.cpu_milli.min(b.cpu_milli),
                memory_mib: a.memory_mib.min(b.memory_mib),
                card_milli: a.card_milli.min(b.card_milli),
            })
    }

    /// What becomes of the node, in the mean over the first `count` sequences, when each has offered it `factor` times what was idle.
    ///
    /// A pod that fits is taken: one card where the card's own waste grows least, several from the tightest that hold it. A pod that does not
    /// fit goes elsewhere, but has been offered.
    pub(super) fn outlook(&self, node: &NodeState, count: usize) -> Outlook {
        let idle = node.idle_milli();
        let least = (idle > 0).then(|| self.least(node.model)).flatten();
        let walked = self.drawn.get(..count).unwrap_or(&self.drawn);
        let mut outlook = Outlook::default();
        let (Some(least), false) = (least, walked.is_empty()) else {
            // Nothing will be taken.
            outlook.left = idle as f64;
            self.room
                .add(&mut outlook.usable, node.cpu_milli, node.memory_mib, 0);
            return outlook;
        };
        let limit = idle as u32 * self.factor;
        let mut left = 0;
        for sequence in walked {
            let end = self.walk(node, sequence, idle, limit, least);
            left += end.left;
            self.room.add(
                &mut outlook.usable,
                end.cpu_milli,
                end.memory_mib,
                end.cpu_only,
            );
        }
        outlook.left = left as f64 / walked.len() as f64;
        for usable in &mut outlook.usable {
            *usable /= walked.len() as f32;
        }
        outlook
    }

    fn walk(&self, node: &NodeState, sequence: &[u16], idle: u64, limit: u32, least: Least) -> End {
        let mut end = End {
            left: idle,
            cpu_milli: node.cpu_milli,
            memory_mib: node.memory_mib,
            cpu_only: 0,
        };
        let mut storage = [Card::default(); MAX_CARDS];
        let mut number = 0;
        for (slot, card) in storage.iter_mut().zip(node.cards()) {
            *slot = *card;
            number += 1;
        }
        let Some(cards) = storage.get_mut(..number) else {
            return end;
        };
        let mut widest = cards.iter().map(|card| card.milli).max().unwrap_or(0);
        let mut offered = 0;
        for index in sequence {
            let Some(step) = self.steps.get(usize::from(*index)) else {
                continue;
            };
            offered += step.offered;
            let class = &step.class;
            if class.cpu_milli <= end.cpu_milli
                && class.memory_mib <= end.memory_mib
                && class.card_milli <= widest
            {
                let taken = match class.cards {
                    0 => {
                        end.cpu_only += class.cpu_milli;
                        true
                    }
                    _ if !class.models.contains(node.model) => false,
                    1 => self.take_one(cards, class),
                    _ => take_several(cards, class),
                };
                if taken {
                    end.cpu_milli -= class.cpu_milli;
                    end.memory_mib -= class.memory_mib;
                    end.left -= class.gpu_milli();
                    widest = cards.iter().map(|card| card.milli).max().unwrap_or(0);
                    // Nothing that could come would be taken any more.
                    if end.cpu_milli < least.cpu_milli
                        || end.memory_mib < least.memory_mib
                        || widest < least.card_milli
                    {
                        return end;
                    }
                }
            }
            if offered >= limit {
                return end;
            }
        }
        end
    }

    /// Takes a part of the card whose waste grows least, of equal ones the tightest; changes nothing and says false when none fits.
    fn take_one(&self, cards: &mut [Card], class: &PodClass) -> bool {
        let best = cards
            .iter_mut()
            .filter(|card| card.fits(class))
            .map(|card| {
                let growth = self.waste.growth(card.milli, card.without(class).milli);
                (growth, card)
            })
            .min_by(|(a, card), (b, other)| a.total_cmp(b).then_with(|| card.cmp(other)));
        if let Some((_, card)) = best {
            *card = card.without(class);
            true
        } else {
            false
        }
    }
}

/// Takes a class's cards, tightest first; changes nothing and says false when too few fit.
fn take_several(cards: &mut [Card], class: &PodClass) -> bool {
    let wanted = usize::from(class.cards);
    if cards.iter().filter(|card| card.fits(class)).count() < wanted {
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
        let drawn = Sequences::draw(&classes, 64, 50, 7, 12, Room::default());
        for position in 0..50 {
            let first = drawn
                .drawn
                .iter()
                .filter(|sequence| sequence[position] == 0)
                .count();
            assert!((15..=17).contains(&first), "{first} at {position}");
        }
    }

    #[test]
    fn a_remainder_that_nobody_asks_for_is_left() {
        let drawn = Sequences::draw(
            &[(PodClass::gpu(1000, 400, 1), 1.0)],
            8,
            100,
            1,
            12,
            Room::default(),
        );
        assert!((drawn.outlook(&node(64_000, &[1000, 1000]), 8).left - 400.0).abs() < 1e-9);
        // One more than CPU allows stays wholly idle.
        assert!((drawn.outlook(&node(3000, &[1000, 1000]), 8).left - 800.0).abs() < 1e-9);
        assert!((drawn.outlook(&node(64_000, &[300]), 8).left - 300.0).abs() < 1e-9);
    }

    #[test]
    fn several_cards_are_distinct() {
        let drawn = Sequences::draw(
            &[(PodClass::gpu(1000, 500, 2), 1.0)],
            4,
            100,
            1,
            12,
            Room::default(),
        );
        assert!((drawn.outlook(&node(64_000, &[1000, 0]), 4).left - 1000.0).abs() < 1e-9);
        assert!(drawn.outlook(&node(64_000, &[1000, 1000]), 4).left < 1e-9);
    }

    #[test]
    fn nothing_known_means_all_is_left() {
        assert!((Sequences::default().outlook(&node(1, &[700]), 8).left - 700.0).abs() < 1e-9);
    }
}
