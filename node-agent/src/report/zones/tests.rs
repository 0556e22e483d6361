//! The tree as JSON, from machines read from trees of `/sys`.

use std::{collections::BTreeMap, time::Duration};

use katalyst_core::{
    topology::devices::PciAddress,
    units::{Bytes, Millicpu},
};
use katalyst_crds::node::CustomNodeResourceStatus;
use serde_json::Value;

use super::*;
use crate::topology::{
    Sensor,
    devices::gpu::{GpuFacts, GpuLibrary},
    tree::{Spec, Tree, eight_gpus},
};

struct Library;

impl GpuLibrary for Library {
    fn gpus(&self) -> Result<BTreeMap<PciAddress, GpuFacts>, String> {
        let address = |text: &str| text.parse::<PciAddress>().unwrap();
        Ok(BTreeMap::from([(
            address("0000:13:00.0"),
            GpuFacts {
                memory: Some(Bytes::new(80 << 30)),
                links: BTreeMap::from([
                    (address("0000:14:00.0"), 18),
                    (address("0000:99:00.0"), 1),
                ]),
                ..GpuFacts::default()
            },
        )]))
    }
}

fn sense(tree: &Tree) -> Sensed {
    let sensed = Sensor::new(tree.root(), Box::new(Library)).look(Duration::ZERO);
    Sensed::clone(&sensed)
}

fn tree(sensed: &Sensed, reserved: &str, consumers: &[Consumer]) -> (Value, Vec<String>) {
    let (zones, problems) = zones(ZoneInput {
        sensed,
        reserved: &CpuSet::parse(reserved).unwrap(),
        consumers,
    });
    (serde_json::to_value(zones).unwrap(), problems)
}

/// The zone of that kind and name, wherever it stands.
fn find<'a>(zones: &'a Value, kind: &str, name: &str) -> Option<&'a Value> {
    zones.as_array()?.iter().find_map(|zone| {
        if zone["type"] == kind && zone["name"] == name {
            return Some(zone);
        }
        find(&zone["children"], kind, name)
    })
}

fn attribute_of<'a>(zone: &'a Value, name: &str) -> Option<&'a str> {
    zone["attributes"]
        .as_array()?
        .iter()
        .find(|attribute| attribute["name"] == name)?["value"]
        .as_str()
}

#[test]
fn sockets_nodes_and_caches() {
    let sensed = sense(&Tree::machine(&Spec {
        sockets: 2,
        caches_per_node: 2,
        ..Spec::default()
    }));
    let (zones, problems) = tree(&sensed, "0,8", &[]);
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(zones.as_array().unwrap().len(), 2);
    let numa = find(&zones, "Numa", "0").unwrap();
    assert_eq!(
        numa["resources"],
        serde_json::json!({"capacity": {"cpu": "8", "memory": "1Gi"}, "allocatable": {"cpu": "6", "memory": "1Gi"}})
    );
    assert_eq!(attribute_of(numa, "cpu_list"), Some("0-3,8-11"));
    assert_eq!(attribute_of(numa, "reserved_cpu_list"), Some("0,8"));
    assert_eq!(attribute_of(numa, "physical_cores"), Some("4"));
    assert_eq!(
        numa["siblings"],
        serde_json::json!([{"type": "Numa", "name": "1", "attributes": [{"name": "numa_distance", "value": "11"}]}])
    );
    let cache = find(&zones, "L3CacheGroup", "2").unwrap();
    assert_eq!(attribute_of(cache, "cpu_list"), Some("2-3,10-11"));
    assert_eq!(
        cache["resources"]["capacity"],
        serde_json::json!({"cpu": "4"})
    );
}

#[test]
fn one_cache_a_node_is_no_zone() {
    let sensed = sense(&Tree::machine(&Spec::default()));
    let (zones, _) = tree(&sensed, "", &[]);
    assert_eq!(find(&zones, "L3CacheGroup", "0"), None);
}

#[test]
fn devices_hang_below_their_node_and_name_their_switch() {
    let sensed = sense(&eight_gpus());
    let (zones, _) = tree(&sensed, "", &[]);
    let numa = find(&zones, "Numa", "1").unwrap();
    let kinds: Vec<&str> = numa["children"]
        .as_array()
        .unwrap()
        .iter()
        .map(|zone| zone["type"].as_str().unwrap())
        .collect();
    let count = |kind| kinds.iter().filter(|each| **each == kind).count();
    assert_eq!(
        (
            count("PCIeSwitch"),
            count("GPU"),
            count("NIC"),
            count("RDMA")
        ),
        (2, 4, 4, 4)
    );
    let gpu = find(&zones, "GPU", "0000:13:00.0").unwrap();
    assert_eq!(attribute_of(gpu, "pcie_switch"), Some("0000:11:00.0"));
    assert_eq!(attribute_of(gpu, "uuid"), Some("GPU-0"));
    assert_eq!(
        gpu["resources"]["allocatable"],
        serde_json::json!({"resource.katalyst.kubewharf.io/milligpu": "1000", "resource.katalyst.kubewharf.io/gpu_memory": "80Gi"})
    );
    assert_eq!(
        gpu["siblings"].as_array().unwrap().len(),
        1,
        "the other end of a link that is no GPU is left out: {gpu}"
    );
    let nic = find(&zones, "NIC", "eth7").unwrap();
    assert_eq!(
        nic["resources"]["capacity"],
        serde_json::json!({"resource.katalyst.kubewharf.io/net_bandwidth": "400000"})
    );
    let rdma = find(&zones, "RDMA", "mlx5_0").unwrap();
    assert_eq!(attribute_of(rdma, "interfaces"), Some("eth0"));
    assert_eq!(attribute_of(rdma, "rate_mbps"), Some("400000"));
    assert_eq!(attribute_of(rdma, "pcie_switch"), Some("0000:11:00.0"));
}

