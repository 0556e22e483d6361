//! Trees of `/sys` for tests, written from a short description, numbered as Linux numbers: first every core's first thread, then the second ones.

use std::{fs, os::unix::fs::symlink, path::Path};

use katalyst_core::cpu_set::CpuSet;

/// A directory that stands for the root of a machine.
pub(crate) struct Tree {
    dir: tempfile::TempDir,
}

/// A regular machine.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) sockets: u32,
    pub(crate) nodes_per_socket: u32,
    pub(crate) caches_per_node: u32,
    pub(crate) cores_per_cache: u32,
    pub(crate) threads: u32,
    pub(crate) offline: CpuSet,
    /// NUMA nodes without CPUs, after the others.
    pub(crate) memory_only: u32,
    /// Distance between the numbers of neighbouring nodes: more than 1 leaves gaps.
    pub(crate) stride: u32,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            sockets: 1,
            nodes_per_socket: 1,
            caches_per_node: 1,
            cores_per_cache: 2,
            threads: 2,
            offline: CpuSet::new(),
            memory_only: 0,
            stride: 1,
        }
    }
}

/// Where a CPU of a [`Spec`] is.
pub(crate) struct Place {
    pub(crate) id: u32,
    pub(crate) core: u32,
    pub(crate) cache: u32,
    pub(crate) node: u32,
    pub(crate) socket: u32,
}

impl Spec {
    pub(crate) fn cores(&self) -> u32 {
        self.sockets * self.nodes_per_socket * self.caches_per_node * self.cores_per_cache
    }

    /// Every CPU, offline ones too.
    pub(crate) fn places(&self) -> Vec<Place> {
        (0..self.cores() * self.threads)
            .map(|id| {
                let core = id % self.cores();
                let cache = core / self.cores_per_cache;
                let node = cache / self.caches_per_node;
                Place {
                    id,
                    core,
                    cache,
                    node: node * self.stride,
                    socket: node / self.nodes_per_socket,
                }
            })
            .collect()
    }

    /// Numbers of the nodes, those without CPUs last.
    pub(crate) fn nodes(&self) -> Vec<u32> {
        (0..self.sockets * self.nodes_per_socket + self.memory_only)
            .map(|index| index * self.stride)
            .collect()
    }
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.root().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A PCI function below `way` (root complex and bridges), with its link on the bus.
    pub(crate) fn function(
        &self,
        way: &str,
        address: &str,
        class: &str,
        vendor: &str,
        numa: i32,
    ) -> String {
        let dir = format!("sys/devices/{way}/{address}");
        self.file(&format!("{dir}/class"), &format!("{class}\n"))
            .file(&format!("{dir}/vendor"), &format!("{vendor}\n"))
            .file(&format!("{dir}/device"), "0x2330\n")
            .file(&format!("{dir}/numa_node"), &format!("{numa}\n"));
        let link = self.root().join("sys/bus/pci/devices").join(address);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(format!("../../../devices/{way}/{address}"), link).unwrap();
        dir
    }

