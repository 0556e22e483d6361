//! Shapes of declared machines: their size, and the zones that an agent would report of them (`node-agent/src/report/zones` draws the real ones).

use serde_json::{Value, json};

/// A machine that is declared and not there.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// Name of its node.
    pub(super) name: String,
    /// `capacity` and `allocatable` of its Node.
    pub(super) size: Value,
    /// `status.topologyZone` of its custom resource.
    pub(super) zones: Value,
    /// `status.topologyPolicy` of its custom resource: what its kubelet does with Guaranteed pods.
    pub(super) policy: Option<&'static str>,
}

fn attributes(pairs: &[(&str, String)]) -> Value {
    let named = pairs
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}));
    Value::Array(named.collect())
}

/// A NUMA node in a socket of its own number.
fn socket(id: usize, cpus: usize, memory_gib: usize, children: &[Value]) -> Value {
    let amounts = json!({"cpu": cpus.to_string(), "memory": format!("{memory_gib}Gi")});
    json!({"type": "Socket", "name": id.to_string(), "children": [
        {"type": "Numa", "name": id.to_string(), "resources": {"capacity": amounts, "allocatable": amounts},
         "attributes": attributes(&[("physical_cores", (cpus / 2).to_string())]), "children": children},
    ]})
}

fn size(cpus: usize, memory_gib: usize) -> Value {
    json!({"cpu": cpus.to_string(), "memory": format!("{memory_gib}Gi"), "pods": "110"})
}

impl Machine {
    /// A machine with these NUMA nodes and no devices, two threads a core.
    pub(super) fn numa(name: &str, ids: &[usize], cpus: usize, memory_gib: usize) -> Self {
        let zones = ids.iter().map(|id| socket(*id, cpus, memory_gib, &[]));
        Self {
            name: name.to_owned(),
            size: size(cpus * ids.len(), memory_gib * ids.len()),
            zones: Value::Array(zones.collect()),
            policy: None,
        }
    }

    /// The same, with a kubelet that refuses Guaranteed pods which it cannot align.
    pub(super) fn aligned_by(mut self, policy: &'static str) -> Self {
        self.policy = Some(policy);
        self
    }

    /// The same with CPUs for so much on its Node; the zones stay.
    pub(super) fn with_cpus(mut self, cpus: usize) -> Self {
        self.size["cpu"] = json!(cpus.to_string());
        self
    }

    /// Two NUMA nodes; below each two switches (one on a small machine), each with two cards and, on a large machine, two network cards.
    /// UUIDs are `GPU-MARK-NUMA-SWITCH-CARD`.
    pub(super) fn cards(name: &str, mark: &str, large: bool) -> Self {
        let zones = [0, 1].map(|numa| socket(numa, 48, 256, &switches(mark, numa, large)));
        Self {
            name: name.to_owned(),
            size: size(96, 512),
            zones: json!(zones),
            policy: None,
        }
    }
}

/// The devices below a NUMA node.
fn switches(mark: &str, numa: usize, large: bool) -> Vec<Value> {
    let (model, memory, switches) = if large {
        ("NVIDIA-H100-80GB-HBM3", "81920Mi", 2)
    } else {
        ("NVIDIA-T4", "15360Mi", 1)
    };
    let mut children = Vec::new();
    for switch in 0..switches {
        let bus = 0x10 + numa * 0x40 + switch * 0x10;
        let place = |slot: usize| {
            vec![
                ("pci_address", format!("0000:{:02x}:00.0", bus + 2 + slot)),
                ("pcie_root", format!("pci0000:{bus:02x}")),
                ("pcie_switch", format!("0000:{:02x}:00.0", bus + 1)),
            ]
        };
        for card in 0..2 {
            let number = (numa * switches + switch) * 2 + card;
            let mut pairs = place(card);
            let address = format!("0000:{:02x}:00.0", bus + 2 + card);
            pairs.extend([
                ("uuid", format!("GPU-{mark}-{numa}-{switch}-{card}")),
                ("minor", number.to_string()),
                ("model", model.to_owned()),
                ("pci_id", "10de:2330".to_owned()),
            ]);
            let amounts = json!({"resource.katalyst.kubewharf.io/milligpu": "1000", "resource.katalyst.kubewharf.io/gpu_memory": memory});
            children.push(json!({"type": "GPU", "name": address, "resources": {"capacity": amounts, "allocatable": amounts}, "attributes": attributes(&pairs)}));
            if large {
                let mut pairs = place(4 + card);
                pairs.push(("active_ports", "1".to_owned()));
                children.push(json!({"type": "RDMA", "name": format!("mlx5_{number}"), "attributes": attributes(&pairs)}));
            }
        }
    }
    children
}

/// The part of a card's name that stands for its switch: machine, NUMA node, switch.
pub(super) fn switch_of(uuid: &str) -> &str {
    uuid.rsplit_once('-').map_or(uuid, |(switch, _)| switch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(zone: &Value, kind: &str) -> usize {
        let below = zone["children"].as_array().into_iter().flatten();
        usize::from(zone["type"] == kind) + below.map(|child| count(child, kind)).sum::<usize>()
    }

    fn all(machine: &Machine, kind: &str) -> usize {
        let zones = machine.zones.as_array().unwrap();
        zones.iter().map(|zone| count(zone, kind)).sum()
    }

    #[test]
    fn shapes_have_the_devices_that_scenarios_count_on() {
        let large = Machine::cards("a", "7", true);
        assert_eq!((all(&large, "GPU"), all(&large, "RDMA")), (8, 8));
        let small = Machine::cards("a", "7", false);
        assert_eq!((all(&small, "GPU"), all(&small, "RDMA")), (4, 0));
        let plain = Machine::numa("a", &[0, 8], 16, 64);
        assert_eq!((all(&plain, "Numa"), all(&plain, "GPU")), (2, 0));
        assert_eq!(plain.size["cpu"], "32");
        assert_eq!(switch_of("GPU-7-1-0-1"), "GPU-7-1-0");
    }
}
