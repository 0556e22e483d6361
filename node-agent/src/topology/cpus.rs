//! Logical CPUs from `/sys/devices/system/cpu`: which are online, and the socket, core and last-level cache of each.
//!
//! Sources: Documentation/ABI/stable/sysfs-devices-system-cpu and cputopology.rst. A CPU that goes offline loses its `topology` directory and is
//! taken out of its siblings' lists, so a core is named after its lowest CPU **that is online**: the kernel does not tell more.
//!
//! | missing | assumed |
//! |---|---|
//! | `online` | the `cpuN` directories, else the `cpuN` lines of `/proc/stat` |
//! | `physical_package_id` (-1 on some arm64) | socket 0 |
//! | `core_cpus_list` (since 5.2), `thread_siblings_list` | each CPU is a core |
//! | a cache of level 3 or more (many virtual machines) | the CPUs of one socket and NUMA node share one |

use std::{collections::BTreeMap, fs, path::Path};

use katalyst_core::{
    cpu_set::{CpuSet, MAX_CPU_ID},
    topology::{Cpu, NumaNode},
};

use super::{Found, optional};
use crate::{
    cgroup::file,
    kernel::{
        cpu_topology::{self, CacheKind},
        cpuset, number, proc_stat,
    },
};

const SUBJECT: &str = "topology: CPU";
/// Caches of a lower level belong to a core or a few; placing by them would make every core a group of its own.
const SHARED_LEVEL: u64 = 3;
/// No processor has more caches for a CPU than this.
const CACHES: u32 = 16;

/// The CPUs that are online, ascending.
pub(super) fn read(root: &Path, nodes: &[NumaNode], notes: &mut Found) -> Vec<Cpu> {
    let base = root.join("sys/devices/system/cpu");
    let online = online(root, &base, notes);
    let numa: BTreeMap<u32, u32> = nodes
        .iter()
        .flat_map(|node| node.cpus.iter().map(|cpu| (cpu, node.id)))
        .collect();
    let first_node = nodes.first().map_or(0, |node| node.id);
    let mut cpus: Vec<(Cpu, bool)> = Vec::new();
    for id in online.iter() {
        let dir = base.join(format!("cpu{id}"));
        let l3 = last_level_cache(&dir, notes).and_then(|set| set.first());
        let node = numa.get(&id).copied();
        if node.is_none() && nodes.len() > 1 {
            notes.add(
                SUBJECT,
                format!("CPU {id} is in no NUMA node's cpulist; it counts to node {first_node}"),
            );
        }
        let cpu = Cpu {
            id,
            core: core(&dir, id, notes),
            l3: l3.unwrap_or(0),
            numa: node.unwrap_or(first_node),
            socket: socket(&dir, notes),
        };
        cpus.push((cpu, l3.is_some()));
    }
    name_missing_groups(&mut cpus, notes);
    cpus.into_iter().map(|(cpu, _)| cpu).collect()
}

fn online(root: &Path, base: &Path, notes: &mut Found) -> CpuSet {
    if let Some(set) = notes.value(SUBJECT, &base.join("online"), cpuset::parse_cpus)
        && !set.is_empty()
    {
        return set;
    }
    let directories: CpuSet = fs::read_dir(base)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let id = name.to_str()?.strip_prefix("cpu")?.parse().ok()?;
            let state = base.join(format!("cpu{id}/online"));
            // CPU 0 cannot go offline and has no such file.
            let on = optional(&state, number::parse).ok().flatten() != Some(0);
            (id <= MAX_CPU_ID && on).then_some(id)
        })
        .collect();
    if !directories.is_empty() {
        return directories;
    }
    notes.add(
        SUBJECT,
        "no CPU in /sys/devices/system/cpu; those of /proc/stat count, each as a core of one socket",
    );
    file::read(&root.join("proc/stat"))
        .map(|text| proc_stat::cpus(&text).map(|(id, _)| id).collect())
        .unwrap_or_default()
}

fn socket(cpu: &Path, notes: &mut Found) -> u32 {
    let file = cpu.join("topology/physical_package_id");
    let told = notes
        .value(SUBJECT, &file, cpu_topology::parse_id)
        .flatten();
    if told.is_none() {
        notes.add(
            SUBJECT,
            "no physical_package_id for some CPUs; they count to socket 0",
        );
    }
    told.unwrap_or(0)
}

fn core(cpu: &Path, id: u32, notes: &mut Found) -> u32 {
    for name in ["core_cpus_list", "thread_siblings_list"] {
        let file = cpu.join("topology").join(name);
        if let Some(siblings) = notes.value(SUBJECT, &file, cpuset::parse_cpus)
            && siblings.contains(id)
            && let Some(first) = siblings.first()
        {
            return first;
        }
    }
    notes.add(
        SUBJECT,
        "no list of SMT siblings for some CPUs; each of them counts as a core",
    );
    id
}

/// CPUs that share this CPU's highest cache of [`SHARED_LEVEL`] or more.
fn last_level_cache(cpu: &Path, notes: &mut Found) -> Option<CpuSet> {
    let mut found: Option<(u64, CpuSet)> = None;
    for index in 0..CACHES {
        let dir = cpu.join(format!("cache/index{index}"));
        // The kernel numbers them without gaps.
        let Some(level) = notes.value(SUBJECT, &dir.join("level"), number::parse) else {
            break;
        };
        let kind = notes.value(SUBJECT, &dir.join("type"), cpu_topology::parse_cache_kind);
        let higher = found.as_ref().is_none_or(|(best, _)| level > *best);
        if level < SHARED_LEVEL || kind == Some(CacheKind::Instruction) || !higher {
            continue;
        }
        if let Some(shared) = notes.value(SUBJECT, &dir.join("shared_cpu_list"), cpuset::parse_cpus)
            && !shared.is_empty()
        {
            found = Some((level, shared));
        }
    }
    found.map(|(_, shared)| shared)
}

/// CPUs whose cache is not told are one group for each socket and NUMA node, named after the lowest of them.
fn name_missing_groups(cpus: &mut [(Cpu, bool)], notes: &mut Found) {
    let mut groups: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    for (cpu, told) in cpus {
        if *told {
            continue;
        }
        cpu.l3 = *groups.entry((cpu.socket, cpu.numa)).or_insert(cpu.id);
    }
    if !groups.is_empty() {
        notes.add(
            SUBJECT,
            "no last-level cache is described for some CPUs; those of one socket and NUMA node count as sharing one",
        );
    }
}