#[test]
fn a_device_of_no_known_node_stands_at_the_top() {
    let machine = Tree::machine(&Spec {
        sockets: 2,
        ..Spec::default()
    });
    machine.function("pci0000:00", "0000:00:02.0", "0x030200", "0x10de", -1);
    let (zones, _) = tree(&sense(&machine), "", &[]);
    assert_eq!(zones[2]["type"], "GPU");
}

fn consumer(name: &str, nodes: &[u32]) -> Consumer {
    Consumer {
        name: name.to_owned(),
        nodes: nodes.to_vec(),
        cpu: Millicpu::new(3_000),
        memory: Bytes::new(1 << 30),
        ..Consumer::default()
    }
}

#[test]
fn bound_pods_hold_their_nodes_and_a_bad_one_costs_itself() {
    let sensed = sense(&eight_gpus());
    let consumers = [
        consumer("n/both/1", &[1, 0]),
        Consumer {
            own_cpus: CpuSet::parse("0-1,2").unwrap(),
            ..consumer("n/own/2", &[0, 1])
        },
        consumer("n/nowhere/3", &[0, 7]),
        consumer("n/unbound/4", &[]),
        Consumer {
            gpus: vec![
                GpuShare {
                    uuid: "GPU-0".to_owned(),
                    percent: Some(50),
                    memory_mib: Some(1_024),
                    ..GpuShare::default()
                },
                GpuShare {
                    uuid: "GPU-lost".to_owned(),
                    ..GpuShare::default()
                },
                GpuShare {
                    minor: Some(1),
                    ..GpuShare::default()
                },
            ],
            cards: vec!["mlx5_0".to_owned(), "mlx5_9".to_owned()],
            ..consumer("n/job/5", &[])
        },
    ];
    let (zones, problems) = tree(&sensed, "", &consumers);
    let numa = find(&zones, "Numa", "0").unwrap();
    assert_eq!(
        numa["allocations"],
        serde_json::json!([
            {"consumer": "n/both/1", "requests": {"cpu": "1500m", "memory": "512Mi"}},
            {"consumer": "n/own/2", "requests": {"cpu": "2", "memory": "512Mi"}},
        ])
    );
    let gpu = find(&zones, "GPU", "0000:13:00.0").unwrap();
    assert_eq!(
        gpu["allocations"],
        serde_json::json!([{"consumer": "n/job/5", "requests": {
            "resource.katalyst.kubewharf.io/milligpu": "500", "resource.katalyst.kubewharf.io/gpu_memory": "1Gi"}}])
    );
    let whole = find(&zones, "GPU", "0000:14:00.0").unwrap();
    assert_eq!(
        whole["allocations"][0]["requests"],
        serde_json::json!({"resource.katalyst.kubewharf.io/milligpu": "1000"})
    );
    let rdma = find(&zones, "RDMA", "mlx5_0").unwrap();
    assert_eq!(rdma["allocations"][0]["consumer"], "n/job/5");
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].contains("GPU-lost"), "{problems:?}");
    assert!(problems[1].contains("mlx5_9"), "{problems:?}");
    assert!(problems[2].contains("n/nowhere/3"), "{problems:?}");
}

#[test]
fn the_order_of_pods_does_not_show() {
    let sensed = sense(&eight_gpus());
    let mut consumers: Vec<Consumer> = (0..5)
        .map(|number| consumer(&format!("n/p/{number}"), &[number % 2]))
        .collect();
    let before = tree(&sensed, "", &consumers);
    consumers.reverse();
    assert_eq!(tree(&sensed, "", &consumers), before);
}

#[test]
fn the_report_stays_far_below_what_an_object_may_hold() {
    let sensed = sense(&eight_gpus());
    let consumers: Vec<Consumer> = (0..3_000)
        .map(|number| consumer(&format!("namespace/pod-{number:04}/uid"), &[0]))
        .collect();
    let (zones, _) = zones(ZoneInput {
        sensed: &sensed,
        reserved: &CpuSet::new(),
        consumers: &consumers,
    });
    let status = CustomNodeResourceStatus {
        topology_zone: zones,
        ..CustomNodeResourceStatus::default()
    };
    let bytes = serde_json::to_vec(&status).unwrap().len();
    // etcd refuses objects of 1.5 MiB.
    assert!(bytes < 256 << 10, "{bytes} bytes");
}
