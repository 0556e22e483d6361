//! A set of positions below 64.

use std::fmt;

/// A set of zones, cards or network cards of one machine, by position.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mask(u64);

impl Mask {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// All there can be.
    pub const ALL: Self = Self(u64::MAX);

    /// The first `count` positions.
    pub const fn first(count: usize) -> Self {
        if count >= 64 {
            Self::ALL
        } else {
            Self((1 << count) - 1)
        }
    }

    /// One position; none where it is beyond 63.
    pub const fn one(position: usize) -> Self {
        if position < 64 {
            Self(1 << position)
        } else {
            Self::EMPTY
        }
    }

    /// Whether the position is in it.
    pub const fn contains(self, position: usize) -> bool {
        self.0 & Self::one(position).0 != 0
    }

    /// With the position.
    #[must_use]
    pub const fn with(self, position: usize) -> Self {
        Self(self.0 | Self::one(position).0)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// How many there are.
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The positions, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> + Clone {
        let mut left = self.0;
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let position = left.trailing_zeros() as usize;
                left &= left - 1;
                position
            })
        })
    }
}

impl FromIterator<usize> for Mask {
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        positions.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_positions() {
        let set: Mask = [0, 5, 63, 64].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 5, 63]);
        assert_eq!(
            (set.count(), set.contains(5), set.contains(64)),
            (3, true, false)
        );
        assert_eq!(set.without(Mask::one(5)), Mask::one(0).with(63));
        assert_eq!(Mask::first(64), Mask::ALL);
        assert_eq!(Mask::first(2), Mask::one(0).with(1));
    }
}
