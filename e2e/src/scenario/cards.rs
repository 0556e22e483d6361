//! GPUs and RDMA cards on a real API server and kube-scheduler: a hundred declared nodes whose custom resources name devices, as agents would.
//!
//! Nothing runs on these nodes; what is shown is the way from a pod's wishes to the record in its Binding, or to the reason in its event. A thread keeps
//! the nodes' and the reports' times fresh.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};

use super::world::NAMESPACE;
use super::{Outcome, Scenario, Verdict, World};
use crate::kubectl::{Kubectl, wait_for};

/// Declared nodes: the first half with eight cards and eight network cards each, the others with four smaller cards.
const NODES: usize = 100;
/// Label and taint that keep everything else away.
const DECLARED: &str = "katalyst.local/hollow";
/// Between two signs of life; kube-controller-manager waits 40 s, the extender 60 s.
const ALIVE: Duration = Duration::from_secs(15);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "cards-on-100-nodes",
        claim: "on 100 declared nodes pods get the cards and network cards they ask for, named in the Binding, or the reason why not",
        run: |world| on_declared_nodes(world, wishes),
    }]
}

fn name_of(index: usize) -> String {
    format!("declared-{index}")
}

fn is_large(index: usize) -> bool {
    index < NODES / 2
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn node(index: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name_of(index),
            // Not linux: the agents' DaemonSet stays away.
            "labels": {DECLARED: "true", "kubernetes.io/hostname": name_of(index), "kubernetes.io/os": "declared"},
        },
        "spec": {"taints": [{"key": DECLARED, "value": "fake", "effect": "NoSchedule"}]},
    })
}

fn node_status(index: usize) -> Value {
    let size = json!({"cpu": "96", "memory": "512Gi", "pods": "110"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name_of(index)},
        "status": {
            "allocatable": size, "capacity": size,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Declared", "lastHeartbeatTime": now()}],
        },
    })
}

fn attributes(pairs: &[(&str, String)]) -> Value {
    let named = pairs
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}));
    Value::Array(named.collect())
}

/// Two NUMA nodes; below each, two switches (one on small nodes' cards), each with two cards and, on large nodes, two network cards.
fn zones(index: usize) -> Value {
    let (model, memory, switches) = if is_large(index) {
        ("NVIDIA-H100-80GB-HBM3", "81920Mi", 2)
    } else {
        ("NVIDIA-T4", "15360Mi", 1)
    };
    let numa = |numa: usize| {
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
                pairs.extend([
                    ("uuid", format!("GPU-{index}-{numa}-{switch}-{card}")),
                    ("minor", number.to_string()),
                    ("model", model.to_owned()),
                    ("pci_id", "10de:2330".to_owned()),
                ]);
                let amounts = json!({"resource.katalyst.kubewharf.io/milligpu": "1000", "resource.katalyst.kubewharf.io/gpu_memory": memory});
                children.push(json!({"type": "GPU", "name": pairs[0].1, "resources": {"capacity": amounts, "allocatable": amounts}, "attributes": attributes(&pairs)}));
                if is_large(index) {
                    let mut pairs = place(4 + card);
                    pairs.push(("active_ports", "1".to_owned()));
                    children.push(json!({"type": "RDMA", "name": format!("mlx5_{number}"), "attributes": attributes(&pairs)}));
                }
            }
        }
        let amounts = json!({"cpu": "48", "memory": "256Gi"});
        json!({"type": "Socket", "name": numa.to_string(), "children": [
            {"type": "Numa", "name": numa.to_string(), "resources": {"capacity": amounts, "allocatable": amounts},
             "attributes": attributes(&[("physical_cores", "24".to_owned())]), "children": children},
        ]})
    };
    json!([numa(0), numa(1)])
}

fn report(index: usize, status: bool) -> Value {
    let mut cnr = json!({
        "apiVersion": "node.katalyst.kubewharf.io/v1alpha1", "kind": "CustomNodeResource",
        "metadata": {"name": name_of(index)},
        "spec": {},
    });
    if status {
        // As the agent of an idle node reports.
        let idle = json!({"cpu": "1", "memory": "4Gi"});
        cnr["status"] = json!({
            "topologyZone": zones(index),
            "nodeMetricStatus": {
                "updateTime": now(),
                "agent": {"cgroup": "v2", "startTime": "2026-01-01T00:00:00Z", "version": "0.1.0"},
                "capacity": {"cpu": "96", "memory": "512Gi"},
                "nodeMetric": {"genericUsage": idle},
                "servicePeak": {"filledSeconds": 30, "samples": 30, "windowSeconds": 30, "usage": idle},
            },
        });
    }
    cnr
}

