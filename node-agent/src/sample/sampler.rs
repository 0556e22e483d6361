//! Reads every counter once a tick, without allocating: files stay open, texts go through one buffer, and the two last readings live in two
//! places that are used in turn. Only pods that come and go allocate.

use std::{
    collections::BTreeMap,
    io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use katalyst_core::{topology::Topology, units::Millicpu};

use super::{
    counters::{Counters, Machine},
    group::Group,
    numa::{NumaInput, NumaUsage, PerCpu, numa_usage, tick_nanos},
    open::{Buffer, Descriptors, Kept},
    service::MachineUsage,
    tree::Tree,
    usage::Usage,
};
use crate::{
    cgroup::{Hierarchy, KubeClass, Kubepods, PodDir, PodUid, file::FileError},
    kernel::{meminfo, memory_numa_stat::NodeMemory, proc_stat},
};

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The machine's own files.
    #[error(transparent)]
    Machine(#[from] FileError),
    /// kubelet's tree is gone, to be looked for again.
    #[error("kubelet's cgroups cannot be listed")]
    Lost(#[source] io::Error),
}

/// CPU time at one moment, from the cheapest files that tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuTimes {
    /// The machine, or kubelet's tree. Nanoseconds.
    pub whole: u64,
    /// Best-effort pods. Nanoseconds.
    pub best_effort: u64,
}

/// A glance that took longer lost its CPU between its readings, and they do not belong together.
const LONGEST_GLANCE_NANOS: u64 = 3_000_000;

/// Nanoseconds on the system's monotonic clock.
pub fn monotonic_nanos() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec)
        .unwrap_or(0)
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// Open files and the two last readings.
#[derive(Debug)]
pub struct Sampler {
    clock: fn() -> u64,
    root: PathBuf,
    buffer: Buffer,
    descriptors: Descriptors,
    stat: Kept,
    meminfo: Kept,
    /// Each NUMA node's `meminfo` and the bytes in use on it; empty where the machine is one node.
    nodes: Vec<(u32, Kept, u64)>,
    /// Busy time by CPU, where there are nodes.
    busy: PerCpu,
    tree: Option<Tree>,
    now: Counters,
    before: Counters,
    readings: u8,
}

impl Sampler {
    /// Samples the node whose `/proc` and `/sys` are under `root`. `clock` tells how long a sample takes; see [`monotonic_nanos`].
    pub fn new(root: PathBuf, descriptors: Descriptors, clock: fn() -> u64) -> Self {
        Self {
            clock,
            root,
            buffer: Buffer::default(),
            descriptors,
            stat: Kept::Missing,
            meminfo: Kept::Missing,
            nodes: Vec::new(),
            busy: PerCpu::default(),
            tree: None,
            now: Counters::default(),
            before: Counters::default(),
            readings: 0,
        }
    }

    /// Reads everything. A pod whose group vanishes meanwhile is left out; files that cannot be read for another reason are reported through
    /// `problem` and cost that pod's numbers only.
    pub fn sample(
        &mut self,
        now_nanos: u64,
        hierarchy: &Hierarchy,
        kubepods: &Kubepods,
        mut problem: impl FnMut(FileError),
    ) -> Result<(), SampleError> {
        let began = (self.clock)();
        let machine = self.machine()?;
        self.sample_nodes(&mut problem);
        self.refresh(now_nanos, hierarchy, kubepods)?;
        let Self {
            buffer,
            descriptors,
            tree: Some(tree),
            now,
            before,
            readings,
            nodes,
            clock,
            ..
        } = self
        else {
            return Ok(());
        };
        if tree.stale {
            tree.open_pods(now_nanos, descriptors, &mut problem);
        }
        std::mem::swap(now, before);
        *readings = readings.saturating_add(1);
        now.at_nanos = now_nanos;
        now.machine = machine;
        let at = || now_nanos.saturating_add(clock().saturating_sub(began));
        tree.sample(&at, buffer, now, !nodes.is_empty(), problem);
        Ok(())
    }

