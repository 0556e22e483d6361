//! `cpuset.cpus`, `cpuset.mems`, their `.effective` forms and `cpuset.cpus.partition` (cgroup-v2.rst; cpusets.rst of version 1), and the same
//! list notation in `/sys/devices/system/{cpu,node}/{online,offline,possible}` and `cpulist`.
//!
//! An empty `cpuset.cpus` of version 2 means "as the parent"; of version 1 it means that no task may enter.

use katalyst_core::{
    cpu_set::CpuSet,
    qos::{MAX_NUMA_ID, NumaSet},
};

/// Parses a list of CPUs; an empty file is the empty set.
pub fn parse_cpus(text: &str) -> Option<CpuSet> {
    CpuSet::parse(text).ok()
}

/// Parses a list of NUMA nodes; an empty file is `Some(None)`.
pub fn parse_mems(text: &str) -> Option<Option<NumaSet>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(None);
    }
    NumaSet::parse(text).map(Some)
}

/// Parses a list of NUMA nodes into their numbers, ascending.
pub fn parse_node_ids(text: &str) -> Option<Vec<u32>> {
    // A set of CPUs reads the same notation with higher numbers, and an empty one too.
    let ids: Vec<u32> = parse_cpus(text)?.iter().collect();
    ids.iter().all(|id| *id <= MAX_NUMA_ID).then_some(ids)
}

/// What `cpuset.cpus.partition` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// An ordinary group.
    Member,
    /// Its CPUs are its own, with load balancing inside.
    Root,
    /// Its CPUs are its own and unbalanced.
    Isolated,
    /// It asked for a partition that the kernel does not grant (any more).
    Invalid,
}

/// Parses `cpuset.cpus.partition`: `member`, `root`, `isolated`, `root invalid (reason)`.
pub fn parse_partition(text: &str) -> Option<Partition> {
    let mut words = text.split_whitespace();
    let kind = match words.next()? {
        "member" => Partition::Member,
        "root" => Partition::Root,
        "isolated" => Partition::Isolated,
        _ => return None,
    };
    match words.next() {
        None => Some(kind),
        Some("invalid") => Some(Partition::Invalid),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse_cpus("0-3,8\n").unwrap().to_string(), "0-3,8");
        assert!(parse_cpus("\n").unwrap().is_empty());
        assert_eq!(parse_cpus("3-1"), None);
        assert_eq!(parse_mems("\n"), Some(None));
        assert_eq!(
            parse_mems("0-1\n").flatten().map(|set| set.count()),
            Some(2)
        );
        assert_eq!(parse_mems("x"), None);
        assert_eq!(parse_node_ids("0,2-3\n"), Some(vec![0, 2, 3]));
        assert_eq!(parse_node_ids("\n"), Some(vec![]));
        assert_eq!(parse_node_ids("0-1024"), None);
    }

    #[test]
    fn partitions() {
        assert_eq!(parse_partition("member\n"), Some(Partition::Member));
        assert_eq!(parse_partition("isolated\n"), Some(Partition::Isolated));
        assert_eq!(
            parse_partition("root invalid (Cpu list in cpuset.cpus not exclusive)\n"),
            Some(Partition::Invalid)
        );
        assert_eq!(parse_partition("threaded"), None);
    }
}
