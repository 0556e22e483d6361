//! `/proc/meminfo` and `/sys/devices/system/node/nodeN/meminfo` (proc(5), `fs/proc/meminfo.c`, `drivers/base/node.c`).
//!
//! The machine's file knows `MemAvailable` (since 3.14), a node's does not: the kernel estimates it for the whole machine only.
//! [`NodeMemInfo::available`] is the same estimate made of what a node says.

/// The machine's memory, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemInfo {
    /// MemTotal.
    pub total: u64,
    /// MemAvailable: what the kernel says can be handed out without swapping, page cache that it would drop included.
    pub available: u64,
    /// MemFree.
    pub free: u64,
    /// SwapTotal; zero without swap.
    pub swap_total: u64,
    /// SwapFree.
    pub swap_free: u64,
}

/// A NUMA node's memory, bytes. What an older kernel leaves out is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeMemInfo {
    /// MemTotal.
    pub total: u64,
    /// MemFree.
    pub free: u64,
    /// FilePages: page cache, shared memory included.
    pub file: u64,
    /// Inactive(file).
    pub inactive_file: u64,
    /// Active(file).
    pub active_file: u64,
    /// AnonPages.
    pub anon: u64,
    /// Shmem.
    pub shmem: u64,
    /// SReclaimable.
    pub slab_reclaimable: u64,
    /// Dirty: pages that must be written before they can be dropped.
    pub dirty: u64,
}

impl NodeMemInfo {
    /// Free memory and half of what the kernel could drop. `si_mem_available` of `mm/page_alloc.c` keeps back the half or the low watermark,
    /// whichever is less; a node's file does not tell the watermark, so this is the careful end. Never more than the total.
    pub fn available(&self) -> u64 {
        let droppable = self
            .inactive_file
            .saturating_add(self.active_file)
            .saturating_add(self.slab_reclaimable);
        self.free
            .saturating_add(droppable.div_euclid(2))
            .min(self.total)
    }

    /// Everything but free pages and what can be dropped; the part of a node that is in use for good.
    pub fn resident(&self) -> u64 {
        self.total
            .saturating_sub(self.free)
            .saturating_sub(self.inactive_file)
            .saturating_sub(self.active_file)
            .saturating_sub(self.slab_reclaimable)
    }
}

/// Parses `/proc/meminfo`; `None` without total and available.
pub fn parse(text: &str) -> Option<MemInfo> {
    let (mut total, mut available) = (None, None);
    let mut rest = MemInfo::default();
    for (key, value) in lines(text) {
        match key {
            "MemTotal" => total = value,
            "MemAvailable" => available = value,
            "MemFree" => rest.free = value.unwrap_or(0),
            "SwapTotal" => rest.swap_total = value.unwrap_or(0),
            "SwapFree" => rest.swap_free = value.unwrap_or(0),
            _ => {}
        }
    }
    Some(MemInfo {
        total: total?,
        available: available?,
        ..rest
    })
}

/// Parses a NUMA node's file (`Node 0 MemTotal:  16379896 kB`); `None` without its total.
pub fn parse_node(text: &str) -> Option<NodeMemInfo> {
    let mut total = None;
    let mut node = NodeMemInfo::default();
    for (key, value) in lines(text) {
        // `Node 0 ` stands before the name.
        let name = key.rsplit(' ').next().unwrap_or(key);
        let bytes = value.unwrap_or(0);
        match name {
            "MemTotal" => total = value,
            "MemFree" => node.free = bytes,
            "FilePages" => node.file = bytes,
            "Inactive(file)" => node.inactive_file = bytes,
            "Active(file)" => node.active_file = bytes,
            "AnonPages" => node.anon = bytes,
            "Shmem" => node.shmem = bytes,
            "SReclaimable" => node.slab_reclaimable = bytes,
            "Dirty" => node.dirty = bytes,
            _ => {}
        }
    }
    Some(NodeMemInfo {
        total: total?,
        ..node
    })
}

fn lines(text: &str) -> impl Iterator<Item = (&str, Option<u64>)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        Some((key.trim(), kibibytes(value)))
    })
}

/// `" 1024 kB"` to bytes.
fn kibibytes(value: &str) -> Option<u64> {
    value
        .split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine() {
        let text = "MemTotal:       24624560 kB\nMemFree:         9000000 kB\nMemAvailable:   20193272 kB\nBuffers:  1 kB\nSwapTotal: 10 kB\nSwapFree: 4 kB\nHugePages_Total:       0\n";
        assert_eq!(
            parse(text),
            Some(MemInfo {
                total: 24_624_560 * 1024,
                available: 20_193_272 * 1024,
                free: 9_000_000 * 1024,
                swap_total: 10 * 1024,
                swap_free: 4 * 1024,
            })
        );
        assert_eq!(parse("MemTotal: 5 kB\n"), None);
    }

    #[test]
    fn numa_node() {
        let text = "\nNode 1 MemTotal:        1029220 kB\nNode 1 MemFree:          500000 kB\nNode 1 Active(file): 100 kB\nNode 1 Inactive(file): 200 kB\nNode 1 SReclaimable: 20 kB\nNode 1 Unaccepted: x kB\n";
        let node = parse_node(text).unwrap();
        assert_eq!(node.total, 1_029_220 * 1024);
        assert_eq!(node.available(), (500_000 + 160) * 1024);
        assert_eq!(node.resident(), (1_029_220 - 500_000 - 320) * 1024);
        assert_eq!(parse_node("Node 0 MemFree: 1 kB"), None);
    }
}
