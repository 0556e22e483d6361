//! A set of NUMA nodes in the kernel's list notation: `0-1,3`.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Highest NUMA node number a Linux kernel can have (`CONFIG_NODES_SHIFT` is at most 10).
pub const MAX_NUMA_ID: u32 = 1023;

/// A set of NUMA nodes, at least one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NumaSet(BTreeSet<u32>);

impl NumaSet {
    /// Reads the list notation; `None` where it is empty, malformed, descending (`3-1`) or beyond [`MAX_NUMA_ID`].
    pub fn parse(text: &str) -> Option<Self> {
        let mut ids = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last {
                return None;
            }
            ids.extend(first..=last);
        }
        Some(Self(ids))
    }

    /// A set of these; `None` where there is none or one is beyond [`MAX_NUMA_ID`].
    pub fn from_ids(ids: impl IntoIterator<Item = u32>) -> Option<Self> {
        let ids: BTreeSet<u32> = ids.into_iter().collect();
        (!ids.is_empty() && ids.iter().all(|id| *id <= MAX_NUMA_ID)).then_some(Self(ids))
    }

    /// The NUMA nodes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether this one is among them.
    pub fn contains(&self, id: u32) -> bool {
        self.0.contains(&id)
    }
}

/// Writes the list notation, consecutive numbers as a range.
impl fmt::Display for NumaSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if_eq(&(last + 1)) {
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

impl Serialize for NumaSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NumaSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format_args!("`{text:.80}` is not a list of NUMA nodes"))
        })
    }
}

fn number(text: &str) -> Option<u32> {
    // `parse` alone would accept a plus sign.
    let digits = text.trim();
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|id| *id <= MAX_NUMA_ID)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", "0")]
    #[case("0-1,3", "0-1,3")]
    #[case("3,1,0", "0-1,3")]
    #[case("0-2,1-3", "0-3")]
    #[case("1, 2", "1-2")]
    #[case("1023", "1023")]
    fn reads_and_writes(#[case] text: &str, #[case] written: &str) {
        assert_eq!(NumaSet::parse(text).unwrap().to_string(), written);
    }

    #[rstest]
    #[case("")]
    #[case(",")]
    #[case("0,")]
    #[case("3-1")]
    #[case("-1")]
    #[case("+1")]
    #[case("1-2-3")]
    #[case("a")]
    #[case("1024")]
    #[case("0-4294967295")]
    #[case("99999999999999999999")]
    fn refuses(#[case] text: &str) {
        assert_eq!(NumaSet::parse(text), None);
    }

    #[test]
    fn no_set_of_nothing_or_beyond_the_kernel() {
        assert_eq!(NumaSet::from_ids([]), None);
        assert_eq!(NumaSet::from_ids([0, MAX_NUMA_ID + 1]), None);
        assert!(serde_json::from_str::<NumaSet>("\"3-1\"").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,40}") {
            prop_assert!(NumaSet::parse(&text).is_none_or(|set| set.count() > 0));
        }

        #[test]
        fn what_is_written_reads_back(ids in proptest::collection::btree_set(0..=MAX_NUMA_ID, 1..20)) {
            let set = NumaSet::from_ids(ids).unwrap();
            prop_assert_eq!(NumaSet::parse(&set.to_string()), Some(set.clone()));
            let json = serde_json::to_string(&set).unwrap();
            prop_assert_eq!(serde_json::from_str::<NumaSet>(&json).unwrap(), set);
        }
    }
}
