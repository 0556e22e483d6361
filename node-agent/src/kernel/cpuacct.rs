//! `cpuacct.usage_percpu` and `cpuacct.stat` of cgroup version 1 (Documentation/admin-guide/cgroup-v1/cpuacct.rst).
//! `cpuacct.usage` is one number: see [`super::number`]. Version 2 has no counter for each CPU.

use super::{flat_keyed, proc_stat::TICKS_PER_SECOND};

/// User and system time of a group, nanoseconds, at the resolution of the kernel's tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuacctStat {
    /// In user mode.
    pub user_nanos: u64,
    /// In kernel mode.
    pub system_nanos: u64,
}

/// Each possible CPU with the group's time on it, nanoseconds. The file is indexed by CPU number, offline ones included. Allocates
/// nothing. What is no number ends the list.
pub fn per_cpu(text: &str) -> impl Iterator<Item = (u32, u64)> + '_ {
    (0..).zip(
        text.split_whitespace()
            .map_while(|word| word.parse::<u64>().ok()),
    )
}

/// Parses `cpuacct.stat`; `None` without both lines.
pub fn parse_stat(text: &str) -> Option<CpuacctStat> {
    let (mut user, mut system) = (None, None);
    for (key, ticks) in flat_keyed(text) {
        let nanos = Some(ticks.saturating_mul(1_000_000_000 / TICKS_PER_SECOND));
        match key {
            "user" => user = nanos,
            "system" => system = nanos,
            _ => {}
        }
    }
    Some(CpuacctStat {
        user_nanos: user?,
        system_nanos: system?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cpu_by_its_number() {
        assert_eq!(
            per_cpu("81123 0 7 \n").collect::<Vec<_>>(),
            [(0, 81_123), (1, 0), (2, 7)]
        );
        assert_eq!(per_cpu("1 x 3").count(), 1);
        assert_eq!(per_cpu("").count(), 0);
    }

    #[test]
    fn ticks_become_nanoseconds() {
        assert_eq!(
            parse_stat("user 12\nsystem 3\n"),
            Some(CpuacctStat {
                user_nanos: 120_000_000,
                system_nanos: 30_000_000
            })
        );
        assert_eq!(parse_stat("user 12\n"), None);
    }
}
