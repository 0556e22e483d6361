//! `memory.stat`: which part of a group's memory the kernel can take back.

use super::flat_keyed;

/// What one `memory.stat` says, descendants included. Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryStat {
    /// File pages not used lately; kubelet subtracts them for its "working set".
    pub inactive_file: u64,
    /// File pages used lately; can be taken back too, at a price.
    pub active_file: u64,
    /// Kernel caches that can be taken back; version 2 only.
    pub slab_reclaimable: u64,
}

/// Parses the version 1 file: the `total_` keys include descendants, the bare ones do not.
pub fn parse_v1(text: &str) -> MemoryStat {
    let mut stat = MemoryStat::default();
    for (key, value) in flat_keyed(text) {
        match key {
            "total_inactive_file" => stat.inactive_file = value,
            "total_active_file" => stat.active_file = value,
            _ => {}
        }
    }
    stat
}

/// Parses the version 2 file.
pub fn parse_v2(text: &str) -> MemoryStat {
    let mut stat = MemoryStat::default();
    for (key, value) in flat_keyed(text) {
        match key {
            "inactive_file" => stat.inactive_file = value,
            "active_file" => stat.active_file = value,
            "slab_reclaimable" => stat.slab_reclaimable = value,
            _ => {}
        }
    }
    stat
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured on 6.18, version 1, shortened.
    const V1: &str = "cache 401408\nrss 12288\ninactive_file 4096\nactive_file 8192\nhierarchical_memory_limit 9223372036854771712\ntotal_cache 270336\ntotal_rss 1024\ntotal_inactive_file 135168\ntotal_active_file 131072\ntotal_unevictable 0\n";
    /// Captured on 6.12, version 2, shortened.
    const V2: &str = "anon 9842688\nfile 52559872\nkernel 6041600\nshmem 8192\ninactive_anon 9740288\nactive_anon 16384\ninactive_file 35688448\nactive_file 16863232\nunevictable 0\nslab_reclaimable 4201048\nslab_unreclaimable 814440\nslab 5015488\n";

    #[test]
    fn version_1_counts_descendants() {
        assert_eq!(
            parse_v1(V1),
            MemoryStat {
                inactive_file: 135_168,
                active_file: 131_072,
                slab_reclaimable: 0
            }
        );
    }

    #[test]
    fn version_2() {
        assert_eq!(
            parse_v2(V2),
            MemoryStat {
                inactive_file: 35_688_448,
                active_file: 16_863_232,
                slab_reclaimable: 4_201_048
            }
        );
    }
}
