//! A pair of amounts of the two reclaimed resources: requested, offered or allocated.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Millicpu};

/// Amounts of `reclaimed_millicpu` and `reclaimed_memory`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Reclaimed {
    /// CPU, in thousandths.
    pub cpu: Millicpu,
    /// Memory, in bytes.
    pub memory: Bytes,
}

impl Reclaimed {
    /// Nothing of either.
    pub const ZERO: Self = Self {
        cpu: Millicpu::ZERO,
        memory: Bytes::ZERO,
    };

    /// Both amounts from plain numbers: thousandths of a CPU and bytes.
    pub const fn new(millicpu: u64, bytes: u64) -> Self {
        Self {
            cpu: Millicpu::new(millicpu),
            memory: Bytes::new(bytes),
        }
    }

    /// True when neither amount exceeds its counterpart in `room`.
    pub fn fits_in(&self, room: &Self) -> bool {
        self.cpu <= room.cpu && self.memory <= room.memory
    }

    /// True when both amounts are zero.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl Add for Reclaimed {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            memory: self.memory + other.memory,
        }
    }
}

impl Sub for Reclaimed {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self {
            cpu: self.cpu - other.cpu,
            memory: self.memory - other.memory,
        }
    }
}

impl Sum for Reclaimed {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Reclaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpu {}, memory {}", self.cpu, self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_needs_both_resources() {
        let room = Reclaimed::new(1000, 100);
        assert!(Reclaimed::new(1000, 100).fits_in(&room));
        assert!(!Reclaimed::new(1001, 0).fits_in(&room));
        assert!(!Reclaimed::new(0, 101).fits_in(&room));
    }
}
