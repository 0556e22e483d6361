//! From a CNR and a pod to a Binding and back.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use katalyst_core::{
    placement::{
        CardShare, Machine, NodePlacement, Scope, Unfit, fit,
        machine::KubeletPolicy,
        node::TaintEffect,
        request::{CardAmount, CardMemory, GpuRequest, Near, NumaRequest, PodRequest, Role},
    },
    qos::Level,
    reclaimed::Reclaimed,
};
use serde_json::{Value, json};

use super::*;
use crate::{constants::annotation, node::CustomNodeResource};

fn attributes(of: &[(&str, &str)]) -> Value {
    of.iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}

fn gpu(address: &str, switch: &str, minor: &str) -> Value {
    let amounts = json!({"resource.katalyst.kubewharf.io/milligpu": "1000", "resource.katalyst.kubewharf.io/gpu_memory": "80Gi"});
    json!({
        "type": "GPU", "name": address,
        "resources": {"capacity": amounts, "allocatable": amounts},
        "attributes": attributes(&[("pci_address", address), ("pcie_root", "pci0000:10"), ("pcie_switch", switch),
            ("pci_id", "10de:2330"), ("uuid", &format!("GPU-{minor}")), ("model", "NVIDIA H100"), ("minor", minor)]),
    })
}

fn rdma(name: &str, address: &str, switch: &str, active: &str) -> Value {
    json!({
        "type": "RDMA", "name": name,
        "attributes": attributes(&[("pci_address", address), ("pcie_root", "pci0000:10"), ("pcie_switch", switch),
            ("active_ports", active), ("interfaces", &format!("eth-{name},other"))]),
    })
}

fn numa(id: &str, other: &str, allocations: &Value, children: &Value) -> Value {
    json!({
        "type": "Numa", "name": id,
        "resources": {
            "capacity": {"cpu": "8", "memory": "32Gi"},
            "allocatable": {"cpu": "6", "memory": "30Gi", "resource.katalyst.kubewharf.io/reclaimed_millicpu": "2k",
                "resource.katalyst.kubewharf.io/reclaimed_memory": "4Gi"},
        },
        "attributes": attributes(&[("cpu_list", "0-7"), ("physical_cores", "4")]),
        "siblings": [{"type": "Numa", "name": other, "attributes": attributes(&[("numa_distance", "21")])}],
        "allocations": allocations,
        "children": children,
    })
}

fn cnr() -> CustomNodeResource {
    let below = json!([
        {"type": "PCIeSwitch", "name": "0000:11:00.0", "attributes": attributes(&[("pci_address", "0000:11:00.0")])},
        {"type": "PCIeSwitch", "name": "0000:21:00.0", "attributes": attributes(&[("pci_address", "0000:21:00.0"), ("pcie_switch", "0000:11:00.0")])},
        gpu("0000:12:00.0", "0000:11:00.0", "0"),
        gpu("0000:22:00.0", "0000:21:00.0", "1"),
        rdma("mlx5_0", "0000:13:00.0", "0000:11:00.0", "0"),
        rdma("mlx5_1", "0000:23:00.0", "0000:21:00.0", "1"),
    ]);
    let held = json!([
        {"consumer": "n/service/u-1", "requests": {"cpu": "2", "memory": "1Gi"}},
        {"consumer": "n/broken/u-2", "requests": {"cpu": "many"}},
    ]);
    serde_json::from_value(json!({
        "apiVersion": "node.katalyst.kubewharf.io/v1alpha1",
        "kind": "CustomNodeResource",
        "metadata": {"name": "node-1"},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule", "qosLevel": "reclaimed_cores"}]},
        "status": {
            "topologyPolicy": "RestrictedPodLevel",
            "topologyZone": [
                {"type": "Socket", "name": "0", "children": [numa("0", "3", &held, &below)]},
                {"type": "Socket", "name": "1", "children": [numa("3", "0", &json!([]), &json!([]))]},
                {"type": "Numa", "name": "none"},
            ],
            "nodeMetricStatus": {
                "updateTime": "2026-01-01T00:00:00Z",
                "capacity": {"cpu": "16", "memory": "64Gi"},
                "nodeMetric": {"genericUsage": {"cpu": "4", "memory": "16Gi"}},
                "servicePeak": {"usage": {"cpu": "8", "memory": "32Gi"}},
            },
        },
    }))
    .unwrap()
}

