//! Which pods of one node hold which cards, and whether one more claim fits.
//!
//! The scheduler chooses cards and writes its choice on the pod. A node takes that record for a claim and checks it again before a container gets a
//! device: records of two schedulers, of a scheduler that lost its memory, or written by hand, can name the same part of a card. Who came first keeps
//! it. Parts are whole percent of compute and MiB of memory; a card that is claimed whole is shared with nobody. The card's memory is an argument,
//! since a node does not always know it: then parts of memory are not summed up.

use std::{collections::BTreeMap, fmt};

use thiserror::Error;

/// Percent of a card.
const WHOLE: u32 = 100;

/// How much of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// The card, with nobody else on it.
    Whole,
    /// A part.
    Part {
        /// Compute; zero where none is promised.
        percent: u32,
        /// Memory; zero where none is promised.
        mib: u64,
    },
}

impl Share {
    /// What covers both, where one runs after the other.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        self.join(other, u32::max, u64::max)
    }

    /// What covers both, where they run together.
    #[must_use]
    pub fn sum(self, other: Self) -> Self {
        self.join(other, u32::saturating_add, u64::saturating_add)
    }

    fn join(self, other: Self, percents: fn(u32, u32) -> u32, mibs: fn(u64, u64) -> u64) -> Self {
        match (self, other) {
            (
                Self::Part { percent, mib },
                Self::Part {
                    percent: other_percent,
                    mib: other_mib,
                },
            ) => Self::Part {
                percent: percents(percent, other_percent),
                mib: mibs(mib, other_mib),
            },
            _ => Self::Whole,
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("all of it"),
            Self::Part { percent, mib } => write!(f, "{percent} % and {mib} MiB"),
        }
    }
}

/// A claim that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("card {card}: {asked} claimed, and {} held by {}", held, holders.join(", "))]
pub struct Conflict {
    /// The card.
    pub card: String,
    /// What was claimed of it.
    pub asked: Share,
    /// What others hold of it together.
    pub held: Share,
    /// Who they are.
    pub holders: Vec<String>,
}

/// A pod that holds cards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// `namespace/name`.
    pub name: String,
    /// What it holds, by card.
    pub cards: BTreeMap<String, Share>,
}

/// The holders of one node, by the UID of their pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CardClaims(BTreeMap<String, Holder>);

impl CardClaims {
    /// Gives a pod what it claims, where that fits beside what others hold. A pod claims as often as its containers are created, and never stands in its
    /// own way. `memory` tells a card's memory in MiB.
    ///
    /// # Errors
    ///
    /// The first card, by name, that others hold too much of; nothing is given then, and what the pod held before it keeps.
    pub fn claim(
        &mut self,
        uid: &str,
        claim: Holder,
        memory: impl Fn(&str) -> Option<u64>,
    ) -> Result<(), Conflict> {
        let conflict = self.conflict(uid, &claim, memory);
        conflict.map_or(Ok(()), Err)?;
        self.0.insert(uid.to_owned(), claim);
        Ok(())
    }

    /// Notes what a pod holds whose containers run already; tells where that is more than there is.
    pub fn adopt(
        &mut self,
        uid: &str,
        claim: Holder,
        memory: impl Fn(&str) -> Option<u64>,
    ) -> Option<Conflict> {
        let conflict = self.conflict(uid, &claim, memory);
        self.0.insert(uid.to_owned(), claim);
        conflict
    }

    /// A pod is gone; whether it held anything.
    pub fn release(&mut self, uid: &str) -> bool {
        self.0.remove(uid).is_some()
    }

    /// Everyone who holds something.
    pub fn holders(&self) -> &BTreeMap<String, Holder> {
        &self.0
    }

