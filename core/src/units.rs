//! Amounts with their unit in the type: thousandths of a CPU and bytes.
//!
//! Mixing cores with thousandths, or bytes with MiB, is the classic defect of resource software; here it does not compile.
//! Arithmetic saturates: an amount is never negative and never wraps.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

macro_rules! amount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// No amount at all.
            pub const ZERO: Self = Self(0);

            /// Wraps a number that is already in this unit.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The number, in this unit.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// This amount times `factor`, rounded down; a negative or non-finite factor gives zero.
            #[must_use]
            pub fn scale(self, factor: f64) -> Self {
                if factor.is_finite() && factor > 0.0 {
                    Self((self.0 as f64 * factor) as u64)
                } else {
                    Self::ZERO
                }
            }

            /// The difference without a sign.
            #[must_use]
            pub const fn abs_diff(self, other: Self) -> Self {
                Self(self.0.abs_diff(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.fold(Self::ZERO, Add::add)
            }
        }
    };
}

amount! {
    /// CPU time in thousandths of a CPU (`1000` is one CPU busy all the time).
    Millicpu
}

amount! {
    /// Memory in bytes.
    Bytes
}

impl fmt::Display for Millicpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::quantity::format_millicpu(*self))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::quantity::format_bytes(*self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Millicpu::new(3) - Millicpu::new(5), Millicpu::ZERO);
        assert_eq!(Bytes::new(u64::MAX) + Bytes::new(1), Bytes::new(u64::MAX));
        assert_eq!(
            [1, 2, 3].map(Millicpu::new).into_iter().sum::<Millicpu>(),
            Millicpu::new(6)
        );
    }

    #[test]
    fn scaling_ignores_nonsense_factors() {
        assert_eq!(Millicpu::new(1000).scale(0.5), Millicpu::new(500));
        assert_eq!(Millicpu::new(1000).scale(f64::NAN), Millicpu::ZERO);
        assert_eq!(Millicpu::new(1000).scale(-1.0), Millicpu::ZERO);
    }
}
