//! Machines: random ones, and regular ones for tables.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::cpu_set::CpuSet;
use crate::topology::{Cpu, NumaNode, Topology};
use crate::units::Bytes;

/// A machine with the same NUMA nodes: `cores` physical cores each, in `caches` last-level caches, with `threads` CPUs a core. CPUs are numbered as Linux does on
/// x86: first threads of all cores, then second ones. Distances are 10, 12 within a pair of nodes, 20 beyond.
pub(super) fn regular(nodes: u32, cores: u32, threads: u32, caches: u32) -> Topology {
    let all = nodes * cores;
    let cpus = (0..all * threads).map(|id| {
        let core = id % all;
        let numa = core / cores;
        Cpu {
            id,
            core,
            l3: numa * cores + (core % cores) * caches / cores,
            numa,
            socket: numa / 2,
        }
    });
    let numa = (0..nodes).map(|id| NumaNode {
        id,
        socket: id / 2,
        memory: Bytes::new(8 << 30),
        distances: (0..nodes)
            .map(|to| {
                (
                    to,
                    if to == id {
                        10
                    } else if to / 2 == id / 2 {
                        12
                    } else {
                        20
                    },
                )
            })
            .collect(),
        ..NumaNode::default()
    });
    Topology::new(cpus, numa)
}

#[derive(Debug, Clone)]
struct RandomNode {
    gap: u32,
    cores: u32,
    caches: u32,
    memory: bool,
}

fn node() -> impl Strategy<Value = RandomNode> {
    (
        0..3_u32,
        prop_oneof![1 => Just(0_u32), 8 => 1..7_u32],
        1..4_u32,
        prop::bool::weighted(0.9),
    )
        .prop_map(|(gap, cores, caches, memory)| RandomNode {
            gap,
            cores,
            caches,
            memory,
        })
}

/// One to eight NUMA nodes with gaps in their numbers, some without CPUs, some without memory; one, two or four CPUs a core; several last-level caches; some CPUs
/// offline; any distances.
pub(super) fn machine() -> impl Strategy<Value = Topology> {
    (
        prop::collection::vec(node(), 1..=8),
        prop_oneof![Just(1_u32), Just(2), Just(4)],
        any::<bool>(),
        prop::collection::vec(prop::bool::weighted(0.06), 256),
        prop::collection::vec(11..40_u32, 64),
    )
        .prop_map(|(nodes, threads, adjacent, offline, distances)| {
            build(&nodes, threads, adjacent, &offline, &distances)
        })
}

fn build(
    nodes: &[RandomNode],
    threads: u32,
    adjacent: bool,
    offline: &[bool],
    distances: &[u32],
) -> Topology {
    let total: u32 = nodes.iter().map(|node| node.cores).sum::<u32>().max(1);
    let mut cpus = Vec::new();
    let mut numa = Vec::new();
    let mut id = 0;
    let mut first_core = 0;
    let ids: Vec<u32> = nodes
        .iter()
        .map(|node| {
            let own = id + node.gap;
            id = own + 1;
            own
        })
        .collect();
    for (index, node) in nodes.iter().enumerate() {
        // A machine without any CPU does not boot.
        let cores = if index == 0 && nodes.iter().all(|node| node.cores == 0) {
            1
        } else {
            node.cores
        };
        for core in first_core..first_core + cores {
            for thread in 0..threads {
                let cpu = if adjacent {
                    core * threads + thread
                } else {
                    core + thread * total
                };
                // The boot CPU cannot go offline.
                if core == 0 && thread == 0 || !offline[(cpu as usize) % offline.len()] {
                    cpus.push(Cpu {
                        id: cpu,
                        core: if adjacent { core * threads } else { core },
                        l3: first_core + (core - first_core) * node.caches / cores,
                        numa: ids[index],
                        socket: index as u32 / 2,
                    });
                }
            }
        }
        first_core += cores;
        let distances: BTreeMap<u32, u32> = ids
            .iter()
            .enumerate()
            .map(|(to, id)| {
                (
                    *id,
                    if to == index {
                        10
                    } else {
                        distances[index * 8 + to]
                    },
                )
            })
            .collect();
        numa.push(NumaNode {
            id: ids[index],
            socket: index as u32 / 2,
            memory: Bytes::new(if node.memory || index == 0 {
                4 << 30
            } else {
                0
            }),
            distances,
            ..NumaNode::default()
        });
    }
    Topology::new(cpus, numa)
}

/// The same machine without some CPUs.
pub(super) fn without(topology: &Topology, gone: &CpuSet) -> Topology {
    Topology::new(
        topology
            .cpus()
            .copied()
            .filter(|cpu| !gone.contains(cpu.id)),
        topology.numa_nodes().cloned(),
    )
}
