//! NUMA nodes from `/sys/devices/system/node`: which are online, their CPUs, memory and distances.
//!
//! Sources: Documentation/ABI/stable/sysfs-devices-node. Kernels without `CONFIG_NUMA`, and containers that hide the directory, have one node
//! with all memory of `/proc/meminfo`. Numbers have gaps. Nodes without CPUs are memory expanders (CXL, GPU memory); nodes with neither
//! CPUs nor memory are placeholders of firmware for memory that may come, and are left out.

use std::{collections::BTreeMap, fs, path::Path};

use katalyst_core::{
    topology::{Cpu, NumaNode},
    units::Bytes,
};

use super::Found;
use crate::kernel::{cpuset, meminfo, node_distance};

const SUBJECT: &str = "topology: NUMA";

/// The nodes, ascending, with the CPUs that the kernel lists for them; sockets are not known yet.
pub(super) fn read(root: &Path, notes: &mut Found) -> Vec<NumaNode> {
    let base = root.join("sys/devices/system/node");
    let online = online(&base, notes);
    let mut nodes: Vec<NumaNode> = online
        .iter()
        .filter_map(|id| read_node(&base, *id, &online, notes))
        .collect();
    if nodes.is_empty() {
        notes.add(
            SUBJECT,
            "no node directory in /sys/devices/system/node; the machine counts as one NUMA node",
        );
        let total = notes
            .value(SUBJECT, &root.join("proc/meminfo"), |text| {
                meminfo::parse(text).map(|memory| memory.total)
            })
            .unwrap_or(0);
        nodes.push(NumaNode {
            id: 0,
            memory: Bytes::new(total),
            ..NumaNode::default()
        });
    }
    nodes
}

/// Gives each node without CPUs the socket of the nearest node with some; the others have theirs from their CPUs.
pub(super) fn settle(nodes: &mut [NumaNode], cpus: &[Cpu]) {
    let sockets: BTreeMap<u32, u32> = cpus.iter().map(|cpu| (cpu.numa, cpu.socket)).collect();
    for node in nodes {
        let nearest = sockets
            .iter()
            .min_by_key(|(id, _)| (node.distances.get(id).copied().unwrap_or(u32::MAX), **id));
        node.socket = match sockets.get(&node.id) {
            Some(own) => *own,
            None => nearest.map_or(0, |(_, socket)| *socket),
        };
    }
}

/// The nodes that are online: the file, or the directories where an old kernel has no such file.
fn online(base: &Path, notes: &mut Found) -> Vec<u32> {
    if let Some(ids) = notes.value(SUBJECT, &base.join("online"), cpuset::parse_node_ids)
        && !ids.is_empty()
    {
        return ids;
    }
    let mut ids: Vec<u32> = fs::read_dir(base)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            let id = name.to_str()?.strip_prefix("node")?.parse().ok()?;
            (id <= katalyst_core::qos::MAX_NUMA_ID).then_some(id)
        })
        .collect();
    ids.sort_unstable();
    ids
}

fn read_node(base: &Path, id: u32, online: &[u32], notes: &mut Found) -> Option<NumaNode> {
    let dir = base.join(format!("node{id}"));
    if !dir.is_dir() {
        return None;
    }
    let cpus = notes
        .value(SUBJECT, &dir.join("cpulist"), cpuset::parse_cpus)
        .unwrap_or_default();
    let memory = notes.value(SUBJECT, &dir.join("meminfo"), meminfo::parse_node);
    if memory.is_none() {
        notes.add(
            SUBJECT,
            format!(
                "node{id}/meminfo does not say how much memory the node has; it counts as none"
            ),
        );
    }
    let memory = memory.map_or(0, |memory| memory.total);
    if cpus.is_empty() && memory == 0 {
        return None;
    }
    let distances = notes
        .value(SUBJECT, &dir.join("distance"), node_distance::parse)
        .unwrap_or_default();
    if distances.len() != online.len() && !distances.is_empty() {
        notes.add(
            SUBJECT,
            format!(
                "node{id}/distance has {} numbers for {} online nodes; those that are missing count as 20",
                distances.len(),
                online.len()
            ),
        );
    }
    Some(NumaNode {
        id,
        socket: 0,
        cpus,
        memory: Bytes::new(memory),
        distances: online.iter().copied().zip(distances).collect(),
    })
}