    pub(crate) fn remove(&self, path: &str) -> &Self {
        let path = self.root().join(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
        self
    }

    /// Writes the machine as the kernel would show it.
    pub(crate) fn machine(spec: &Spec) -> Self {
        let tree = Self::new();
        let places = spec.places();
        let is_online = |place: &&Place| !spec.offline.contains(place.id);
        let list = |keep: &dyn Fn(&Place) -> bool| {
            let set: CpuSet = places
                .iter()
                .filter(is_online)
                .filter(|place| keep(place))
                .map(|place| place.id)
                .collect();
            format!("{set}\n")
        };
        tree.file("sys/devices/system/cpu/online", &list(&|_| true));
        for place in &places {
            let cpu = format!("sys/devices/system/cpu/cpu{}", place.id);
            let online = is_online(&place);
            if place.id > 0 {
                tree.file(&format!("{cpu}/online"), if online { "1\n" } else { "0\n" });
            }
            if !online {
                continue;
            }
            let topology = format!("{cpu}/topology");
            tree.file(
                &format!("{topology}/physical_package_id"),
                &format!("{}\n", place.socket),
            );
            let siblings = list(&|other| other.core == place.core);
            tree.file(&format!("{topology}/thread_siblings_list"), &siblings);
            for (index, level, kind, shared) in [
                (0, 1, "Data", siblings.clone()),
                (1, 1, "Instruction", siblings.clone()),
                (2, 2, "Unified", siblings.clone()),
                (3, 3, "Unified", list(&|other| other.cache == place.cache)),
            ] {
                let cache = format!("{cpu}/cache/index{index}");
                tree.file(&format!("{cache}/level"), &format!("{level}\n"))
                    .file(&format!("{cache}/type"), &format!("{kind}\n"))
                    .file(&format!("{cache}/shared_cpu_list"), &shared);
            }
        }
        let nodes = spec.nodes();
        let ids: CpuSet = nodes.iter().copied().collect();
        tree.file("sys/devices/system/node/online", &format!("{ids}\n"));
        for node in &nodes {
            let dir = format!("sys/devices/system/node/node{node}");
            let distances: Vec<String> = nodes
                .iter()
                .map(|other| distance(*node, *other).to_string())
                .collect();
            tree.file(
                &format!("{dir}/cpulist"),
                &list(&|place| place.node == *node),
            )
            .file(
                &format!("{dir}/meminfo"),
                &format!("Node {node} MemTotal:       1048576 kB\nNode {node} MemFree: 1 kB\n"),
            )
            .file(
                &format!("{dir}/distance"),
                &format!("{}\n", distances.join(" ")),
            );
        }
        tree
    }
}

/// Classes of functions.
pub(crate) const BRIDGE: &str = "0x060400";
pub(crate) const GPU: &str = "0x030200";
pub(crate) const ETHERNET: &str = "0x020000";

/// A server with 8 GPUs and 8 RDMA cards: on each of two sockets two root complexes with one switch, below it two GPUs and two cards.
pub(crate) fn eight_gpus() -> Tree {
    let tree = Tree::machine(&Spec {
        sockets: 2,
        ..Spec::default()
    });
    for (switch, bus) in [0x10_u32, 0x30, 0x50, 0x70].into_iter().enumerate() {
        let numa = i32::try_from(switch / 2).unwrap();
        let root = format!("pci0000:{bus:02x}");
        let port = format!("0000:{bus:02x}:01.0");
        let upstream = format!("0000:{:02x}:00.0", bus + 1);
        tree.function(&root, &port, BRIDGE, "0x8086", numa);
        tree.function(&format!("{root}/{port}"), &upstream, BRIDGE, "0x1000", numa);
        for slot in 0..4 {
            let way = format!("{root}/{port}/{upstream}");
            let downstream = format!("0000:{:02x}:{:02x}.0", bus + 2, slot * 4);
            tree.function(&way, &downstream, BRIDGE, "0x1000", numa);
            let way = format!("{way}/{downstream}");
            let address = format!("0000:{:02x}:00.0", bus + 3 + slot);
            let index = switch * 2 + slot as usize % 2;
            if slot < 2 {
                tree.function(&way, &address, GPU, "0x10de", numa);
                tree.file(
                    &format!("proc/driver/nvidia/gpus/{address}/information"),
                    &format!("Model: \t NVIDIA H100 80GB HBM3\nGPU UUID: \t GPU-{index}\nDevice Minor: \t {index}\n"),
                );
                continue;
            }
            let dir = tree.function(&way, &address, ETHERNET, "0x15b3", numa);
            tree.file(&format!("{dir}/net/eth{index}/operstate"), "up\n")
                .file(&format!("{dir}/net/eth{index}/speed"), "400000\n")
                .file(&format!("{dir}/sriov_numvfs"), "0\n")
                .file(
                    &format!("{dir}/infiniband/mlx5_{index}/ports/1/state"),
                    "4: ACTIVE\n",
                )
                .file(
                    &format!("{dir}/infiniband/mlx5_{index}/ports/1/rate"),
                    "400 Gb/sec (4X NDR)\n",
                )
                .file(
                    &format!("{dir}/infiniband/mlx5_{index}/ports/1/link_layer"),
                    "Ethernet\n",
                );
        }
    }
    tree
}

/// Farther numbers are farther away.
pub(crate) fn distance(from: u32, to: u32) -> u32 {
    10 + from.abs_diff(to).min(200)
}