    fn conflict(
        &self,
        uid: &str,
        claim: &Holder,
        memory: impl Fn(&str) -> Option<u64>,
    ) -> Option<Conflict> {
        claim.cards.iter().find_map(|(card, asked)| {
            let others = || {
                (self.0.iter())
                    .filter(|(other, _)| *other != uid)
                    .filter_map(|(_, holder)| Some((holder, *holder.cards.get(card)?)))
            };
            let held = others().map(|(_, share)| share).reduce(Share::sum);
            let fits = match (held, *asked) {
                (None, Share::Whole) => true,
                (Some(_), Share::Whole) | (Some(Share::Whole), _) => false,
                (held, part) => match held.map_or(part, |held| held.sum(part)) {
                    Share::Whole => false,
                    Share::Part { percent, mib } => {
                        percent <= WHOLE && memory(card).is_none_or(|memory| mib <= memory)
                    }
                },
            };
            (!fits).then(|| Conflict {
                card: card.clone(),
                asked: *asked,
                held: held.unwrap_or(Share::Part { percent: 0, mib: 0 }),
                holders: others().map(|(holder, _)| holder.name.clone()).collect(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holder(name: &str, card: &str, share: Share) -> Holder {
        Holder {
            name: name.to_owned(),
            cards: BTreeMap::from([(card.to_owned(), share)]),
        }
    }

    const fn part(percent: u32, mib: u64) -> Share {
        Share::Part { percent, mib }
    }

    #[test]
    fn what_is_beyond_the_card_is_refused_and_named() {
        let cases = [
            (part(60, 10), part(40, 90), true),
            (part(60, 10), part(41, 1), false),
            (part(10, 60), part(10, 41), false),
            (part(0, 60), part(0, 40), true),
            (part(1, 0), Share::Whole, false),
            (Share::Whole, part(1, 0), false),
            (Share::Whole, Share::Whole, false),
        ];
        for (held, asked, fits) in cases {
            let mut claims = CardClaims::default();
            let memory = |_: &str| Some(100);
            claims.claim("1", holder("n/a", "G", held), memory).unwrap();
            let result = claims.claim("2", holder("n/b", "G", asked), memory);
            assert_eq!(result.is_ok(), fits, "{held} and {asked}");
            if let Err(conflict) = result {
                assert_eq!(
                    (conflict.card.as_str(), conflict.holders.as_slice()),
                    ("G", ["n/a".to_owned()].as_slice())
                );
            }
        }
    }

    #[test]
    fn a_pod_does_not_stand_in_its_own_way_and_leaves_what_it_held() {
        let mut claims = CardClaims::default();
        let unknown = |_: &str| None;
        let whole = || holder("n/a", "G", Share::Whole);
        claims.claim("1", whole(), unknown).unwrap();
        claims.claim("1", whole(), unknown).unwrap();
        let other = claims.claim("2", holder("n/b", "G", part(1, 1)), unknown);
        assert_eq!(
            other.unwrap_err().to_string(),
            "card G: 1 % and 1 MiB claimed, and all of it held by n/a"
        );
        assert!(claims.release("1") && !claims.release("1"));
        claims
            .claim("2", holder("n/b", "G", part(1, 1)), unknown)
            .unwrap();
    }

    #[test]
    fn a_part_alone_may_not_exceed_the_card_either() {
        let mut claims = CardClaims::default();
        let memory = |_: &str| Some(100);
        for share in [part(101, 0), part(1, 101)] {
            let conflict = claims.claim("1", holder("n/a", "G", share), memory);
            assert!(conflict.unwrap_err().holders.is_empty());
        }
    }

    #[test]
    fn what_runs_already_is_noted_though_it_is_too_much() {
        let mut claims = CardClaims::default();
        let memory = |_: &str| Some(100);
        let first = claims.adopt("1", holder("n/a", "G", part(60, 0)), memory);
        let second = claims.adopt("2", holder("n/b", "G", part(60, 0)), memory);
        assert!(first.is_none() && second.is_some());
        assert_eq!(claims.holders().len(), 2);
    }

    proptest! {
        #[test]
        fn nothing_is_given_twice(steps in prop::collection::vec(
            (0_u8..6, prop::option::of((0_u8..3, prop::option::of((0_u32..120, 0_u64..120))))), 0..60)) {
            let mut claims = CardClaims::default();
            for (uid, step) in steps {
                let uid = uid.to_string();
                match step {
                    None => { claims.release(&uid); }
                    Some((card, share)) => {
                        let share = share.map_or(Share::Whole, |(percent, mib)| part(percent, mib));
                        let before = claims.clone();
                        let result = claims.claim(&uid, holder(&uid, &card.to_string(), share), |_| Some(100));
                        prop_assert!(result.is_ok() || claims == before, "a refusal changes nothing");
                    }
                }
                for card in ["0", "1", "2"] {
                    let shares: Vec<Share> = claims.holders().values().filter_map(|h| h.cards.get(card).copied()).collect();
                    if shares.contains(&Share::Whole) {
                        prop_assert_eq!(shares.len(), 1);
                    }
                    let (mut percents, mut mibs) = (0, 0);
                    for share in shares {
                        if let Share::Part { percent, mib } = share { percents += percent; mibs += mib; }
                    }
                    prop_assert!(percents <= 100 && mibs <= 100);
                }
            }
        }
    }
}
