//! What one group uses: CPU time, memory, throttling.

use std::path::Path;

use super::{
    file::{FileError, read, read_as},
    hierarchy::{Controller, Hierarchy, Version},
};
use crate::kernel::{cpu_stat, memory_stat, number};

/// Cumulative and current numbers of a group and its descendants. `None`: the kernel does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupUsage {
    /// CPU time, nanoseconds.
    pub cpu_nanos: Option<u64>,
    /// Memory.
    pub memory: Option<MemoryUse>,
    /// CFS bandwidth control.
    pub throttling: Option<Throttling>,
}

/// Memory of a group, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Everything charged to it, page cache included.
    pub usage: u64,
    /// Usage without inactive file pages: kubelet's working set.
    pub working_set: u64,
    /// Usage without what the kernel can drop (file pages, reclaimable kernel caches): what MemAvailable loses to the group.
    pub resident: u64,
}

/// Counters of CFS bandwidth control.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Intervals that passed.
    pub periods: u64,
    /// Intervals in which the group ran out of quota.
    pub throttled: u64,
    /// Time held back, nanoseconds.
    pub nanos: u64,
}

/// Reads a group. Missing files give `None` fields; `Err` is a group that is gone (`is_gone`) or a kernel that refuses to be read.
pub fn read_group(hierarchy: &Hierarchy, relative: &Path) -> Result<GroupUsage, FileError> {
    let cpu = hierarchy.dir(Controller::Cpu, relative);
    let (cpu_nanos, stat) = match hierarchy.version() {
        Version::V1 => {
            let usage = hierarchy
                .dir(Controller::Cpuacct, relative)
                .join("cpuacct.usage");
            let nanos = read_as(&usage, number::parse)?;
            (
                Some(nanos),
                optional(read(&cpu.join("cpu.stat")))?.map(|text| cpu_stat::parse_v1(&text)),
            )
        }
        Version::V2 => {
            let stat = cpu_stat::parse_v2(&read(&cpu.join("cpu.stat"))?);
            (stat.usage_nanos, Some(stat))
        }
    };
    let throttling = stat.and_then(|stat| {
        Some(Throttling {
            periods: stat.nr_periods?,
            throttled: stat.nr_throttled?,
            nanos: stat.throttled_nanos?,
        })
    });
    Ok(GroupUsage {
        cpu_nanos,
        memory: read_memory(hierarchy, relative)?,
        throttling,
    })
}

/// Reads only the CPU time of a group, nanoseconds.
pub fn read_cpu_nanos(hierarchy: &Hierarchy, relative: &Path) -> Result<u64, FileError> {
    match hierarchy.version() {
        Version::V1 => read_as(
            &hierarchy
                .dir(Controller::Cpuacct, relative)
                .join("cpuacct.usage"),
            number::parse,
        ),
        Version::V2 => read_as(
            &hierarchy.dir(Controller::Cpu, relative).join("cpu.stat"),
            |text| cpu_stat::parse_v2(text).usage_nanos,
        ),
    }
}

fn read_memory(hierarchy: &Hierarchy, relative: &Path) -> Result<Option<MemoryUse>, FileError> {
    let dir = hierarchy.dir(Controller::Memory, relative);
    let (usage_file, parse): (_, fn(&str) -> memory_stat::MemoryStat) = match hierarchy.version() {
        Version::V1 => ("memory.usage_in_bytes", memory_stat::parse_v1),
        Version::V2 => ("memory.current", memory_stat::parse_v2),
    };
    let Some(usage) = optional(read_as(&dir.join(usage_file), number::parse))? else {
        return Ok(None);
    };
    let stat = optional(read(&dir.join("memory.stat")))?
        .map(|text| parse(&text))
        .unwrap_or_default();
    let droppable = stat
        .inactive_file
        .saturating_add(stat.active_file)
        .saturating_add(stat.slab_reclaimable);
    Ok(Some(MemoryUse {
        usage,
        working_set: usage.saturating_sub(stat.inactive_file),
        resident: usage.saturating_sub(droppable),
    }))
}

/// A file that is not there is `None`.
fn optional<T>(result: Result<T, FileError>) -> Result<Option<T>, FileError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn version_2_group() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("sys/fs/cgroup");
        fs::create_dir_all(base.join("g")).unwrap();
        fs::write(base.join("cgroup.controllers"), "").unwrap();
        fs::write(
            base.join("g/cpu.stat"),
            "usage_usec 7\nnr_periods 4\nnr_throttled 1\nthrottled_usec 2\n",
        )
        .unwrap();
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        let usage = read_group(&hierarchy, Path::new("g")).unwrap();
        assert_eq!(usage.cpu_nanos, Some(7_000));
        assert_eq!(
            usage.throttling,
            Some(Throttling {
                periods: 4,
                throttled: 1,
                nanos: 2_000
            })
        );
        assert_eq!(usage.memory, None, "a controller that is off");

        fs::write(base.join("g/memory.current"), "1000\n").unwrap();
        fs::write(
            base.join("g/memory.stat"),
            "inactive_file 300\nactive_file 200\nslab_reclaimable 100\n",
        )
        .unwrap();
        let memory = read_group(&hierarchy, Path::new("g")).unwrap().memory;
        assert_eq!(
            memory,
            Some(MemoryUse {
                usage: 1000,
                working_set: 700,
                resident: 400
            })
        );
        assert!(
            read_group(&hierarchy, Path::new("none"))
                .unwrap_err()
                .is_gone()
        );
    }

    #[test]
    fn version_1_group() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("sys/fs/cgroup");
        for (file, text) in [
            ("cpu/cpu.shares", "1024\n"),
            ("cpuacct/cpuacct.usage", "0\n"),
            ("memory/memory.usage_in_bytes", "0\n"),
            (
                "cpu/g/cpu.stat",
                "nr_periods 4\nnr_throttled 1\nthrottled_time 9\n",
            ),
            ("cpuacct/g/cpuacct.usage", "77\n"),
            ("memory/g/memory.usage_in_bytes", "1000\n"),
            (
                "memory/g/memory.stat",
                "inactive_file 1\ntotal_inactive_file 400\ntotal_active_file 100\n",
            ),
        ] {
            let path = base.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let usage = read_group(&Hierarchy::detect(root.path()).unwrap(), Path::new("g")).unwrap();
        assert_eq!(usage.cpu_nanos, Some(77));
        assert_eq!(
            usage.throttling,
            Some(Throttling {
                periods: 4,
                throttled: 1,
                nanos: 9
            })
        );
        assert_eq!(
            usage.memory,
            Some(MemoryUse {
                usage: 1000,
                working_set: 600,
                resident: 500
            })
        );
    }
}
