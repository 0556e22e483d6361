//! Virtual-machine nodes: the same manifest on cgroup v2 with two NUMA nodes, power loss, and a kernel without PSI.

use std::time::Duration;

use serde_json::Value;

use super::node::held;
use super::pods::{self, IDLE};
use super::{Outcome, Scenario, Verdict, World};
use crate::kubectl::wait_for;

const NO_MACHINE: &str = "the cluster has no virtual-machine node (start it with VMS=1)";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "machine-held",
            claim: "on a virtual machine with cgroup v2 and two NUMA nodes the same DaemonSet reports both nodes and holds a reclaimed pod",
            run: machine_held,
        },
        Scenario {
            name: "machine-without-psi",
            claim: "a kernel without PSI is said so in the CNR, and the loop works without it",
            run: machine_without_psi,
        },
        Scenario {
            name: "machine-power-loss",
            claim: "a machine that loses power offers nothing new, and joins again by itself",
            run: machine_power_loss,
        },
    ]
}

fn zones(cnr: &Value, kind: &str) -> usize {
    fn walk(zones: &Value, kind: &str) -> usize {
        zones
            .as_array()
            .into_iter()
            .flatten()
            .map(|zone| usize::from(zone["type"] == kind) + walk(&zone["children"], kind))
            .sum()
    }
    walk(&cnr["status"]["topologyZone"], kind)
}

fn machine_held(world: &World) -> Outcome {
    let Some(node) = world.machine_node()? else {
        return Ok(Verdict::Skipped(NO_MACHINE.into()));
    };
    let cnr = world.product.cnr(&node)?;
    let numa = zones(&cnr, "Numa");
    let version = cnr["status"]["nodeMetricStatus"]["agent"]["cgroup"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if numa != 2 || version != "v2" {
        return Err(format!("{numa} NUMA zones, cgroup {version:?}"));
    }
    let pod = held(world, "in-machine", &node, 100, IDLE)?;
    let limits = world.limits(&pod)?;
    world
        .kubectl
        .apply(&pods::best_effort("plain-in-machine", Some(&node), IDLE).to_string())
        .map_err(|e| e.to_string())?;
    let plain = world.limits(&world.wait_running("plain-in-machine")?)?;
    if plain.millicpu.is_some() || plain.memory.is_some() {
        return Err(format!("a plain pod was limited: {plain:?}"));
    }
    world.remove("in-machine")?;
    world.remove("plain-in-machine")?;
    Ok(Verdict::Shown(format!(
        "cgroup v2, {numa} NUMA zones, {limits:?}; a plain pod beside it has no limit"
    )))
}

fn machine_without_psi(world: &World) -> Outcome {
    for node in world.nodes()? {
        let present = world.probe.shell(&node, "[ -f /proc/pressure/cpu ] && busybox cat /proc/pressure/cpu >/dev/null 2>&1 && echo yes || echo no")?;
        if present.trim() == "no" {
            let notices =
                world.product.cnr(&node)?["status"]["nodeMetricStatus"]["agent"]["notices"]
                    .to_string();
            if !notices.to_lowercase().contains("pressure") {
                return Err(format!(
                    "node {node} has no PSI, but its notices are {notices}"
                ));
            }
            held(world, "without-psi", &node, 100, IDLE)?;
            world.remove("without-psi")?;
            return Ok(Verdict::Shown(format!("node {node}: {notices}")));
        }
    }
    Ok(Verdict::Skipped(
        "every node of this cluster has PSI".into(),
    ))
}

fn machine_power_loss(world: &World) -> Outcome {
    if world.breakable.is_none() {
        return Ok(Verdict::Skipped(
            "the machines of this cluster are not ours to switch off".into(),
        ));
    }
    let Some(node) = world.machine_node()? else {
        return Ok(Verdict::Skipped(NO_MACHINE.into()));
    };
    let offered = world.wait_offer(&node, 100)?;
    let component = node.strip_prefix("node-").unwrap_or(&node).to_owned();
    world.fault(&["stop", &component])?;
    wait_for("the silence shows", Duration::from_secs(150), || {
        let cnr = world.product.cnr(&node)?;
        let offered = crate::product::offered_millicpu(&cnr);
        if !crate::product::ready(&cnr) && offered == 0 {
            Ok(())
        } else {
            Err(format!(
                "ready {}, offers {offered}m",
                crate::product::ready(&cnr)
            ))
        }
    })?;
    let message = world.product.cnr(&node)?["status"]["conditions"].to_string();
    world
        .kubectl
        .apply(&pods::reclaimed("no-place", Some(&node), "50", "8Mi", IDLE).to_string())
        .map_err(|e| e.to_string())?;
    let told = wait_for("the pod is told why", Duration::from_secs(60), || {
        let pod = world.pod("no-place")?;
        if pod["spec"]["nodeName"].is_string() {
            return Err("it was placed on a dead node".to_owned());
        }
        let text = pod["status"]["conditions"][0]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if text.is_empty() {
            Err("no message yet".to_owned())
        } else {
            Ok(text)
        }
    })?;
    world.remove("no-place")?;
    world.fault(&["start", &component])?;
    let back = wait_for("it offers again", Duration::from_secs(240), || {
        let cnr = world.product.cnr(&node)?;
        let offered = crate::product::offered_millicpu(&cnr);
        if crate::product::ready(&cnr) && offered > 0 {
            Ok(offered)
        } else {
            Err(format!(
                "ready {}, offers {offered}m",
                crate::product::ready(&cnr)
            ))
        }
    })?;
    Ok(Verdict::Shown(format!(
        "{offered}m, then none ({}); a pod was told: {told}; back with {back}m",
        message.chars().take(120).collect::<String>()
    )))
}
