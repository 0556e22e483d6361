//! `/proc/vmstat` and `/sys/devices/system/node/nodeN/vmstat`: counters of reclaim, swap, migration and out-of-memory kills (`mm/vmstat.c`).
//!
//! Cumulative since boot, in pages or events. Names changed over time: `allocstall` became one counter a zone in 4.10, `pgmigrate_success` needs
//! `CONFIG_MIGRATION`, refaults were split in 5.9, `oom_kill` came with 4.13. A name that is missing is `None`.

use super::flat_keyed;

/// The counters the agent reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VmStat {
    /// Pages scanned by the background reclaimer.
    pub pgscan_kswapd: Option<u64>,
    /// Pages scanned by tasks that had to wait for memory.
    pub pgscan_direct: Option<u64>,
    /// Pages the background reclaimer took.
    pub pgsteal_kswapd: Option<u64>,
    /// Pages that waiting tasks took.
    pub pgsteal_direct: Option<u64>,
    /// Times a task had to reclaim, all zones.
    pub allocstall: Option<u64>,
    /// Times a task had to compact.
    pub compact_stall: Option<u64>,
    /// Faults that waited for a device.
    pub pgmajfault: Option<u64>,
    /// Pages read from swap.
    pub pswpin: Option<u64>,
    /// Pages written to swap.
    pub pswpout: Option<u64>,
    /// File pages that came back after eviction (before 5.9: anonymous ones too).
    pub workingset_refault_file: Option<u64>,
    /// Anonymous pages that came back.
    pub workingset_refault_anon: Option<u64>,
    /// Processes killed for memory.
    pub oom_kill: Option<u64>,
    /// Pages moved by migration, `cpuset.mems` changes included.
    pub pgmigrate_success: Option<u64>,
    /// Pages that could not be moved.
    pub pgmigrate_fail: Option<u64>,
    /// Pages moved by automatic NUMA balancing.
    pub numa_pages_migrated: Option<u64>,
}

/// Parses the file.
pub fn parse(text: &str) -> VmStat {
    let mut stat = VmStat::default();
    for (key, value) in flat_keyed(text) {
        let field = match key {
            "pgscan_kswapd" => &mut stat.pgscan_kswapd,
            "pgscan_direct" => &mut stat.pgscan_direct,
            "pgsteal_kswapd" => &mut stat.pgsteal_kswapd,
            "pgsteal_direct" => &mut stat.pgsteal_direct,
            "compact_stall" => &mut stat.compact_stall,
            "pgmajfault" => &mut stat.pgmajfault,
            "pswpin" => &mut stat.pswpin,
            "pswpout" => &mut stat.pswpout,
            "workingset_refault" | "workingset_refault_file" => &mut stat.workingset_refault_file,
            "workingset_refault_anon" => &mut stat.workingset_refault_anon,
            "oom_kill" => &mut stat.oom_kill,
            "pgmigrate_success" => &mut stat.pgmigrate_success,
            "pgmigrate_fail" => &mut stat.pgmigrate_fail,
            "numa_pages_migrated" => &mut stat.numa_pages_migrated,
            _ if key == "allocstall" || key.starts_with("allocstall_") => {
                stat.allocstall = Some(stat.allocstall.unwrap_or(0).saturating_add(value));
                continue;
            }
            _ => continue,
        };
        *field = Some(value);
    }
    stat
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_of_all_zones_add_up() {
        let stat = parse(
            "nr_free_pages 9\nallocstall_dma 1\nallocstall_normal 2\nallocstall_movable 4\npgscan_direct 5\npgscan_direct_throttle 6\noom_kill 0\n",
        );
        assert_eq!(stat.allocstall, Some(7));
        assert_eq!(stat.pgscan_direct, Some(5), "not the throttle counter");
        assert_eq!(stat.oom_kill, Some(0));
        assert_eq!(stat.pgmigrate_success, None);
    }
}
