//! One group, sampled again and again.
//!
//! CPU time is read each second for every pod (`cpuacct.usage`, `cpu.stat`). Memory is read as often as it decides something:
//!
//! | group | charged memory | `memory.stat` |
//! |---|---|---|
//! | best-effort pods, where the held ones are | each sample | when the charge moved by [`MOVED_BYTES`] and a hundredth, and every 10 s |
//! | other pods, only reported | every 10 s | every 10 s |
//!
//! `memory.stat` is the expensive one: the kernel sums its counters over CPUs and children (on version 2 it flushes `rstat` first, under a
//! lock that all readers share) and prints seventy lines. Between two readings of it a pod's working set is its present charge less the file
//! pages of the last reading: off by at most what moved without a change of the charge, for at most ten seconds.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::open::{Buffer, Descriptors, Kept, read_once};
use crate::{
    cgroup::{Controller, GroupUsage, Hierarchy, MemoryUse, Throttling, Version, file::FileError},
    kernel::{
        cpu_stat,
        memory_numa_stat::{NodeMemory, NumaStat},
        memory_stat::{self, MemoryStat},
        number,
    },
};

/// Time between readings of what is read seldom.
const SELDOM: Duration = Duration::from_secs(10);
/// Time between readings of where a group's memory is: the kernel adds up every child for every node.
const NUMA: Duration = Duration::from_secs(30);
/// A charge that moved less says nothing new; 256 pages.
const MOVED_BYTES: u64 = 1 << 20;
/// And at least this part of it, as a divisor: a pod of 50 GiB breathes by more than a mebibyte.
const MOVED_PART: u64 = 100;

/// How often memory is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Each sample; also read how the quota held it back.
    Held,
    /// Seldom.
    Reported,
    /// CPU time only.
    CpuOnly,
}

/// Open files of a group, and what is kept of its last reading.
#[derive(Debug)]
pub(super) struct Group {
    relative: PathBuf,
    pace: Pace,
    /// CPU time.
    cpu: Kept,
    /// Version 1: how the quota held it back. In version 2 the same file as `cpu`.
    throttling: Kept,
    /// Charged memory.
    memory: Kept,
    /// The last reading of memory.
    charged: Option<u64>,
    stat: MemoryStat,
    /// Charged memory when `stat` was read.
    stat_charged: u64,
    /// When both are to be read.
    due_nanos: u64,
    /// They were read once.
    read: bool,
    numa: NumaStat,
    numa_due_nanos: u64,
}

impl Group {
    /// Opens what `pace` reads at each sample. `order` staggers groups that were found together, so that their slow readings do not fall
    /// into one sample.
    pub(super) fn open(
        hierarchy: &Hierarchy,
        relative: &Path,
        pace: Pace,
        order: usize,
        now_nanos: u64,
        descriptors: &mut Descriptors,
    ) -> Result<Self, FileError> {
        let (cpu_controller, cpu_file) = cpu_file(hierarchy);
        let path = |controller, file: &str| hierarchy.dir(controller, relative).join(file);
        let cpu = Kept::open(&path(cpu_controller, cpu_file), descriptors)?;
        let held = pace == Pace::Held;
        let throttling = if held && hierarchy.version() == Version::V1 {
            Kept::open(&path(Controller::Cpu, "cpu.stat"), descriptors)?
        } else {
            Kept::Missing
        };
        let memory = if held {
            Kept::open(
                &path(Controller::Memory, charge_file(hierarchy)),
                descriptors,
            )?
        } else {
            Kept::Closed
        };
        let first = SELDOM.saturating_sub(Duration::from_secs(order as u64 % SELDOM.as_secs()));
        Ok(Self {
            relative: relative.to_owned(),
            pace,
            cpu,
            throttling,
            memory,
            charged: None,
            stat: MemoryStat::default(),
            stat_charged: 0,
            due_nanos: now_nanos.saturating_add(nanos(first)),
            read: false,
            numa: NumaStat::new(),
            numa_due_nanos: now_nanos,
        })
    }

    /// Its path relative to the mounts.
    pub(super) fn relative(&self) -> &Path {
        &self.relative
    }

    /// CPU time so far, nanoseconds; `None` where the group has no such file.
    pub(super) fn cpu_nanos(
        &self,
        hierarchy: &Hierarchy,
        buffer: &mut Buffer,
    ) -> Result<Option<u64>, FileError> {
        let (controller, file) = cpu_file(hierarchy);
        let path = || hierarchy.dir(controller, &self.relative).join(file);
        let text = self.cpu.read(buffer, path)?;
        Ok(match (text, hierarchy.version()) {
            (None, _) => None,
            (Some(text), Version::V1) => number::parse(text),
            (Some(text), Version::V2) => cpu_stat::parse_v2(text).usage_nanos,
        })
    }

    /// One sample. `Err` is a group that is gone (`is_gone`) or a kernel that refuses to be read.
    pub(super) fn sample(
        &mut self,
        now_nanos: u64,
        hierarchy: &Hierarchy,
        buffer: &mut Buffer,
    ) -> Result<GroupUsage, FileError> {
        let (cpu_nanos, throttling) = self.cpu(hierarchy, buffer)?;
        let memory = match self.pace {
            Pace::CpuOnly => None,
            Pace::Held | Pace::Reported => self.memory(now_nanos, hierarchy, buffer)?,
        };
        Ok(GroupUsage {
            cpu_nanos,
            memory,
            throttling,
        })
    }