fn all(of: impl Fn(usize) -> Value) -> String {
    list(&(0..NODES).map(of).collect::<Vec<_>>())
}

/// The nodes, kept alive until dropped and then removed.
struct Declared {
    kubectl: Kubectl,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Declared {
    fn raise(world: &World) -> Result<Self, String> {
        let kubectl = world.kubectl.clone();
        let text = |error: crate::kubectl::KubectlError| error.to_string();
        let mut declared = Self {
            kubectl: kubectl.clone(),
            stop: None,
            thread: None,
        };
        kubectl
            .feed(&["apply", "--server-side", "-f", "-"], Some(&all(node)))
            .map_err(text)?;
        sign_of_life(&kubectl)?;
        kubectl
            .feed(
                &["apply", "--server-side", "-f", "-"],
                Some(&all(|index| report(index, false))),
            )
            .map_err(text)?;
        reports(&kubectl)?;
        let (stop, stopped) = channel();
        declared.stop = Some(stop);
        declared.thread = Some(std::thread::spawn(move || {
            while stopped.recv_timeout(ALIVE) == Err(RecvTimeoutError::Timeout) {
                for told in [sign_of_life(&kubectl), reports(&kubectl)] {
                    if let Err(error) = told {
                        println!("    a sign of life of the declared nodes: {error}");
                    }
                }
            }
        }));
        wait_for("declared nodes ready", Duration::from_secs(60), || {
            let nodes = declared
                .kubectl
                .json(&["get", "nodes", "-l", "kubernetes.io/os=declared"])
                .map_err(text)?;
            let ready = nodes["items"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|node| {
                    node["spec"]["taints"]
                        .as_array()
                        .is_some_and(|taints| taints.len() == 1)
                })
                .count();
            if ready == NODES {
                Ok(())
            } else {
                Err(format!("{ready} of {NODES}"))
            }
        })?;
        Ok(declared)
    }
}

impl Drop for Declared {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        // Their custom resources go with them.
        let words = [
            "delete",
            "nodes",
            "-l",
            "kubernetes.io/os=declared",
            "--wait=false",
        ];
        if let Err(error) = self.kubectl.run(&words) {
            println!("    {error}");
        }
    }
}

fn apply_status(kubectl: &Kubectl, objects: &str) -> Result<(), String> {
    kubectl
        .feed(
            &[
                "apply",
                "--server-side",
                "--force-conflicts",
                "--subresource=status",
                "-f",
                "-",
            ],
            Some(objects),
        )
        .map(drop)
        .map_err(|error| error.to_string())
}

fn sign_of_life(kubectl: &Kubectl) -> Result<(), String> {
    apply_status(kubectl, &all(node_status))
}

fn reports(kubectl: &Kubectl) -> Result<(), String> {
    apply_status(kubectl, &all(|index| report(index, true)))
}

fn on_declared_nodes(world: &World, run: fn(&World) -> Outcome) -> Outcome {
    if world.kind {
        return Ok(Verdict::Skipped(
            "a hundred nodes more are for the local cluster".into(),
        ));
    }
    let declared = Declared::raise(world)?;
    let outcome = run(world);
    world.clear();
    drop(declared);
    outcome
}

/// A pod for the declared nodes. `wishes` are the keys of the annotation `device_enhancement`.
fn pod(name: &str, amounts: &Value, wishes: &Value) -> Value {
    let annotations = if wishes.as_object().is_some_and(serde_json::Map::is_empty) {
        json!({})
    } else {
        json!({"katalyst.kubewharf.io/device_enhancement": wishes.to_string()})
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "nodeSelector": {"kubernetes.io/os": "declared"},
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "main", "image": "katalyst.local/busybox:1", "resources": {"limits": amounts, "requests": amounts}}],
        },
    })
}

fn milligpu(amount: u64) -> Value {
    json!({"resource.katalyst.kubewharf.io/milligpu": amount.to_string()})
}

/// What a bound pod was given: its node, its cards with percent (100 for a whole one), its network cards.
struct Given {
    node: String,
    cards: Vec<(String, u64)>,
    nics: Vec<String>,
}

