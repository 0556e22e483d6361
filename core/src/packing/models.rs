//! GPU models as small numbers and sets of them as bits.
//!
//! The caller gives each model name of its cluster a number (0 to 63) and keeps the names; decisions compare bits. A cluster with more
//! models than that lets the rarest share a number: they are then interchangeable to the cost, never to the fit, which compares names.

/// Number of a GPU model, 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ModelId(u8);

impl ModelId {
    /// Models that can be told apart.
    pub const COUNT: u8 = 64;

    /// The model with this number; `None` from 64 on.
    pub const fn new(number: u8) -> Option<Self> {
        if number < Self::COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Models that a pod accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelSet(u64);

impl ModelSet {
    /// Any model: what a pod without a selector accepts.
    pub const ANY: Self = Self(u64::MAX);

    /// True when the set holds the model.
    pub const fn contains(self, model: ModelId) -> bool {
        self.0 >> model.0 & 1 == 1
    }
}

impl Default for ModelSet {
    fn default() -> Self {
        Self::ANY
    }
}

impl FromIterator<ModelId> for ModelSet {
    fn from_iter<I: IntoIterator<Item = ModelId>>(models: I) -> Self {
        Self(
            models
                .into_iter()
                .fold(0, |bits, model| bits | 1 << model.0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_it_was_made_of() {
        let [a, b, last] = [0, 5, 63].map(|number| ModelId::new(number).unwrap());
        let set: ModelSet = [a, last].into_iter().collect();
        assert!(set.contains(a) && set.contains(last) && !set.contains(b));
        assert!(ModelSet::ANY.contains(last));
        assert_eq!(ModelId::new(64), None);
    }
}
