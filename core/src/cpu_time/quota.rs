//! In which order quota and burst are written.
//!
//! The kernel refuses (`EINVAL`) a burst above the quota and a quota below the burst (`tg_set_cfs_bandwidth` in `kernel/sched/core.c`), so a quota that falls below the
//! burst is written after it, and a burst that rises above the old quota after that.

/// Bandwidth of a group, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuMax {
    /// CPU time a period; `None`: no limit.
    pub quota: Option<u64>,
    /// The period.
    pub period: u64,
    /// Unused time that may be saved up.
    pub burst: u64,
}

/// One write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuWrite {
    /// Quota and period: `cpu.max`, or `cpu.cfs_quota_us` and `cpu.cfs_period_us`.
    Max {
        /// CPU time a period; `None`: no limit.
        quota: Option<u64>,
        /// The period.
        period: u64,
    },
    /// `cpu.max.burst` or `cpu.cfs_burst_us`.
    Burst(u64),
}

/// The writes that lead from one state to the other, none of which the kernel refuses. A wanted burst above its quota is lowered to it.
pub fn writes(current: CpuMax, wanted: CpuMax) -> Vec<CpuWrite> {
    let burst = wanted
        .quota
        .map_or(wanted.burst, |quota| wanted.burst.min(quota));
    let max = CpuWrite::Max {
        quota: wanted.quota,
        period: wanted.period,
    };
    let mut writes = Vec::new();
    let max_changes = (current.quota, current.period) != (wanted.quota, wanted.period);
    let burst_first = burst < current.burst;
    if burst_first {
        writes.push(CpuWrite::Burst(burst));
    }
    if max_changes {
        writes.push(max);
    }
    if burst > current.burst {
        writes.push(CpuWrite::Burst(burst));
    }
    writes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state() -> impl Strategy<Value = CpuMax> {
        (prop::option::of(1000..400_000_u64), 0..=100_u64).prop_map(|(quota, percent)| CpuMax {
            quota,
            period: 100_000,
            burst: quota.unwrap_or(200_000) * percent / 100,
        })
    }

    proptest! {
        #[test]
        fn the_kernel_takes_every_write(current in state(), wanted in state(), over in 0..2_u64) {
            let asked = CpuMax { burst: wanted.burst + over * 1_000_000, ..wanted };
            let mut state = current;
            for write in writes(current, asked) {
                match write {
                    CpuWrite::Max { quota, period } => state = CpuMax { quota, period, ..state },
                    CpuWrite::Burst(burst) => state.burst = burst,
                }
                prop_assert!(state.quota.is_none_or(|quota| state.burst <= quota), "{state:?}");
            }
            prop_assert_eq!((state.quota, state.period), (wanted.quota, wanted.period));
            prop_assert!(over > 0 || state.burst == wanted.burst);
        }
    }
}