    /// The last reading.
    pub fn counters(&self) -> Option<&Counters> {
        (self.readings > 0).then_some(&self.now)
    }

    /// What was used between the last two readings, written over `usage`; false where there are not two.
    pub fn usage(&self, usage: &mut Usage) -> bool {
        self.readings > 1 && usage.update(&self.before, &self.now)
    }

    /// The NUMA nodes to be measured one by one from the next sample on; a machine of one node is measured as a whole.
    pub fn measure_nodes(&mut self, topology: &Topology) {
        for (_, kept, _) in self.nodes.drain(..) {
            kept.close(&mut self.descriptors);
        }
        self.busy.forget();
        if topology.numa_nodes().nth(1).is_some() {
            self.nodes.extend(
                topology
                    .numa_nodes()
                    .map(|node| (node.id, Kept::Missing, 0)),
            );
        }
    }

    /// Use of each NUMA node between the last two readings; empty where there are not two, or one node. `is_reclaimed`: pods whose memory
    /// is not the services'.
    pub fn numa(
        &self,
        topology: &Topology,
        usage: &Usage,
        reclaimed_cpu: Millicpu,
        is_reclaimed: impl Fn(&PodUid) -> bool,
    ) -> Vec<NumaUsage> {
        let Some(tree) = self.tree.as_ref().filter(|_| !self.nodes.is_empty()) else {
            return Vec::new();
        };
        let mut batch: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for (uid, (_, group)) in &tree.pods {
            if !is_reclaimed(uid) {
                continue;
            }
            for memory in group.nodes() {
                let (charged, resident) = batch.entry(memory.node).or_default();
                *charged = charged.saturating_add(memory.total());
                *resident = resident.saturating_add(memory.anon);
            }
        }
        let input = NumaInput {
            topology,
            busy: &self.busy,
            best_effort: &tree.best_effort,
            elapsed_seconds: usage.elapsed_seconds,
            reclaimed_cpu,
        };
        let in_use = |id| {
            self.nodes
                .iter()
                .find(|(node, _, _)| *node == id)
                .map(|node| node.2)
        };
        numa_usage(&input, in_use, |id| {
            batch.get(&id).copied().unwrap_or_default()
        })
    }

    /// A pod's memory on each NUMA node, at most half a minute old; empty on a machine of one node.
    pub fn memory_nodes(&self, uid: &PodUid) -> &[NodeMemory] {
        self.tree
            .as_ref()
            .and_then(|tree| tree.pod(uid))
            .map_or(&[], Group::nodes)
    }

    /// Forgets the tree and both readings: what comes next is not to be compared with them.
    pub fn forget(&mut self) {
        if let Some(tree) = self.tree.take() {
            tree.close(&mut self.descriptors);
        }
        self.readings = 0;
        self.now = Counters::default();
        self.before = Counters::default();
    }

    /// Looks for groups that came or went; true when some did.
    pub fn refresh(
        &mut self,
        now_nanos: u64,
        hierarchy: &Hierarchy,
        kubepods: &Kubepods,
    ) -> Result<bool, SampleError> {
        let same = self
            .tree
            .as_ref()
            .is_some_and(|tree| tree.hierarchy == *hierarchy && tree.kubepods == *kubepods);
        if !same {
            self.forget();
            self.tree = Some(Tree::open(
                now_nanos,
                hierarchy,
                kubepods,
                &mut self.descriptors,
            )?);
        }
        let Some(tree) = &mut self.tree else {
            return Ok(false);
        };
        let changed = tree
            .listing
            .refresh(now_nanos, hierarchy, kubepods)
            .map_err(SampleError::Lost)?;
        tree.stale |= changed;
        Ok(changed)
    }

    /// The groups of pods, as of the last refresh.
    pub fn dirs(&self) -> &[PodDir] {
        self.tree.as_ref().map_or(&[], |tree| tree.listing.dirs())
    }

