//! The machine as decisions see it: logical CPUs with their core, L3 group, NUMA node and socket; NUMA nodes with memory and distances.
//!
//! Only what is online and usable is in here. Numbers are the kernel's own and need not be contiguous; a NUMA node may have no CPU (memory
//! expanders) and none need have memory. Nothing is derived from position in a list.

pub mod devices;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{cpu_set::CpuSet, units::Bytes};

/// One logical CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Kernel's number.
    pub id: u32,
    /// Physical core, unique in the machine: the lowest CPU number among the SMT siblings that are online (the kernel does not name others).
    pub core: u32,
    /// CPUs that share a last-level cache, unique in the machine (the lowest CPU number among them).
    pub l3: u32,
    /// NUMA node.
    pub numa: u32,
    /// Socket (`physical_package_id`).
    pub socket: u32,
}

/// One NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NumaNode {
    /// Kernel's number.
    pub id: u32,
    /// Socket of its CPUs; for a node without CPUs that of the nearest node that has some.
    pub socket: u32,
    /// Its online CPUs; empty for a memory-only node.
    pub cpus: CpuSet,
    /// Its memory.
    pub memory: Bytes,
    /// Distance to each NUMA node by number, as the firmware states it (ACPI SLIT: 10 is local).
    pub distances: BTreeMap<u32, u32>,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Topology {
    cpus: BTreeMap<u32, Cpu>,
    numa: BTreeMap<u32, NumaNode>,
}

impl Topology {
    /// Builds it. CPUs of NUMA nodes that are not listed get a node without memory; each node's `cpus` is made to agree with `cpus`.
    pub fn new(
        cpus: impl IntoIterator<Item = Cpu>,
        numa: impl IntoIterator<Item = NumaNode>,
    ) -> Self {
        let cpus: BTreeMap<u32, Cpu> = cpus.into_iter().map(|cpu| (cpu.id, cpu)).collect();
        let mut nodes: BTreeMap<u32, NumaNode> = numa
            .into_iter()
            .map(|node| {
                let node = NumaNode {
                    cpus: CpuSet::new(),
                    ..node
                };
                (node.id, node)
            })
            .collect();
        for cpu in cpus.values() {
            let node = nodes.entry(cpu.numa).or_insert_with(|| NumaNode {
                id: cpu.numa,
                ..NumaNode::default()
            });
            node.socket = cpu.socket;
            node.cpus.insert(cpu.id);
        }
        Self { cpus, numa: nodes }
    }

    /// Every CPU, ascending by number.
    pub fn cpus(&self) -> impl Iterator<Item = &Cpu> {
        self.cpus.values()
    }

    /// One CPU.
    pub fn cpu(&self, id: u32) -> Option<&Cpu> {
        self.cpus.get(&id)
    }

    /// Every CPU as a set.
    pub fn all_cpus(&self) -> CpuSet {
        self.cpus.keys().copied().collect()
    }

    /// Every NUMA node, ascending by number.
    pub fn numa_nodes(&self) -> impl Iterator<Item = &NumaNode> {
        self.numa.values()
    }

    /// One NUMA node.
    pub fn numa_node(&self, id: u32) -> Option<&NumaNode> {
        self.numa.get(&id)
    }

    /// CPUs of a physical core.
    pub fn core_cpus(&self, core: u32) -> CpuSet {
        self.cpus()
            .filter(|cpu| cpu.core == core)
            .map(|cpu| cpu.id)
            .collect()
    }

    /// NUMA nodes that these CPUs are in, ascending.
    pub fn numa_of(&self, cpus: &CpuSet) -> Vec<u32> {
        self.numa_nodes()
            .filter(|node| !node.cpus.is_disjoint(cpus))
            .map(|node| node.id)
            .collect()
    }

    /// Distance from one NUMA node to another; where the firmware says nothing, 10 to itself and 20 to others (ACPI's own defaults).
    pub fn distance(&self, from: u32, to: u32) -> u32 {
        let stated = self
            .numa
            .get(&from)
            .and_then(|node| node.distances.get(&to));
        stated.copied().unwrap_or(if from == to { 10 } else { 20 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_agree_with_cpus() {
        let cpu = |id, core, numa| Cpu {
            id,
            core,
            l3: 0,
            numa,
            socket: numa,
        };
        let topology = Topology::new(
            [cpu(0, 0, 0), cpu(2, 0, 0), cpu(5, 5, 4)],
            [
                NumaNode {
                    id: 0,
                    cpus: CpuSet::parse("9").unwrap(),
                    distances: BTreeMap::from([(4, 17)]),
                    ..NumaNode::default()
                },
                NumaNode {
                    id: 7,
                    memory: Bytes::new(1),
                    ..NumaNode::default()
                },
            ],
        );
        assert_eq!(
            topology
                .numa_nodes()
                .map(|node| node.id)
                .collect::<Vec<_>>(),
            [0, 4, 7]
        );
        assert_eq!(topology.numa_node(0).unwrap().cpus.to_string(), "0,2");
        assert_eq!(topology.numa_node(4).unwrap().socket, 4);
        assert_eq!(topology.core_cpus(0).to_string(), "0,2");
        assert_eq!(topology.numa_of(&CpuSet::parse("2,5").unwrap()), [0, 4]);
        assert_eq!(
            (
                topology.distance(0, 4),
                topology.distance(4, 0),
                topology.distance(4, 4)
            ),
            (17, 20, 10)
        );
    }
}
