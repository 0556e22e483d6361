//! CPU weight in the scales of cgroup v1 (`cpu.shares`, 2 to 262144, default 1024) and v2 (`cpu.weight`, 1 to 10000, default 100).
//!
//! There are three conversions in the field, and a reader has to know which one wrote a file:
//!
//! | who | formula | 1 CPU (1024 shares) is |
//! |---|---|---|
//! | kernel | `shares * 100 / 1024` (`sched_weight_from_cgroup` in `kernel/sched/core.c`) | 100 |
//! | older runc and kubelet (KEP-2254) | `1 + (shares - 2) * 9999 / 262142` | 39 |
//! | newer ones, for kubernetes#131216 (`ConvertCPUSharesToCgroupV2Value` of opencontainers/cgroups) | `ceil(10 ^ ((l * l + 125 * l) / 612 - 7 / 34))`, `l = log2(shares)` | 100 |

use serde::{Deserialize, Serialize};

use crate::units::Millicpu;

/// A weight on the scale of cgroup v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shares(u64);

/// A weight on the scale of cgroup v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Weight(u64);

impl Shares {
    /// The least the kernel takes (`MIN_SHARES`).
    pub const MIN: Self = Self(2);
    /// The most the kernel takes (`MAX_SHARES`).
    pub const MAX: Self = Self(1 << 18);

    /// Brings a number into the kernel's range, as the kernel itself does.
    pub fn new(shares: u64) -> Self {
        Self(shares.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// The number for `cpu.shares`.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Shares of a CPU request, as the kubelet computes them (`MilliCPUToShares`): 1024 a CPU.
    pub fn of_request(request: Millicpu) -> Self {
        Self::new(request.get().saturating_mul(1024) / 1000)
    }

    /// The weight that current runc and kubelet write for these shares.
    pub fn to_weight(self) -> Weight {
        if self >= Self::MAX {
            return Weight::MAX;
        }
        let log = (self.0 as f64).log2();
        let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
        if self == Self::MIN {
            Weight::MIN
        } else {
            Weight::new(10_f64.powf(exponent).ceil() as u64)
        }
    }

    /// The weight that older runc and kubelet write for these shares.
    pub fn to_weight_linear(self) -> Weight {
        Weight::new(1 + (self.0 - 2) * 9999 / 262_142)
    }

    /// The weight that means the same to the kernel.
    pub fn to_weight_kernel(self) -> Weight {
        Weight::new((self.0 * 100 + 512) / 1024)
    }
}

impl Weight {
    /// The least the kernel takes.
    pub const MIN: Self = Self(1);
    /// The most the kernel takes.
    pub const MAX: Self = Self(10_000);

    /// Brings a number into the kernel's range, which the kernel does not do: it refuses.
    pub fn new(weight: u64) -> Self {
        Self(weight.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// The number for `cpu.weight`.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The shares that the kubelet reads out of this weight.
    pub fn to_shares_linear(self) -> Shares {
        Shares::new((self.0 - 1) * 262_142 / 9999 + 2)
    }

    /// The shares that mean the same to the kernel.
    pub fn to_shares_kernel(self) -> Shares {
        Shares::new((self.0 * 1024 + 50) / 100)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    // The first column as the test table of opencontainers/cgroups has it.
    #[rstest]
    #[case(1, 1, 1)]
    #[case(2, 1, 1)]
    #[case(3, 2, 1)]
    #[case(1024, 100, 39)]
    #[case(262_143, 10_000, 9_999)]
    #[case(262_144, 10_000, 10_000)]
    #[case(262_145, 10_000, 10_000)]
    fn conversions_of_the_field(#[case] shares: u64, #[case] weight: u64, #[case] linear: u64) {
        let shares = Shares::new(shares);
        assert_eq!(
            (shares.to_weight().get(), shares.to_weight_linear().get()),
            (weight, linear)
        );
    }

    #[test]
    fn requests_as_the_kubelet_has_them() {
        let shares = |millicpu| Shares::of_request(Millicpu::new(millicpu)).get();
        assert_eq!(
            [0, 1, 100, 1000, 2500, u64::MAX].map(shares),
            [2, 2, 102, 1024, 2560, 262_144]
        );
    }

    proptest! {
        #[test]
        fn more_shares_are_never_less_weight(a in 2..262_144_u64, b in 2..262_144_u64) {
            let (low, high) = (Shares::new(a.min(b)), Shares::new(a.max(b)));
            prop_assert!(low.to_weight() <= high.to_weight());
            prop_assert!(low.to_weight_linear() <= high.to_weight_linear());
            prop_assert!(low.to_weight_kernel() <= high.to_weight_kernel());
        }

        #[test]
        fn the_kernels_scale_reads_back(weight in 1..2560_u64) {
            prop_assert_eq!(Weight::new(weight).to_shares_kernel().to_weight_kernel().get(), weight);
        }
    }
}
