//! Memory of each NUMA node: free and droppable pages of its `meminfo`, low watermarks of its zones.
//!
//! Droppable are inactive file pages less dirty ones. A node whose file cannot be read is left out, so that it is neither hot nor a target.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use katalyst_core::{rebind::NodeMemory, topology::Topology, units::Bytes};

use crate::{
    cgroup::file,
    kernel::{meminfo, zoneinfo},
};

/// Watermarks follow the size of the zones and `vm.watermark_scale_factor`, which seldom change; the file is tens of kibibytes on a large machine.
const REREAD: Duration = Duration::from_secs(300);

/// What is kept between looks.
#[derive(Debug)]
pub(super) struct Nodes {
    root: PathBuf,
    low: BTreeMap<u32, u64>,
    low_read_nanos: Option<u64>,
}

impl Nodes {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            low: BTreeMap::new(),
            low_read_nanos: None,
        }
    }

    /// Every node with memory; `exclusive` is for the caller to say.
    pub(super) fn read(&mut self, topology: &Topology, now_nanos: u64) -> Vec<NodeMemory> {
        let fresh = self
            .low_read_nanos
            .is_some_and(|read| u128::from(now_nanos.saturating_sub(read)) < REREAD.as_nanos());
        if !fresh {
            self.low = low_watermarks(&self.root);
            self.low_read_nanos = Some(now_nanos);
        }
        topology
            .numa_nodes()
            .filter_map(|node| self.one(node.id))
            .filter(|node| node.total > Bytes::ZERO)
            .collect()
    }

    fn one(&self, id: u32) -> Option<NodeMemory> {
        let file = self
            .root
            .join(format!("sys/devices/system/node/node{id}/meminfo"));
        let node = file::read_as(&file, meminfo::parse_node).ok()?;
        Some(NodeMemory {
            id,
            total: Bytes::new(node.total),
            free: Bytes::new(node.free),
            droppable: Bytes::new(node.inactive_file.saturating_sub(node.dirty)),
            low: Bytes::new(self.low.get(&id).copied().unwrap_or(0)),
            // No kernel tells stalls by node.
            pressure: None,
            exclusive: false,
        })
    }
}

/// Bytes by node; none where the file cannot be read, and then a part of the node's memory decides alone.
fn low_watermarks(root: &Path) -> BTreeMap<u32, u64> {
    let text = file::read(&root.join("proc/zoneinfo")).unwrap_or_default();
    let mut low: BTreeMap<u32, u64> = BTreeMap::new();
    for zone in zoneinfo::zones(&text) {
        let bytes = zone.low.saturating_mul(rustix::param::page_size() as u64);
        let node = low.entry(zone.node).or_default();
        *node = node.saturating_add(bytes);
    }
    low
}

#[cfg(test)]
mod tests {
    use std::fs;

    use katalyst_core::topology::NumaNode;

    use super::*;

    #[test]
    fn a_node_is_read_with_its_watermarks_and_one_that_cannot_be_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in [
            (
                "sys/devices/system/node/node0/meminfo",
                "Node 0 MemTotal: 1000 kB\nNode 0 MemFree: 100 kB\nNode 0 Inactive(file): 50 kB\nNode 0 Dirty: 20 kB\n",
            ),
            (
                "proc/zoneinfo",
                "Node 0, zone DMA\n  pages free 1\n        low      2\nNode 0, zone Normal\n  pages free 1\n        low      3\n",
            ),
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let node = |id| NumaNode {
            id,
            ..NumaNode::default()
        };
        let topology = Topology::new([], [node(0), node(1)]);
        let nodes = Nodes::new(root.path().to_owned()).read(&topology, 0);
        assert_eq!(nodes.len(), 1);
        assert_eq!(nodes[0].available(), Bytes::new(130 << 10));
        assert_eq!(nodes[0].low.get(), 5 * rustix::param::page_size() as u64);
    }
}
