//! `memory.stat`: what a group's memory is made of, and which part of it the kernel can take back (cgroup-v2.rst;
//! Documentation/admin-guide/cgroup-v1/memory.rst).
//!
//! Descendants are included: version 1 says so with the prefix `total_`, version 2 always. A key that a kernel does not have is zero, except
//! the event counters, where nothing and zero differ. Bytes.

use super::flat_keyed;

/// What one `memory.stat` says, descendants included. Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryStat {
    /// Memory of processes: `anon`, `total_rss`.
    pub anon: u64,
    /// Page cache, shared memory included: `file`, `total_cache`.
    pub file: u64,
    /// Shared memory and tmpfs: not droppable without swap. `shmem` since 4.10.
    pub shmem: u64,
    /// File pages not used lately; kubelet subtracts them for its "working set".
    pub inactive_file: u64,
    /// File pages used lately; can be taken back too, at a price.
    pub active_file: u64,
    /// Kernel caches that can be taken back; version 2 only.
    pub slab_reclaimable: u64,
    /// Locked memory.
    pub unevictable: u64,
    /// File pages to be written.
    pub dirty: u64,
    /// File pages being written.
    pub writeback: u64,
    /// Faults that had to wait for a device, cumulative.
    pub pgmajfault: Option<u64>,
    /// File pages that came back after they were evicted, cumulative; before 5.9 one counter for anonymous pages too.
    pub workingset_refault_file: Option<u64>,
    /// Anonymous pages that came back, cumulative; since 5.9.
    pub workingset_refault_anon: Option<u64>,
    /// Pages scanned for reclaim, cumulative; version 2 only.
    pub pgscan: Option<u64>,
    /// Pages reclaimed, cumulative; version 2 only.
    pub pgsteal: Option<u64>,
}

/// Parses the version 1 file: the `total_` keys include descendants, the bare ones do not.
pub fn parse_v1(text: &str) -> MemoryStat {
    let mut stat = MemoryStat::default();
    for (key, value) in flat_keyed(text) {
        let Some(key) = key.strip_prefix("total_") else {
            continue;
        };
        match key {
            "rss" => stat.anon = value,
            "cache" => stat.file = value,
            other => common(&mut stat, other, value),
        }
    }
    stat
}

/// Parses the version 2 file.
pub fn parse_v2(text: &str) -> MemoryStat {
    let mut stat = MemoryStat::default();
    for (key, value) in flat_keyed(text) {
        match key {
            "anon" => stat.anon = value,
            "file" => stat.file = value,
            "slab_reclaimable" => stat.slab_reclaimable = value,
            "file_dirty" => stat.dirty = value,
            "file_writeback" => stat.writeback = value,
            "pgscan" => stat.pgscan = Some(value),
            "pgsteal" => stat.pgsteal = Some(value),
            // Version 1's names for what has another name here.
            "dirty" | "writeback" => {}
            other => common(&mut stat, other, value),
        }
    }
    stat
}

/// The keys of both versions.
fn common(stat: &mut MemoryStat, key: &str, value: u64) {
    match key {
        "shmem" => stat.shmem = value,
        "inactive_file" => stat.inactive_file = value,
        "active_file" => stat.active_file = value,
        "unevictable" => stat.unevictable = value,
        "dirty" => stat.dirty = value,
        "writeback" => stat.writeback = value,
        "pgmajfault" => stat.pgmajfault = Some(value),
        "workingset_refault" | "workingset_refault_file" => {
            stat.workingset_refault_file = Some(value);
        }
        "workingset_refault_anon" => stat.workingset_refault_anon = Some(value),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured on 6.18, version 1, shortened.
    const V1: &str = "cache 401408\nrss 12288\ninactive_file 4096\nactive_file 8192\nhierarchical_memory_limit 9223372036854771712\ntotal_cache 270336\ntotal_rss 1024\ntotal_dirty 24576\ntotal_pgmajfault 2\ntotal_workingset_refault_file 9\ntotal_inactive_file 135168\ntotal_active_file 131072\ntotal_unevictable 0\n";
    /// Captured on 6.12, version 2, shortened.
    const V2: &str = "anon 9842688\nfile 52559872\nkernel 6041600\nshmem 8192\nfile_dirty 4096\ninactive_anon 9740288\nactive_anon 16384\ninactive_file 35688448\nactive_file 16863232\nunevictable 0\nslab_reclaimable 4201048\nslab_unreclaimable 814440\nslab 5015488\nworkingset_refault_anon 3\npgscan 7\npgsteal 5\npgmajfault 1\n";

    #[test]
    fn version_1_counts_descendants() {
        assert_eq!(
            parse_v1(V1),
            MemoryStat {
                anon: 1_024,
                file: 270_336,
                inactive_file: 135_168,
                active_file: 131_072,
                dirty: 24_576,
                pgmajfault: Some(2),
                workingset_refault_file: Some(9),
                ..MemoryStat::default()
            }
        );
    }

    #[test]
    fn version_2() {
        assert_eq!(
            parse_v2(V2),
            MemoryStat {
                anon: 9_842_688,
                file: 52_559_872,
                shmem: 8_192,
                inactive_file: 35_688_448,
                active_file: 16_863_232,
                slab_reclaimable: 4_201_048,
                dirty: 4_096,
                pgmajfault: Some(1),
                workingset_refault_anon: Some(3),
                pgscan: Some(7),
                pgsteal: Some(5),
                ..MemoryStat::default()
            }
        );
    }

    #[test]
    fn one_counter_of_refaults_before_5_9() {
        let stat = parse_v2("workingset_refault 12\nworkingset_activate 3\n");
        assert_eq!(stat.workingset_refault_file, Some(12));
        assert_eq!(stat.workingset_refault_anon, None);
    }
}
