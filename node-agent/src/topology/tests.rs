//! The machine read back from trees of `/sys`.

use katalyst_core::{cpu_set::CpuSet, topology::Topology};
use proptest::prelude::*;

use super::{
    read,
    tree::{Spec, Tree, distance},
};

fn set(list: &str) -> CpuSet {
    CpuSet::parse(list).unwrap()
}

fn machine(spec: &Spec) -> Topology {
    let (topology, notes) = read(Tree::machine(spec).root());
    assert_eq!(notes, [], "a complete tree leaves nothing to assume");
    topology
}

#[test]
fn two_sockets_of_two_numa_nodes() {
    let topology = machine(&Spec {
        sockets: 2,
        nodes_per_socket: 2,
        ..Spec::default()
    });
    let node = topology.numa_node(3).unwrap();
    assert_eq!(
        (node.socket, node.cpus.to_string().as_str()),
        (1, "6-7,14-15")
    );
    assert_eq!(node.memory.get(), 1 << 30);
    assert_eq!(topology.distance(3, 0), 13);
    assert_eq!(topology.core_cpus(6), set("6,14"));
    assert_eq!(topology.cpu(14).unwrap().core, 6);
}

#[test]
fn eight_numa_nodes_with_several_caches_each() {
    // NPS4 on two sockets of Zen: a cache for each core complex.
    let topology = machine(&Spec {
        sockets: 2,
        nodes_per_socket: 4,
        caches_per_node: 3,
        cores_per_cache: 2,
        ..Spec::default()
    });
    assert_eq!(topology.numa_nodes().count(), 8);
    assert_eq!(topology.all_cpus().len(), 2 * 4 * 3 * 2 * 2);
    let groups: std::collections::BTreeSet<u32> = topology
        .cpus()
        .filter(|cpu| cpu.numa == 5)
        .map(|cpu| cpu.l3)
        .collect();
    assert_eq!(groups.into_iter().collect::<Vec<_>>(), [30, 32, 34]);
}

#[test]
fn without_smt_every_cpu_is_a_core() {
    let topology = machine(&Spec {
        threads: 1,
        cores_per_cache: 4,
        ..Spec::default()
    });
    assert!(topology.cpus().all(|cpu| cpu.core == cpu.id));
}

#[test]
fn offline_cpus_are_no_part_of_the_machine() {
    let topology = machine(&Spec {
        cores_per_cache: 4,
        offline: set("1,4"),
        ..Spec::default()
    });
    assert_eq!(topology.all_cpus(), set("0,2-3,5-7"));
    assert_eq!(
        topology.cpu(5).unwrap().core,
        5,
        "its sibling 1 is offline, and the kernel does not name it"
    );
    assert_eq!(topology.core_cpus(0), set("0"));
    assert_eq!(topology.numa_node(0).unwrap().cpus, set("0,2-3,5-7"));
}

#[test]
fn nodes_without_cpus_and_sparse_numbers() {
    let topology = machine(&Spec {
        sockets: 2,
        memory_only: 1,
        stride: 4,
        ..Spec::default()
    });
    let ids: Vec<u32> = topology.numa_nodes().map(|node| node.id).collect();
    assert_eq!(ids, [0, 4, 8]);
    let expander = topology.numa_node(8).unwrap();
    assert!(expander.cpus.is_empty());
    assert_eq!(expander.socket, 1, "node 4 is nearer than node 0");
    assert_eq!(expander.distances[&4], distance(8, 4));
}

#[test]
fn a_placeholder_node_is_left_out() {
    let tree = Tree::machine(&Spec {
        memory_only: 1,
        ..Spec::default()
    });
    tree.file(
        "sys/devices/system/node/node1/meminfo",
        "Node 1 MemTotal: 0 kB\n",
    );
    let (topology, notes) = read(tree.root());
    assert_eq!(topology.numa_nodes().count(), 1);
    assert_eq!(notes, []);
}

