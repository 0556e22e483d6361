//! A set of logical CPUs, as the kernel's `cpuset.cpus` writes it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

/// Highest CPU number a Linux kernel can have (`NR_CPUS` is at most 8192 on x86-64).
pub const MAX_CPU_ID: u32 = 8191;

const WORD: u32 = u64::BITS;

/// Words kept within the value: 512 CPUs, more than nearly every machine has. A plan makes and drops hundreds of sets; none of them then costs an allocation.
const INLINE: usize = 8;

/// Logical CPUs by the kernel's numbers; may be empty. Kept as a bit map, so that the planner's set algebra costs a few words a set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct CpuSet {
    /// Without trailing zero words, so that equal sets are equal values.
    words: SmallVec<[u64; INLINE]>,
}

/// A CPU list that the kernel would not have written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a list of CPUs such as 0-3,8 (numbers up to {MAX_CPU_ID})")]
pub struct CpuListError(String);

impl CpuSet {
    /// No CPU.
    pub fn new() -> Self {
        Self {
            words: SmallVec::new(),
        }
    }

    /// Reads the kernel's list notation (`0-3,8`); an empty or blank text is the empty set.
    pub fn parse(text: &str) -> Result<Self, CpuListError> {
        let wrong = || CpuListError(text.trim().chars().take(80).collect());
        let number = |digits: &str| {
            let digits = digits.trim();
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .parse::<u32>()
                .ok()
                .filter(|id| plain && *id <= MAX_CPU_ID)
                .ok_or_else(wrong)
        };
        let mut set = Self::new();
        if text.trim().is_empty() {
            return Ok(set);
        }
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last {
                return Err(wrong());
            }
            for id in first..=last {
                set.insert(id);
            }
        }
        Ok(set)
    }

    /// Adds a CPU; numbers beyond [`MAX_CPU_ID`] name no CPU and are left out.
    pub fn insert(&mut self, id: u32) {
        if id > MAX_CPU_ID {
            return;
        }
        let word = (id / WORD) as usize;
        if self.words.len() <= word {
            self.words.resize(word.saturating_add(1), 0);
        }
        if let Some(bits) = self.words.get_mut(word) {
            *bits |= 1 << (id % WORD);
        }
    }

    /// Takes a CPU out.
    pub fn remove(&mut self, id: u32) {
        if let Some(bits) = self.words.get_mut((id / WORD) as usize) {
            *bits &= !(1 << (id % WORD));
        }
        self.trim();
    }

    /// Whether this CPU is in the set.
    pub fn contains(&self, id: u32) -> bool {
        self.words
            .get((id / WORD) as usize)
            .is_some_and(|bits| bits & (1 << (id % WORD)) != 0)
    }

    /// How many CPUs.
    pub fn len(&self) -> usize {
        self.words
            .iter()
            .map(|bits| bits.count_ones() as usize)
            .sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The CPUs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..)
            .zip(self.words.iter())
            .flat_map(|(word, bits): (u32, &u64)| {
                (0..WORD)
                    .filter(move |bit| bits & (1 << bit) != 0)
                    .map(move |bit| word * WORD + bit)
            })
    }

    /// The lowest CPU.
    pub fn first(&self) -> Option<u32> {
        self.iter().next()
    }

    /// CPUs in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let (long, short) = if self.words.len() >= other.words.len() {
            (self, other)
        } else {
            (other, self)
        };
        let mut words = long.words.clone();
        for (word, bits) in words.iter_mut().zip(&short.words) {
            *word |= bits;
        }
        Self { words }
    }

    /// CPUs in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |ours, theirs| ours & theirs)
    }

    /// CPUs of this set that are not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let theirs = other.words.iter().copied().chain(std::iter::repeat(0));
        Self::from_words(
            self.words
                .iter()
                .zip(theirs)
                .map(|(ours, theirs)| ours & !theirs),
        )
    }

    /// Whether every CPU of this set is in the other.
    pub fn is_subset(&self, other: &Self) -> bool {
        let theirs = other.words.iter().copied().chain(std::iter::repeat(0));
        self.words
            .iter()
            .zip(theirs)
            .all(|(ours, theirs)| ours & !theirs == 0)
    }

    /// Adds every CPU of the other set.
    pub fn insert_all(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (ours, theirs) in self.words.iter_mut().zip(&other.words) {
            *ours |= theirs;
        }
    }

    /// Whether no CPU is in both.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.words
            .iter()
            .zip(&other.words)
            .all(|(ours, theirs)| ours & theirs == 0)
    }

    fn combine(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self::from_words(
            self.words
                .iter()
                .zip(&other.words)
                .map(|(ours, theirs)| with(*ours, *theirs)),
        )
    }

    fn from_words(words: impl Iterator<Item = u64>) -> Self {
        let mut set = Self {
            words: words.collect(),
        };
        set.trim();
        set
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut set = Self::new();
        set.extend(ids);
        set
    }
}

impl Extend<u32> for CpuSet {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, ids: I) {
        for id in ids {
            self.insert(id);
        }
    }
}

/// Writes the list notation, consecutive numbers as a range; the empty set is an empty text.
impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|next| *next == last.saturating_add(1)) {
                last = next;
            }
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl std::str::FromStr for CpuSet {
    type Err = CpuListError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for CpuSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CpuSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernels_notation() {
        for (text, ids) in [
            ("", vec![]),
            ("\n", vec![]),
            ("0", vec![0]),
            ("0-3,8\n", vec![0, 1, 2, 3, 8]),
            ("63-65", vec![63, 64, 65]),
            ("8191", vec![8191]),
        ] {
            let set = CpuSet::parse(text).unwrap();
            assert_eq!(set.iter().collect::<Vec<_>>(), ids, "{text:?}");
            assert_eq!(set.to_string(), text.trim());
        }
        for text in ["3-1", "a", "1,", "+1", "-1", "8192", "1--2", "0x3"] {
            assert!(CpuSet::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn algebra_agrees_with_ordered_sets(a in prop::collection::btree_set(0_u32..300, 0..40), b in prop::collection::btree_set(0_u32..300, 0..40)) {
            let (x, y): (CpuSet, CpuSet) = (a.iter().copied().collect(), b.iter().copied().collect());
            let same = |set: CpuSet, expected: BTreeSet<u32>| set == expected.iter().copied().collect::<CpuSet>() && set.len() == expected.len();
            prop_assert!(same(x.union(&y), a.union(&b).copied().collect()));
            prop_assert!(same(x.intersection(&y), a.intersection(&b).copied().collect()));
            prop_assert!(same(x.difference(&y), a.difference(&b).copied().collect()));
            prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
            prop_assert_eq!(x.is_disjoint(&y), a.is_disjoint(&b));
            prop_assert_eq!(CpuSet::parse(&x.to_string()).unwrap(), x.clone());
            let mut both = x.clone();
            both.insert_all(&y);
            prop_assert_eq!(both, x.union(&y));
            let mut emptied = x.clone();
            for id in &a { emptied.remove(*id); }
            prop_assert!(emptied.is_empty());
        }
    }
}