    /// Readable when a group came or went.
    pub fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.tree.as_ref()?.listing.changes()
    }

    /// Whether some files are opened for each reading, because the process may not have enough descriptors.
    pub fn short_of_descriptors(&self) -> bool {
        self.descriptors.short()
    }

    /// CPU time now, in two readings; `None` where it cannot be told. `outside`: pods of other classes to be counted as best-effort.
    pub fn glance(&mut self, basis: MachineUsage, outside: &[PodUid]) -> Option<CpuTimes> {
        let began = (self.clock)();
        let tree = self.tree.as_ref()?;
        let hierarchy = &tree.hierarchy;
        let whole = match basis {
            MachineUsage::Kubepods => tree.top.cpu_nanos(hierarchy, &mut self.buffer).ok()??,
            MachineUsage::Proc => match tree.machine_nanos(&mut self.buffer) {
                Some(nanos) => nanos,
                None => tick_nanos(self.machine_stat(false).ok()?.busy_ticks),
            },
        };
        let tree = self.tree.as_ref()?;
        let class = tree.class(KubeClass::BestEffort);
        let mut best_effort = 0_u64;
        for group in class
            .into_iter()
            .map(Some)
            .chain(outside.iter().map(|uid| tree.pod(uid)))
        {
            let nanos = group?.cpu_nanos(&tree.hierarchy, &mut self.buffer).ok()?;
            best_effort = best_effort.saturating_add(nanos.unwrap_or(0));
        }
        let took = (self.clock)().saturating_sub(began);
        (took <= LONGEST_GLANCE_NANOS).then_some(CpuTimes { whole, best_effort })
    }

    fn machine(&mut self) -> Result<Machine, FileError> {
        let stat = self.machine_stat(!self.nodes.is_empty())?;
        let memory = read_machine_file(
            &self.root,
            "proc/meminfo",
            &mut self.meminfo,
            &mut self.buffer,
            &mut self.descriptors,
            meminfo::parse,
        )?;
        Ok(Machine { stat, memory })
    }

    /// `by_cpu`: also takes a reading of each CPU.
    fn machine_stat(&mut self, by_cpu: bool) -> Result<proc_stat::ProcStat, FileError> {
        let busy = &mut self.busy;
        read_machine_file(
            &self.root,
            "proc/stat",
            &mut self.stat,
            &mut self.buffer,
            &mut self.descriptors,
            |text| {
                if by_cpu {
                    busy.take(
                        proc_stat::cpus(text).map(|(cpu, times)| (cpu, tick_nanos(times.busy()))),
                    );
                }
                proc_stat::parse(text)
            },
        )
    }

    fn sample_nodes(&mut self, mut problem: impl FnMut(FileError)) {
        let Self {
            root,
            buffer,
            descriptors,
            nodes,
            ..
        } = self;
        for (id, kept, in_use) in nodes {
            if matches!(kept, Kept::Missing) {
                let path = node_meminfo(root, *id);
                match Kept::open(&path, descriptors) {
                    Ok(opened) => *kept = opened,
                    Err(error) => problem(error),
                }
            }
            match kept.read(buffer, || node_meminfo(root, *id)) {
                Ok(text) => {
                    let memory = text.and_then(meminfo::parse_node);
                    *in_use = memory.map_or(0, |node| node.total.saturating_sub(node.available()));
                }
                Err(error) => problem(error),
            }
        }
    }
}

fn node_meminfo(root: &Path, id: u32) -> PathBuf {
    root.join(format!("sys/devices/system/node/node{id}/meminfo"))
}

/// Reads a file of the machine, opening it where it is not open.
fn read_machine_file<T>(
    root: &Path,
    file: &str,
    kept: &mut Kept,
    buffer: &mut Buffer,
    descriptors: &mut Descriptors,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, FileError> {
    if matches!(kept, Kept::Missing) {
        *kept = Kept::open(&root.join(file), descriptors)?;
    }
    let Some(text) = kept.read(buffer, || root.join(file))? else {
        return Err(FileError::Read {
            path: root.join(file),
            source: io::ErrorKind::NotFound.into(),
        });
    };
    parse(text).ok_or_else(|| FileError::Parse {
        path: root.join(file),
        text: text.chars().take(80).collect(),
    })
}
