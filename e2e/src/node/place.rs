//! What the kernel at hand offers, read from it by other code than the agent's: scenarios judge the agent's view by it, and skip with its words.

use std::{collections::BTreeMap, fs, path::Path};

use katalyst_core::cpu_set::CpuSet;
use rustix::system::uname;

use super::tree::read;

const NODES: &str = "/sys/devices/system/node";
const CPUS: &str = "/sys/devices/system/cpu";

/// One NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its online CPUs.
    pub cpus: CpuSet,
    /// Its memory, MiB.
    pub memory_mib: u64,
    /// Distances, in the order of the nodes.
    pub distances: Vec<u32>,
}

/// The machine and its kernel.
#[derive(Debug, Clone)]
pub struct Place {
    /// Name given by whoever started the scenarios.
    pub name: String,
    /// Whether this machine runs nothing else, so that its own counters are ours.
    pub alone: bool,
    /// Whether instructions are emulated, so that time says little.
    pub emulated: bool,
    /// Kernel release.
    pub kernel: String,
    /// Online CPUs.
    pub cpus: CpuSet,
    /// SMT siblings of each CPU, itself included.
    pub siblings: BTreeMap<u32, CpuSet>,
    /// NUMA nodes by number.
    pub nodes: BTreeMap<u32, Node>,
    /// Whether the kernel reports pressure.
    pub pressure: bool,
    /// Devices in use as swap.
    pub swap: Vec<String>,
}

impl Place {
    /// Looks at this machine.
    pub fn look(name: &str, alone: bool, emulated: bool) -> Result<Self, String> {
        let cpus = cpu_list(&Path::new(CPUS).join("online"))?;
        let mut siblings = BTreeMap::new();
        for cpu in cpus.iter() {
            let file = Path::new(CPUS).join(format!("cpu{cpu}/topology/thread_siblings_list"));
            siblings.insert(cpu, cpu_list(&file)?);
        }
        Ok(Self {
            name: name.to_owned(),
            alone,
            emulated,
            kernel: uname().release().to_string_lossy().into_owned(),
            cpus,
            siblings,
            nodes: nodes()?,
            pressure: fs::read_to_string("/proc/pressure/cpu").is_ok(),
            swap: fs::read_to_string("/proc/swaps")
                .unwrap_or_default()
                .lines()
                .skip(1)
                .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
                .collect(),
        })
    }

    /// The NUMA nodes that have CPUs and memory.
    pub fn whole_nodes(&self) -> Vec<(u32, &Node)> {
        self.nodes
            .iter()
            .filter(|(_, node)| !node.cpus.is_empty() && node.memory_mib > 0)
            .map(|(id, node)| (*id, node))
            .collect()
    }

    /// Every CPU whose physical core is wholly inside `cpus`.
    pub fn whole_cores(&self, cpus: &CpuSet) -> CpuSet {
        cpus.iter()
            .filter(|cpu| {
                self.siblings
                    .get(cpu)
                    .is_some_and(|siblings| siblings.is_subset(cpus))
            })
            .collect()
    }

    /// The machine in a few words.
    pub fn words(&self) -> String {
        let nodes: Vec<String> = self
            .nodes
            .iter()
            .map(|(id, node)| {
                let distances: Vec<String> =
                    node.distances.iter().map(ToString::to_string).collect();
                let cpus = if node.cpus.is_empty() {
                    "none".to_owned()
                } else {
                    node.cpus.to_string()
                };
                format!(
                    "node {id}: CPUs {cpus}, {} MiB, distances {}",
                    node.memory_mib,
                    distances.join(" ")
                )
            })
            .collect();
        format!(
            "kernel {}, {} CPUs; {}; pressure {}; swap {}",
            self.kernel,
            self.cpus.len(),
            nodes.join("; "),
            if self.pressure {
                "reported"
            } else {
                "not reported"
            },
            if self.swap.is_empty() {
                "none".to_owned()
            } else {
                self.swap.join(" ")
            },
        )
    }
}

fn nodes() -> Result<BTreeMap<u32, Node>, String> {
    let mut nodes = BTreeMap::new();
    for id in cpu_list(&Path::new(NODES).join("online"))?.iter() {
        let directory = Path::new(NODES).join(format!("node{id}"));
        let meminfo = read(&directory.join("meminfo"))?;
        let kib = meminfo
            .lines()
            .find_map(|line| line.split_once("MemTotal:"))
            .and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0);
        let distances = read(&directory.join("distance"))?
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        let node = Node {
            cpus: cpu_list(&directory.join("cpulist"))?,
            memory_mib: kib / 1024,
            distances,
        };
        nodes.insert(id, node);
    }
    Ok(nodes)
}

fn cpu_list(file: &Path) -> Result<CpuSet, String> {
    let text = read(file)?;
    if text.is_empty() {
        return Ok(CpuSet::new());
    }
    CpuSet::parse(&text).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_be_looked_at() {
        let place = Place::look("here", false, false).unwrap();
        assert!(!place.cpus.is_empty());
        assert_eq!(place.whole_cores(&place.cpus), place.cpus);
        assert!(place.words().contains("node 0"), "{}", place.words());
    }
}