fn given(pod: &Value) -> Result<Given, String> {
    let name = &pod["metadata"]["name"];
    let node = pod["spec"]["nodeName"]
        .as_str()
        .ok_or_else(|| format!("{name} is not bound"))?;
    let record = pod["metadata"]["annotations"]["katalyst.kubewharf.io/device_allocation"]
        .as_str()
        .ok_or_else(|| format!("{name} has no record of devices"))?;
    let record: Value =
        serde_json::from_str(record).map_err(|error| format!("{name}: {error}: {record}"))?;
    let main = &record["containers"]["main"];
    let texts = |key: &str, field: &str| -> Vec<String> {
        main[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|device| device[field].as_str().map(str::to_owned))
            .collect()
    };
    let percents = main["gpus"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|card| card["percent"].as_u64().unwrap_or(100));
    Ok(Given {
        node: node.to_owned(),
        cards: texts("gpus", "uuid").into_iter().zip(percents).collect(),
        nics: texts("nics", "name"),
    })
}

fn place(world: &World, pod: &Value) -> Result<Given, String> {
    world
        .kubectl
        .apply(&pod.to_string())
        .map_err(|error| error.to_string())?;
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    wait_for(&format!("{name} bound"), Duration::from_secs(30), || {
        given(&world.pod(name)?).map_err(|error| {
            format!(
                "{error}; {}",
                refusal(world, name).unwrap_or_else(|error| error)
            )
        })
    })
}

/// kube-scheduler's words about a pod that it cannot place.
fn refusal(world: &World, name: &str) -> Result<String, String> {
    let pod = world.pod(name)?;
    pod["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")
        .and_then(|condition| condition["message"].as_str().map(str::to_owned))
        .ok_or_else(|| "kube-scheduler has said nothing yet".to_owned())
}

fn refused(world: &World, pod: &Value, reason: &str) -> Result<String, String> {
    world
        .kubectl
        .apply(&pod.to_string())
        .map_err(|error| error.to_string())?;
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    wait_for(
        &format!("{name} refused for `{reason}`"),
        Duration::from_secs(30),
        || {
            let words = refusal(world, name)?;
            if words.contains(reason) {
                Ok(words)
            } else {
                Err(words)
            }
        },
    )
}

/// The part of a card's name that stands for its switch: node, NUMA node, switch.
fn switch_of(uuid: &str) -> &str {
    uuid.rsplit_once('-').map_or(uuid, |(switch, _)| switch)
}

fn wishes(world: &World) -> Outcome {
    let mut pair = milligpu(2_000);
    pair["resource.katalyst.kubewharf.io/rdma_nic"] = json!("2");
    let near = json!({"gpu_rdma_affinity": "required:switch", "gpu_affinity": "required:switch"});
    let joint = place(world, &pod("joint", &pair, &near))?;
    let switches: BTreeSet<&str> = joint
        .cards
        .iter()
        .map(|(uuid, _)| switch_of(uuid))
        .collect();
    if joint.cards.len() != 2 || joint.nics.len() != 2 || switches.len() != 1 {
        return Err(format!(
            "two cards and two network cards on one switch: {:?} {:?}",
            joint.cards, joint.nics
        ));
    }
    let mut quarters = BTreeMap::<String, u64>::new();
    for index in 0..4 {
        let quarter = place(
            world,
            &pod(
                &format!("quarter-{index}"),
                &milligpu(250),
                &json!({"gpu_models": "T4"}),
            ),
        )?;
        for (uuid, percent) in quarter.cards {
            *quarters.entry(uuid).or_default() += percent;
        }
    }
    if quarters.values().sum::<u64>() != 100 {
        return Err(format!("four quarters of cards: {quarters:?}"));
    }
    let uuid = "GPU-7-1-0-1";
    let named = place(
        world,
        &pod("named", &milligpu(1_000), &json!({"gpu_uuids": uuid})),
    )?;
    if named.node != name_of(7) || named.cards != [(uuid.to_owned(), 100)] {
        return Err(format!("asked for {uuid}, got {:?}", named.cards));
    }
    let model = refused(
        world,
        &pod(
            "no-such-model",
            &milligpu(1_000),
            &json!({"gpu_models": "B200"}),
        ),
        "too few GPUs of the requested model or UUID",
    )?;
    refused(
        world,
        &pod("taken", &milligpu(500), &json!({"gpu_uuids": uuid})),
        "insufficient free GPUs",
    )?;
    refused(
        world,
        &pod(
            "no-network-card",
            &{
                let mut amounts = milligpu(1_000);
                amounts["resource.katalyst.kubewharf.io/rdma_nic"] = json!("1");
                amounts
            },
            &json!({"gpu_models": "T4"}),
        ),
        "too few RDMA network cards",
    )?;
    Ok(Verdict::Shown(format!(
        "{:?} with {:?} on {}; four quarters on {} card(s); {uuid} by name; refused: {}",
        joint.cards.iter().map(|(uuid, _)| uuid).collect::<Vec<_>>(),
        joint.nics,
        joint.node,
        quarters.len(),
        model.chars().take(160).collect::<String>()
    )))
}