#[test]
fn without_node_directory_the_machine_is_one_node() {
    let tree = Tree::machine(&Spec {
        sockets: 2,
        ..Spec::default()
    });
    tree.remove("sys/devices/system/node")
        .file("proc/meminfo", "MemTotal: 8 kB\nMemAvailable: 1 kB\n");
    let (topology, notes) = read(tree.root());
    assert_eq!(topology.numa_node(0).unwrap().cpus, topology.all_cpus());
    assert_eq!(topology.numa_node(0).unwrap().memory.get(), 8192);
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn an_empty_tree_is_an_empty_machine_with_notes() {
    let (topology, notes) = read(Tree::new().root());
    assert_eq!(topology.cpus().count(), 0);
    assert_eq!(notes.len(), 2, "{notes:?}");
}

#[test]
fn only_proc_is_a_machine_of_equal_cpus() {
    let tree = Tree::new();
    tree.file(
        "proc/stat",
        "cpu  1 1 1 1 1 1 1\ncpu0 1 1 1 1 1 1 1\ncpu2 1 1 1 1 1 1 1\n",
    );
    let (topology, notes) = read(tree.root());
    assert_eq!(topology.all_cpus(), set("0,2"));
    assert_eq!(topology.cpu(2).unwrap().l3, 0);
    assert_eq!(topology.cpu(2).unwrap().core, 2);
    assert_eq!(notes.len(), 5, "{notes:?}");
}

#[test]
fn a_machine_without_caches_groups_by_socket_and_node() {
    let tree = Tree::machine(&Spec {
        sockets: 2,
        ..Spec::default()
    });
    for cpu in 0..8 {
        tree.remove(&format!("sys/devices/system/cpu/cpu{cpu}/cache"));
    }
    let (topology, notes) = read(tree.root());
    assert_eq!(topology.cpu(5).unwrap().l3, 0);
    assert_eq!(topology.cpu(7).unwrap().l3, 2);
    assert_eq!(notes.len(), 1, "said once, not for each CPU: {notes:?}");
}

#[test]
fn nonsense_costs_its_own_file() {
    let tree = Tree::machine(&Spec::default());
    tree.file(
        "sys/devices/system/cpu/cpu1/topology/physical_package_id",
        "-1\n",
    )
    .file(
        "sys/devices/system/cpu/cpu2/topology/thread_siblings_list",
        "soon\n",
    )
    .file("sys/devices/system/node/node0/distance", "ten\n");
    let (topology, notes) = read(tree.root());
    assert_eq!(topology.all_cpus().len(), 4);
    assert_eq!(topology.cpu(2).unwrap().core, 2);
    assert_eq!(topology.distance(0, 0), 10);
    assert!(
        notes.iter().any(|note| note.text.contains("soon"))
            && notes.iter().any(|note| note.text.contains("ten")),
        "{notes:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_regular_machine_reads_back(
        (sockets, nodes_per_socket) in prop_oneof![Just((1, 1)), Just((2, 1)), Just((1, 4)), Just((2, 4))],
        caches_per_node in 1_u32..3,
        cores_per_cache in 1_u32..4,
        threads in 1_u32..3,
        memory_only in 0_u32..2,
        stride in 1_u32..3,
        offline in prop::collection::vec(1_u32..40, 0..6),
    ) {
        let spec = Spec {
            sockets, nodes_per_socket, caches_per_node, cores_per_cache, threads, memory_only, stride,
            offline: offline.into_iter().collect(),
        };
        let topology = machine(&spec);
        for place in spec.places() {
            let Some(cpu) = topology.cpu(place.id) else {
                prop_assert!(spec.offline.contains(place.id));
                continue;
            };
            prop_assert_eq!((cpu.numa, cpu.socket), (place.node, place.socket));
            let siblings: CpuSet = spec.places().iter()
                .filter(|other| other.core == place.core && !spec.offline.contains(other.id))
                .map(|other| other.id).collect();
            prop_assert_eq!(topology.core_cpus(cpu.core), siblings);
        }
        let ids: Vec<u32> = topology.numa_nodes().map(|node| node.id).collect();
        prop_assert_eq!(ids, spec.nodes());
    }
}
