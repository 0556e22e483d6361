//! Nodes as their agents report them: two sockets, eight GPUs, and on three of four nodes eight RDMA network cards in pairs below four switches.

use serde_json::{Value, json};

/// GPUs of a node.
pub(crate) const CARDS: usize = 8;
/// Time of the nodes' reports, and of the extender's clock.
pub(crate) const NOW: i64 = 1_767_225_600_000;
const REPORTED: &str = "2026-01-01T00:00:00Z";

/// Name of a node, as long as cloud providers make them.
pub(crate) fn name(index: usize) -> String {
    format!("cluster-pool-a-node-{index:05}")
}

/// UUID of a node's GPU.
pub(crate) fn card(index: usize, card: usize) -> String {
    format!("GPU-{index:08x}-6d52-4a5e-9c42-{card:012x}")
}

/// A node's custom resource. `round` makes the reported use differ, as it does from report to report.
pub(crate) fn resource(index: usize, round: usize) -> Value {
    let used = 10 + (index * 7 + round * 3) % 50;
    let offer = 16 + index as u64 % 7 * 8;
    json!({
        "apiVersion": "node.katalyst.kubewharf.io/v1alpha1", "kind": "CustomNodeResource",
        "metadata": {"name": name(index)},
        "spec": {},
        "status": {
            "resources": {"allocatable": {
                "resource.katalyst.kubewharf.io/reclaimed_millicpu": (offer * 1000).to_string(),
                "resource.katalyst.kubewharf.io/reclaimed_memory": format!("{}Gi", offer * 4),
            }},
            "topologyPolicy": "None",
            "topologyZone": [socket(index, 0), socket(index, 1)],
            "conditions": [{"type": "AgentReady", "status": "True"}],
            "nodeMetricStatus": {
                "updateTime": REPORTED,
                "capacity": {"cpu": "96", "memory": "1Ti"},
                "nodeMetric": {"genericUsage": {"cpu": used.to_string(), "memory": format!("{}Gi", used * 8)}},
                "servicePeak": {"usage": {"cpu": "60", "memory": "500Gi"}},
            },
        },
    })
}

fn socket(index: usize, socket: usize) -> Value {
    let mut children = Vec::new();
    for switch in [socket * 2, socket * 2 + 1] {
        let address = format!("0000:{switch}0:00.0");
        let (root, parent) = (format!("pci0000:{switch}0"), address.as_str());
        children.push(json!({"type": "PCIeSwitch", "name": address, "attributes": attributes(&[("pci_address", parent), ("pcie_root", &root)])}));
        for at in [switch * 2, switch * 2 + 1] {
            children.push(gpu(index, at, &root, parent));
            if index % 4 != 3 {
                children.push(nic(at, &root, parent));
            }
        }
    }
    let amounts = json!({"cpu": "48", "memory": "512Gi"});
    json!({"type": "Socket", "name": socket.to_string(), "children": [{
        "type": "Numa", "name": socket.to_string(),
        "resources": {"capacity": amounts, "allocatable": amounts},
        "attributes": attributes(&[("physical_cores", "24")]),
        "siblings": [{"type": "Numa", "name": (1 - socket).to_string(), "attributes": attributes(&[("numa_distance", "21")])}],
        "children": children,
    }]})
}

fn gpu(index: usize, at: usize, root: &str, switch: &str) -> Value {
    let (model, memory) = if index % 4 == 3 {
        ("NVIDIA L40S", "48Gi")
    } else {
        ("NVIDIA H100 80GB HBM3", "80Gi")
    };
    let amounts = json!({"resource.katalyst.kubewharf.io/milligpu": "1000", "resource.katalyst.kubewharf.io/gpu_memory": memory});
    let address = format!("0000:{}{}:00.0", at / 2, at % 2 + 1);
    json!({
        "type": "GPU", "name": address,
        "resources": {"capacity": amounts, "allocatable": amounts},
        "attributes": attributes(&[("pci_address", &address), ("pcie_root", root), ("pcie_switch", switch), ("pci_id", "10de:2330"),
            ("uuid", &card(index, at)), ("model", model), ("minor", &at.to_string())]),
    })
}

fn nic(at: usize, root: &str, switch: &str) -> Value {
    let address = format!("0000:{}{}:00.0", at / 2, at % 2 + 5);
    json!({
        "type": "RDMA", "name": format!("mlx5_{at}"),
        "attributes": attributes(&[("pci_address", &address), ("pcie_root", root), ("pcie_switch", switch), ("active_ports", "1"),
            ("interfaces", &format!("eth{at}"))]),
    })
}

fn attributes(of: &[(&str, &str)]) -> Value {
    of.iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}
