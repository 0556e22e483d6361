//! Declared nodes: Node objects and custom resources of machines that are not there, kept fresh as kubelets and agents would.
//!
//! Nothing runs on them. What they show is the way from a pod's wishes to the record in its Binding, or to the reason in its event, through the real API
//! server, kube-scheduler and extender.

use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};

use super::shapes::Machine;
use super::{Outcome, Verdict, World};
use crate::kubectl::{Kubectl, wait_for};

/// Label and taint that keep everything else away.
const HOLLOW: &str = "katalyst.local/hollow";
/// Label that tells one scenario's nodes from another's: those of the one before may not be quite gone.
const FLEET: &str = "katalyst.local/fleet";
/// Between two signs of life; kube-controller-manager waits 40 s, the extender 60 s.
const ALIVE: Duration = Duration::from_secs(15);

/// The selector of a pod that belongs on a fleet.
pub(super) fn selector(fleet: &str) -> Value {
    json!({FLEET: fleet})
}

/// Runs a scenario on machines of its own, and removes them and every pod afterwards.
pub(super) fn on(
    world: &World,
    fleet: &'static str,
    machines: Vec<Machine>,
    run: impl FnOnce(&World) -> Outcome,
) -> Outcome {
    if world.kind {
        return Ok(Verdict::Skipped(
            "declared nodes are for the local cluster".into(),
        ));
    }
    let declared = Declared::raise(world, fleet, machines)?;
    let outcome = run(world);
    world.clear();
    drop(declared);
    outcome
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

pub(super) fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn node(fleet: &str, machine: &Machine) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": machine.name,
            // Not linux: the agents' DaemonSet stays away.
            "labels": {HOLLOW: "true", FLEET: fleet, "kubernetes.io/hostname": machine.name, "kubernetes.io/os": "declared"},
        },
        "spec": {"taints": [{"key": HOLLOW, "value": "fake", "effect": "NoSchedule"}]},
    })
}

fn node_status(machine: &Machine) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": machine.name},
        "status": {
            "allocatable": machine.size, "capacity": machine.size,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Declared", "lastHeartbeatTime": now()}],
        },
    })
}

/// The custom resource; with its status as the agent of an idle node reports.
fn report(machine: &Machine, status: bool) -> Value {
    let mut cnr = json!({
        "apiVersion": "node.katalyst.kubewharf.io/v1alpha1", "kind": "CustomNodeResource",
        "metadata": {"name": machine.name},
        "spec": {},
    });
    if status {
        let idle = json!({"cpu": "1", "memory": "4Gi"});
        cnr["status"] = json!({
            "topologyZone": machine.zones,
            "nodeMetricStatus": {
                "updateTime": now(),
                "agent": {"cgroup": "v2", "startTime": "2026-01-01T00:00:00Z", "version": "0.1.0"},
                "capacity": {"cpu": machine.size["cpu"], "memory": machine.size["memory"]},
                "nodeMetric": {"genericUsage": idle},
                "servicePeak": {"filledSeconds": 30, "samples": 30, "windowSeconds": 30, "usage": idle},
            },
        });
        if let Some(policy) = machine.policy {
            cnr["status"]["topologyPolicy"] = json!(policy);
        }
    }
    cnr
}

/// The custom resource of a hollow node with four declared cards; with its status as the agent of an idle node reports.
pub(crate) fn declared_cards(name: &str, status: bool) -> Value {
    report(&Machine::cards(name, name, false), status)
}

/// The machines of a scenario, kept alive until dropped and then removed.
struct Declared {
    kubectl: Kubectl,
    fleet: &'static str,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Declared {
    fn raise(world: &World, fleet: &'static str, machines: Vec<Machine>) -> Result<Self, String> {
        let kubectl = world.kubectl.clone();
        let mut declared = Self {
            kubectl: kubectl.clone(),
            fleet,
            stop: None,
            thread: None,
        };
        let count = machines.len();
        let apply = ["apply", "--server-side", "-f", "-"];
        let nodes: Vec<Value> = machines.iter().map(|each| node(fleet, each)).collect();
        kubectl
            .feed(&apply, Some(&list(&nodes)))
            .map_err(|error| error.to_string())?;
        sign_of_life(&kubectl, &machines)?;
        let bare: Vec<Value> = machines.iter().map(|each| report(each, false)).collect();
        kubectl
            .feed(&apply, Some(&list(&bare)))
            .map_err(|error| error.to_string())?;
        reports(&kubectl, &machines)?;
        let (stop, stopped) = channel();
        declared.stop = Some(stop);
        declared.thread = Some(std::thread::spawn(move || {
            while stopped.recv_timeout(ALIVE) == Err(RecvTimeoutError::Timeout) {
                for told in [
                    sign_of_life(&kubectl, &machines),
                    reports(&kubectl, &machines),
                ] {
                    if let Err(error) = told {
                        println!("    a sign of life of the declared nodes: {error}");
                    }
                }
            }
        }));
        wait_for("declared nodes ready", Duration::from_secs(60), || {
            declared.ready(count)
        })?;
        Ok(declared)
    }

    /// Whether kube-controller-manager has taken its own taints off every node.
    fn ready(&self, count: usize) -> Result<(), String> {
        let label = format!("{FLEET}={}", self.fleet);
        let nodes = self
            .kubectl
            .json(&["get", "nodes", "-l", &label])
            .map_err(|error| error.to_string())?;
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
        if ready == count {
            Ok(())
        } else {
            Err(format!("{ready} of {count}"))
        }
    }
}

impl Drop for Declared {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        // Their custom resources go with them.
        let label = format!("{FLEET}={}", self.fleet);
        let words = ["delete", "nodes", "-l", &label, "--wait=false"];
        if let Err(error) = self.kubectl.run(&words) {
            println!("    {error}");
        }
    }
}

fn apply_status(kubectl: &Kubectl, objects: &[Value]) -> Result<(), String> {
    let words = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--subresource=status",
        "-f",
        "-",
    ];
    kubectl
        .feed(&words, Some(&list(objects)))
        .map(drop)
        .map_err(|error| error.to_string())
}

fn sign_of_life(kubectl: &Kubectl, machines: &[Machine]) -> Result<(), String> {
    let all: Vec<Value> = machines.iter().map(node_status).collect();
    apply_status(kubectl, &all)
}

fn reports(kubectl: &Kubectl, machines: &[Machine]) -> Result<(), String> {
    let all: Vec<Value> = machines.iter().map(|each| report(each, true)).collect();
    apply_status(kubectl, &all)
}
