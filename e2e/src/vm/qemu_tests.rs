use std::net::Ipv4Addr;

use super::*;
use crate::vm::machine::{Network, NumaNode};

fn files() -> Files {
    Files {
        kernel: "/k".into(),
        initramfs: "/i".into(),
        root_disk: "/run,1/root.img".into(),
        seed_disk: "/run/seed.tar".into(),
        console: "/logs/console".into(),
        ports: vec![("kubelet".to_owned(), "/logs/kubelet".into())],
    }
}

fn line(machine: &Machine) -> String {
    let arguments = arguments(machine, &files()).unwrap();
    arguments
        .iter()
        .map(|argument| argument.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn network() -> Network {
    Network {
        address: Ipv4Addr::new(10, 200, 0, 2),
        gateway: Ipv4Addr::new(10, 200, 0, 1),
        pod_subnet: "10.123.46.0/24".to_owned(),
        tap: "tap1".to_owned(),
    }
}

#[test]
fn two_nodes_have_their_memory_cpus_and_distance() {
    let line = line(&Machine::two_nodes("node-vm-1", Some(network())));
    for part in [
        "-m 2048M",
        "-smp 4,sockets=2,cores=1,threads=2",
        "-numa node,nodeid=0,cpus=0-1,memdev=memory0",
        "-numa node,nodeid=1,cpus=2-3,memdev=memory1",
        "-numa dist,src=0,dst=1,val=21",
        "ifname=tap1,script=no",
        "mac=52:54:00:c8:00:02",
        "file=/run,,1/root.img",
        "virtserialport,chardev=port-kubelet,name=kubelet",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[test]
fn uneven_nodes_and_distances_are_expressed() {
    let node = |memory_mib, cpus| NumaNode { memory_mib, cpus };
    let machine = Machine {
        psi: false,
        numa: vec![node(256, 1), node(512, 2), node(256, 0)],
        threads_per_core: 1,
        distances: vec![(2, 0, 31)],
        ..Machine::two_nodes("odd", None)
    };
    let line = line(&machine);
    for part in [
        "-m 1024M",
        "-smp 3,sockets=3,cores=1,threads=1",
        "nodeid=0,cpus=0,memdev=memory0",
        "nodeid=1,cpus=1-2,memdev=memory1",
        "nodeid=2,memdev=memory2",
        "src=0,dst=2,val=31",
        "src=1,dst=2,val=21",
        " psi=0",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!line.contains("-netdev"), "{line}");
}

#[test]
fn contradictions_are_refused_with_the_machines_name() {
    let base = Machine::two_nodes("odd", None);
    let cases = [
        Machine {
            numa: vec![NumaNode {
                memory_mib: 512,
                cpus: 0,
            }],
            ..base.clone()
        },
        Machine {
            threads_per_core: 0,
            ..base.clone()
        },
        Machine {
            threads_per_core: 3,
            ..base.clone()
        },
        Machine {
            distances: vec![(0, 2, 21)],
            ..base.clone()
        },
        Machine {
            distances: vec![(0, 1, 10)],
            ..base
        },
    ];
    for machine in cases {
        let error = arguments(&machine, &files()).unwrap_err().to_string();
        assert!(error.starts_with("machine odd: "), "{error}");
    }
}