fn node(cnr: &CustomNodeResource) -> NodePlacement {
    let (machine, _) = machine(cnr);
    let mut node = NodePlacement::default();
    node.set_machine(Arc::new(machine));
    node.set_reported(reported(cnr));
    node.set_taints(taints(cnr).into());
    node.set_load(load(cnr));
    node.set_offer(Reclaimed::new(4_000, 8 << 30), true);
    node
}

fn pod(annotations: &Value, containers: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "annotations": annotations},
        "spec": {"containers": containers},
    }))
    .unwrap()
}

#[test]
fn a_report_becomes_a_machine() {
    let cnr = cnr();
    let (machine, problems) = machine(&cnr);
    assert_eq!(
        problems,
        ["status.topologyZone: Numa none: its name is no number"]
    );
    let zones: Vec<_> = machine
        .zones()
        .iter()
        .map(|zone| (zone.id, zone.socket, zone.cpu.get(), zone.reclaimed))
        .collect();
    let offer = Some(Reclaimed::new(2_000, 4 << 30));
    assert_eq!(zones, [(0, 0, 6_000, offer), (3, 1, 6_000, offer)]);
    assert_eq!((machine.distance(0, 1), machine.threads()), (21, 2));
    assert_eq!(machine.alignment().policy, KubeletPolicy::Restricted);
    assert!(machine.alignment().pod_scope);
    let [first, second] = machine.cards() else {
        panic!("two cards: {machine:?}");
    };
    assert_eq!(
        (&*first.uuid, first.mib, first.zone, first.nvidia),
        ("GPU-0", 81_920, Some(0), true)
    );
    let together = |scope| first.groups.at(scope) == second.groups.at(scope);
    assert!(
        !together(Scope::Switch) && together(Scope::SwitchTree),
        "a switch below a switch"
    );
    let [down, up] = machine.nics() else {
        panic!("two network cards: {machine:?}");
    };
    assert_eq!(
        (down.up, up.up, up.interface.as_deref()),
        (false, true, Some("eth-mlx5_1"))
    );
}

#[test]
fn the_rest_of_a_report() {
    let node = node(&cnr());
    assert_eq!(
        node.used().zones[0].cpu.get(),
        2_000,
        "who cannot be read is left out"
    );
    let taint = &node.taints()[0];
    assert_eq!(
        (taint.effect, taint.level),
        (TaintEffect::NoSchedule, Level::Reclaimed)
    );
    let load = node.load();
    assert!(
        (load.cpu - 0.25).abs() < 1e-6 && (load.predicted_memory - 0.5).abs() < 1e-6,
        "{load:?}"
    );
}

