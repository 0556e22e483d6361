//! `cpu.stat`: CPU time used (version 2 only) and the counters of CFS bandwidth control (Documentation/admin-guide/cgroup-v2.rst,
//! Documentation/scheduler/sched-bwc.rst).
//!
//! Times are nanoseconds here whatever the file's unit. The burst counters came with 5.14; the bandwidth lines are absent at the root of a
//! version 2 hierarchy and, before 4.15, wherever the controller was off.

use super::flat_keyed;

/// What one `cpu.stat` says. Every field is cumulative since the group was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuStat {
    /// CPU time of the group and its descendants, nanoseconds; version 1 keeps it in `cpuacct.usage` instead.
    pub usage_nanos: Option<u64>,
    /// Of it in user mode; version 2 only.
    pub user_nanos: Option<u64>,
    /// Of it in kernel mode; version 2 only.
    pub system_nanos: Option<u64>,
    /// Enforcement intervals that passed while the group had a quota.
    pub nr_periods: Option<u64>,
    /// Enforcement intervals in which it ran out.
    pub nr_throttled: Option<u64>,
    /// Time its tasks were held back, nanoseconds.
    pub throttled_nanos: Option<u64>,
    /// Intervals in which it used saved-up quota.
    pub nr_bursts: Option<u64>,
    /// How much of that it used, nanoseconds.
    pub burst_nanos: Option<u64>,
}

/// Parses the version 1 file: `throttled_time` is in nanoseconds.
pub fn parse_v1(text: &str) -> CpuStat {
    let mut stat = CpuStat::default();
    for (key, value) in flat_keyed(text) {
        match key {
            "nr_periods" => stat.nr_periods = Some(value),
            "nr_throttled" => stat.nr_throttled = Some(value),
            "throttled_time" => stat.throttled_nanos = Some(value),
            "nr_bursts" => stat.nr_bursts = Some(value),
            "burst_time" => stat.burst_nanos = Some(value),
            _ => {}
        }
    }
    stat
}

/// Parses the version 2 file: times are in microseconds.
pub fn parse_v2(text: &str) -> CpuStat {
    let mut stat = CpuStat::default();
    for (key, value) in flat_keyed(text) {
        let nanos = Some(value.saturating_mul(1_000));
        match key {
            "usage_usec" => stat.usage_nanos = nanos,
            "user_usec" => stat.user_nanos = nanos,
            "system_usec" => stat.system_nanos = nanos,
            "nr_periods" => stat.nr_periods = Some(value),
            "nr_throttled" => stat.nr_throttled = Some(value),
            "throttled_usec" => stat.throttled_nanos = nanos,
            "nr_bursts" => stat.nr_bursts = Some(value),
            "burst_usec" => stat.burst_nanos = nanos,
            _ => {}
        }
    }
    stat
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured on 6.18, cgroup version 1, a group with a quota.
    const V1: &str =
        "nr_periods 42\nnr_throttled 17\nthrottled_time 1203445101\nnr_bursts 0\nburst_time 0\n";
    /// Captured on 6.12, cgroup version 2.
    const V2: &str = "usage_usec 5183746\nuser_usec 4000000\nsystem_usec 1183746\nnice_usec 0\ncore_sched.force_idle_usec 0\nnr_periods 10\nnr_throttled 3\nthrottled_usec 88123\nnr_bursts 0\nburst_usec 0\n";
    /// Captured on 6.12, cgroup version 2, root of the hierarchy: no bandwidth lines.
    const V2_ROOT: &str = "usage_usec 11\nuser_usec 10\nsystem_usec 1\n";

    #[test]
    fn version_1() {
        assert_eq!(
            parse_v1(V1),
            CpuStat {
                nr_periods: Some(42),
                nr_throttled: Some(17),
                throttled_nanos: Some(1_203_445_101),
                nr_bursts: Some(0),
                burst_nanos: Some(0),
                ..CpuStat::default()
            }
        );
    }

    #[test]
    fn version_2() {
        assert_eq!(
            parse_v2(V2),
            CpuStat {
                usage_nanos: Some(5_183_746_000),
                user_nanos: Some(4_000_000_000),
                system_nanos: Some(1_183_746_000),
                nr_periods: Some(10),
                nr_throttled: Some(3),
                throttled_nanos: Some(88_123_000),
                nr_bursts: Some(0),
                burst_nanos: Some(0),
            }
        );
        assert_eq!(
            parse_v2(V2_ROOT),
            CpuStat {
                usage_nanos: Some(11_000),
                user_nanos: Some(10_000),
                system_nanos: Some(1_000),
                ..CpuStat::default()
            }
        );
    }
}
