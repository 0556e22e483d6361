//! The machine's sockets and NUMA nodes, from `/sys/devices/system`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use katalyst_core::units::Bytes;

use crate::{
    cgroup::file::{read, read_as},
    kernel::{cpuset, meminfo, number},
};

/// One NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumaNode {
    /// Kernel's number.
    pub id: u32,
    /// Socket of its CPUs; the lowest known socket for a node without CPUs.
    pub socket: u32,
    /// Its CPUs, ascending; empty for memory-only nodes.
    pub cpus: Vec<u32>,
    /// Its memory.
    pub memory: Bytes,
    /// Distance to each NUMA node in the order of their numbers, as the firmware states it.
    pub distances: Vec<u64>,
}

/// All NUMA nodes, ascending. A machine (or a container) without the directory is one node with what is given.
pub fn read_topology(root: &Path, online_cpus: u64, memory: Bytes) -> Vec<NumaNode> {
    let base = root.join("sys/devices/system/node");
    let mut ids: BTreeSet<u32> = BTreeSet::new();
    for entry in fs::read_dir(&base)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        if let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix("node")?.parse().ok())
        {
            ids.insert(id);
        }
    }
    let nodes: Vec<NumaNode> = ids
        .into_iter()
        .filter_map(|id| read_node(root, &base, id))
        .collect();
    if nodes.is_empty() {
        let cpus = (0..u32::try_from(online_cpus).unwrap_or(0)).collect();
        return vec![NumaNode {
            id: 0,
            socket: 0,
            cpus,
            memory,
            distances: Vec::new(),
        }];
    }
    nodes
}

fn read_node(root: &Path, base: &Path, id: u32) -> Option<NumaNode> {
    let dir = base.join(format!("node{id}"));
    let cpus = read_as(&dir.join("cpulist"), cpuset::parse_cpus).ok()?;
    let cpus: Vec<u32> = cpus.iter().collect();
    let memory = read_as(&dir.join("meminfo"), meminfo::parse_node).ok()?;
    let distances = read(&dir.join("distance"))
        .map(|text| {
            text.split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect()
        })
        .unwrap_or_default();
    let socket = cpus.first().and_then(|cpu| {
        let path = root.join(format!(
            "sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id"
        ));
        u32::try_from(read_as(&path, number::parse).ok()?).ok()
    });
    Some(NumaNode {
        id,
        socket: socket.unwrap_or(0),
        cpus,
        memory: Bytes::new(memory.total),
        distances,
    })
}

/// The nodes by socket.
pub fn by_socket(nodes: &[NumaNode]) -> BTreeMap<u32, Vec<&NumaNode>> {
    let mut sockets: BTreeMap<u32, Vec<&NumaNode>> = BTreeMap::new();
    for node in nodes {
        sockets.entry(node.socket).or_default().push(node);
    }
    sockets
}

/// CPUs in the kernel's notation, `0-3,8`.
pub fn format_cpus(cpus: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*cpu) => *last = *cpu,
            _ => ranges.push((*cpu, *cpu)),
        }
    }
    let text: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        })
        .collect();
    text.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join("sys/devices/system").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn two_sockets_and_a_node_without_cpus() {
        let root = tempfile::tempdir().unwrap();
        for (node, cpus) in [(0, "0-1\n"), (1, "2-3\n"), (2, "\n")] {
            write(root.path(), &format!("node/node{node}/cpulist"), cpus);
            write(
                root.path(),
                &format!("node/node{node}/meminfo"),
                &format!("Node {node} MemTotal: 1024 kB\n"),
            );
            write(
                root.path(),
                &format!("node/node{node}/distance"),
                "10 21 30\n",
            );
        }
        write(root.path(), "node/possible", "0-2\n");
        write(root.path(), "cpu/cpu0/topology/physical_package_id", "0\n");
        write(root.path(), "cpu/cpu2/topology/physical_package_id", "1\n");
        let nodes = read_topology(root.path(), 4, Bytes::new(1));
        assert_eq!(nodes.len(), 3);
        assert_eq!(nodes[1].socket, 1);
        assert_eq!(nodes[2].cpus, Vec::<u32>::new());
        assert_eq!(nodes[0].distances, [10, 21, 30]);
        assert_eq!(by_socket(&nodes)[&0].len(), 2);
    }

    #[test]
    fn without_the_directory_the_machine_is_one_node() {
        let root = tempfile::tempdir().unwrap();
        let nodes = read_topology(root.path(), 2, Bytes::new(7));
        assert_eq!(
            (nodes.len(), nodes[0].cpus.len(), nodes[0].memory.get()),
            (1, 2, 7)
        );
    }

    #[test]
    fn cpu_notation() {
        assert_eq!(format_cpus(&[0, 1, 2, 8, 10, 11]), "0-2,8,10-11");
        assert_eq!(format_cpus(&[]), "");
    }
}