#[test]
fn a_placement_is_recorded_and_read_back() {
    let mut node = node(&cnr());
    let pod = pod(
        &json!({
            "katalyst.kubewharf.io/qos_level": "dedicated_cores",
            "katalyst.kubewharf.io/memory_enhancement": r#"{"numa_binding": "true"}"#,
            "katalyst.kubewharf.io/device_enhancement": r#"{"gpu_rdma_affinity": "required:switch"}"#,
        }),
        &json!([{"name": "main", "resources": {"limits": {
            "cpu": "3", "memory": "2Gi",
            "resource.katalyst.kubewharf.io/milligpu": "250",
            "resource.katalyst.kubewharf.io/gpu_memory": "10Gi",
            "resource.katalyst.kubewharf.io/rdma_nic": "1",
        }}}]),
    );
    let request = pod_request(&pod).unwrap();
    let placement = fit(&node, &request).unwrap();
    let annotations = record(&placement, node.machine(), &request).unwrap();
    assert_eq!(annotations[annotation::NUMA_BIND_RESULT], "0");
    assert_eq!(
        annotations[annotation::NUMA_ALLOCATION],
        r#"{"0":{"cpu":"4","memory":"2Gi"}}"#,
        "whole cores"
    );
    assert_eq!(
        annotations[annotation::DEVICE_ALLOCATION],
        r#"{"containers":{"main":{"gpus":[{"uuid":"GPU-1","index":1,"percent":25,"memoryMiB":10240,"devices":["/dev/nvidia1"]}],"nics":[{"name":"mlx5_1","interface":"eth-mlx5_1"}]}}}"#,
        "the card whose switch has a network card that is up"
    );
    let mut bound = pod;
    bound
        .metadata
        .annotations
        .as_mut()
        .unwrap()
        .extend(annotations);
    let (held, errors) = allocation(&bound);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(held, placement.allocation(node.machine(), &request));
    node.add(&"u".into(), &Arc::new(held));
    assert_eq!(fit(&node, &request).unwrap_err(), Unfit::NicsBusy);
}

#[test]
fn a_record_that_cannot_be_read_costs_itself() {
    let pod = pod(
        &json!({
            "katalyst.kubewharf.io/numa_bind_result": "x",
            "katalyst.kubewharf.io/device_allocation": r#"{"containers": {"side": {"gpus": [{"uuid": "GPU-0", "percent": 40}]}}}"#,
        }),
        &json!([{"name": "main", "resources": {"requests": {"cpu": "2"}}}]),
    );
    let (held, errors) = allocation(&pod);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[0].to_string().contains("numa_bind_result"),
        "{errors:?}"
    );
    assert_eq!(held.floating.get(), 2_000);
    assert_eq!(
        held.cards[0].share,
        CardShare::Whole,
        "all of the memory is the whole card"
    );
}

#[test]
fn pods_are_read_as_kubernetes_counts_them() {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"annotations": {
            "katalyst.kubewharf.io/qos_level": "shared_cores",
            "katalyst.kubewharf.io/memory_enhancement": r#"{"numa_binding": "true"}"#,
            "katalyst.kubewharf.io/device_enhancement": r#"{"gpu_cards": "main=2", "gpu_affinity": "numa"}"#,
        }},
        "spec": {
            "initContainers": [
                {"name": "proxy", "restartPolicy": "Always", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
                {"name": "load", "resources": {"limits": {"cpu": "5", "memory": "1Gi"}}},
            ],
            "containers": [{"name": "main", "resources": {"limits": {"cpu": "2", "memory": "1Gi",
                "resource.katalyst.kubewharf.io/milligpu": "500"}}}],
            "overhead": {"cpu": "250m"},
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}, {"operator": "Gt"}],
        },
    }))
    .unwrap();
    let request = pod_request(&pod).unwrap();
    assert_eq!(
        request.cpu.get(),
        6_250,
        "the init container beside the sidecar"
    );
    assert!(request.guaranteed);
    assert_eq!(request.numa, NumaRequest::One { among: None });
    assert_eq!(
        request.tolerations.len(),
        1,
        "an operator that nobody knows tolerates nothing"
    );
    let roles: Vec<Role> = request.containers.iter().map(|each| each.role).collect();
    assert_eq!(roles, [Role::Sidecar, Role::Init, Role::App]);
    assert_eq!(
        request.containers[2].gpus,
        Some(GpuRequest {
            cards: 2,
            amount: CardAmount::Part {
                percent: 25,
                memory: CardMemory::Percent(25)
            },
        })
    );
    let near = Near {
        scope: Scope::Numa,
        required: false,
    };
    assert_eq!(request.affinity.gpus, Some(near));
    assert_eq!(pod_request(&Pod::default()), Ok(PodRequest::default()));
    let unread = machine(&CustomNodeResource::default());
    assert_eq!(
        unread,
        (
            Machine::new(katalyst_core::placement::machine::MachineSpec::default()),
            vec![]
        )
    );
}