    fn cpu(
        &self,
        hierarchy: &Hierarchy,
        buffer: &mut Buffer,
    ) -> Result<(Option<u64>, Option<Throttling>), FileError> {
        if hierarchy.version() == Version::V1 {
            let nanos = self.cpu_nanos(hierarchy, buffer)?;
            let path = || {
                hierarchy
                    .dir(Controller::Cpu, &self.relative)
                    .join("cpu.stat")
            };
            let stat = self.throttling.read(buffer, path)?.map(cpu_stat::parse_v1);
            return Ok((nanos, stat.and_then(throttling)));
        }
        let (controller, file) = cpu_file(hierarchy);
        let path = || hierarchy.dir(controller, &self.relative).join(file);
        let stat = self.cpu.read(buffer, path)?.map(cpu_stat::parse_v2);
        Ok((
            stat.and_then(|stat| stat.usage_nanos),
            stat.and_then(throttling),
        ))
    }

    fn memory(
        &mut self,
        now_nanos: u64,
        hierarchy: &Hierarchy,
        buffer: &mut Buffer,
    ) -> Result<Option<MemoryUse>, FileError> {
        let due = now_nanos >= self.due_nanos || !self.read;
        if now_nanos >= self.due_nanos {
            self.due_nanos = now_nanos.saturating_add(nanos(SELDOM));
        }
        self.read = true;
        if due || self.pace == Pace::Held {
            let path = || {
                hierarchy
                    .dir(Controller::Memory, &self.relative)
                    .join(charge_file(hierarchy))
            };
            self.charged = match &self.memory {
                // Read seldom: the file may have come with its controller.
                Kept::Closed if self.pace == Pace::Reported => {
                    read_once(buffer, self.parts(hierarchy, charge_file(hierarchy)))?
                }
                kept => kept.read(buffer, path)?,
            }
            .and_then(number::parse);
        }
        let Some(charged) = self.charged else {
            return Ok(None);
        };
        let moved = charged.abs_diff(self.stat_charged);
        let much = moved >= MOVED_BYTES && moved >= self.stat_charged / MOVED_PART;
        if due || (self.pace == Pace::Held && much) {
            let parse = match hierarchy.version() {
                Version::V1 => memory_stat::parse_v1,
                Version::V2 => memory_stat::parse_v2,
            };
            self.stat = read_once(buffer, self.parts(hierarchy, "memory.stat"))?
                .map(parse)
                .unwrap_or_default();
            self.stat_charged = charged;
        }
        let droppable = self
            .stat
            .inactive_file
            .saturating_add(self.stat.active_file)
            .saturating_add(self.stat.slab_reclaimable);
        Ok(Some(MemoryUse {
            usage: charged,
            working_set: charged.saturating_sub(self.stat.inactive_file),
            resident: charged.saturating_sub(droppable),
        }))
    }

    /// Reads on which nodes its memory is, where that is due. A kernel without the file says nothing.
    pub(super) fn sample_nodes(
        &mut self,
        now_nanos: u64,
        hierarchy: &Hierarchy,
        buffer: &mut Buffer,
    ) -> Result<(), FileError> {
        if now_nanos < self.numa_due_nanos {
            return Ok(());
        }
        // As far apart as the other seldom readings, which are spread already.
        let offset = self.due_nanos.saturating_sub(now_nanos).min(nanos(SELDOM));
        self.numa_due_nanos = now_nanos.saturating_add(nanos(NUMA)).saturating_sub(offset);
        let parts = self.parts(hierarchy, "memory.numa_stat");
        if let Some(text) = read_once(buffer, parts)? {
            match hierarchy.version() {
                Version::V1 => self.numa.read_v1(text, rustix::param::page_size() as u64),
                Version::V2 => self.numa.read_v2(text),
            };
        }
        Ok(())
    }

    /// The path of one of its memory files, in parts.
    fn parts<'a>(&'a self, hierarchy: &'a Hierarchy, file: &'a str) -> [&'a Path; 3] {
        [
            hierarchy.mount(Controller::Memory),
            &self.relative,
            Path::new(file),
        ]
    }

    /// Its memory on each node, as of the last reading.
    pub(super) fn nodes(&self) -> &[NodeMemory] {
        self.numa.nodes()
    }

    /// Gives its descriptors back.
    pub(super) fn close(self, descriptors: &mut Descriptors) {
        for kept in [self.cpu, self.throttling, self.memory] {
            kept.close(descriptors);
        }
    }
}

/// Where a group's CPU time is.
pub(super) fn cpu_file(hierarchy: &Hierarchy) -> (Controller, &'static str) {
    match hierarchy.version() {
        Version::V1 => (Controller::Cpuacct, "cpuacct.usage"),
        Version::V2 => (Controller::Cpu, "cpu.stat"),
    }
}

fn charge_file(hierarchy: &Hierarchy) -> &'static str {
    match hierarchy.version() {
        Version::V1 => "memory.usage_in_bytes",
        Version::V2 => "memory.current",
    }
}

fn throttling(stat: cpu_stat::CpuStat) -> Option<Throttling> {
    Some(Throttling {
        periods: stat.nr_periods?,
        throttled: stat.nr_throttled?,
        nanos: stat.throttled_nanos?,
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
