//! `cpu.stat`: CPU time used (version 2 only) and the counters of CFS bandwidth control.

use super::flat_keyed;

/// What one `cpu.stat` says. Every field is cumulative since the group was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuStat {
    /// CPU time of the group and its descendants, nanoseconds; version 1 keeps it in `cpuacct.usage` instead.
    pub usage_nanos: Option<u64>,
    /// Enforcement intervals that passed while the group had a quota.
    pub nr_periods: Option<u64>,
    /// Enforcement intervals in which it ran out.
    pub nr_throttled: Option<u64>,
    /// Time its tasks were held back, nanoseconds.
    pub throttled_nanos: Option<u64>,
}

/// Parses the version 1 file: `throttled_time` is in nanoseconds.
pub fn parse_v1(text: &str) -> CpuStat {
    let mut stat = CpuStat::default();
    for (key, value) in flat_keyed(text) {
        match key {
            "nr_periods" => stat.nr_periods = Some(value),
            "nr_throttled" => stat.nr_throttled = Some(value),
            "throttled_time" => stat.throttled_nanos = Some(value),
            _ => {}
        }
    }
    stat
}

/// Parses the version 2 file: times are in microseconds.
pub fn parse_v2(text: &str) -> CpuStat {
    let mut stat = CpuStat::default();
    for (key, value) in flat_keyed(text) {
        match key {
            "usage_usec" => stat.usage_nanos = Some(value.saturating_mul(1_000)),
            "nr_periods" => stat.nr_periods = Some(value),
            "nr_throttled" => stat.nr_throttled = Some(value),
            "throttled_usec" => stat.throttled_nanos = Some(value.saturating_mul(1_000)),
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
                usage_nanos: None,
                nr_periods: Some(42),
                nr_throttled: Some(17),
                throttled_nanos: Some(1_203_445_101)
            }
        );
    }

    #[test]
    fn version_2() {
        assert_eq!(
            parse_v2(V2),
            CpuStat {
                usage_nanos: Some(5_183_746_000),
                nr_periods: Some(10),
                nr_throttled: Some(3),
                throttled_nanos: Some(88_123_000)
            }
        );
        assert_eq!(
            parse_v2(V2_ROOT),
            CpuStat {
                usage_nanos: Some(11_000),
                ..CpuStat::default()
            }
        );
    }
}
