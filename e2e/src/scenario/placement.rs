//! CPUs and memory nodes of pods, told by the pods themselves: the first process of each container prints what it saw before anything else,
//! and again whenever it changes (`katalyst-workload seen`).

use std::time::Duration;

use katalyst_core::cpu_set::CpuSet;
use serde_json::{Value, json};

use super::pods;
use super::world::NAMESPACE;
use super::{Outcome, Scenario, Verdict, World, faults};
use crate::kubectl::wait_for;
use crate::workload::seen::Line;

const KIND: &str = "kind's nodes share one kernel, and so each other's CPUs";
/// The reconciler's interval with room for a busy machine of two CPUs that also runs the API server.
const RECONCILED: Duration = Duration::from_secs(30);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "placed-from-the-start",
            claim: "dedicated, shared and reclaimed pods on two NUMA nodes have their CPUs and memory nodes at their first instruction, and nothing moves them afterwards",
            run: placed_from_the_start,
        },
        Scenario {
            name: "placed-through-restarts",
            claim: "restarts of agent, containerd and kubelet do not move a running pod, and a pod made afterwards starts placed",
            run: placed_through_restarts,
        },
        Scenario {
            name: "placed-without-nri",
            claim: "without NRI the same pods have the same CPUs and memory nodes within one reconcile",
            run: placed_without_nri,
        },
    ]
}

/// The three pods of a node: a dedicated one bound to a NUMA node, a shared and a reclaimed one.
const OWN: &str = "placed-own";
const AMONG: &str = "placed-among";
const BATCH: &str = "placed-batch";

/// Where the dedicated pod goes.
struct Place {
    node: String,
    /// What it asks for.
    cpus: &'static str,
    /// NUMA node.
    numa: &'static str,
}

impl Place {
    /// The second NUMA node of a virtual machine where there is one, else one CPU of the host.
    fn of(world: &World) -> Result<Self, String> {
        Ok(match world.machine_node()? {
            Some(node) => Self {
                node,
                cpus: "2",
                numa: "1",
            },
            None => Self {
                node: world.main_node()?,
                cpus: "1",
                numa: "0",
            },
        })
    }

    /// Whether the dedicated pod has what it asked for, and the others none of it.
    fn holds(&self, own: &CpuSet, mems: &str, others: [&CpuSet; 2]) -> bool {
        own.len().to_string() == self.cpus
            && mems == self.numa
            && (self.numa == "0" || own.to_string() == "2-3")
            && others
                .iter()
                .all(|set| !set.is_empty() && set.intersection(own).is_empty())
    }
}

fn apply(world: &World, pod: &Value) -> Result<(), String> {
    world
        .kubectl
        .apply(&pod.to_string())
        .map(drop)
        .map_err(|e| e.to_string())
}

fn own(node: &str, cpus: &str, numa: &str) -> Value {
    // The scheduler's choice comes as this annotation, in the Binding; here the test is the scheduler.
    let annotations = json!({
        "katalyst.kubewharf.io/qos_level": "dedicated_cores",
        "katalyst.kubewharf.io/memory_enhancement": "{\"numa_binding\": \"true\"}",
        "katalyst.kubewharf.io/numa_bind_result": numa,
    });
    let amounts = json!({"cpu": cpus, "memory": "64Mi"});
    let resources = json!({"requests": amounts, "limits": amounts});
    pods::seen(OWN, node, &annotations, &resources)
}

fn among(name: &str, node: &str) -> Value {
    let annotations = json!({"katalyst.kubewharf.io/qos_level": "shared_cores"});
    let resources = json!({"requests": {"cpu": "100m", "memory": "16Mi"}});
    pods::seen(name, node, &annotations, &resources)
}

fn batch(name: &str, node: &str) -> Value {
    let annotations = json!({"katalyst.kubewharf.io/qos_level": "reclaimed_cores"});
    let amounts = json!({
        "resource.katalyst.kubewharf.io/reclaimed_millicpu": "100",
        "resource.katalyst.kubewharf.io/reclaimed_memory": "32Mi",
    });
    pods::seen(
        name,
        node,
        &annotations,
        &json!({"requests": amounts, "limits": amounts}),
    )
}

/// What a pod has seen so far; at least one line.
pub(super) fn lines(world: &World, name: &str) -> Result<Vec<Line>, String> {
    wait_for(
        &format!("a line of {name}"),
        Duration::from_secs(60),
        || {
            let text = world
                .kubectl
                .run(&["-n", NAMESPACE, "logs", name])
                .map_err(|e| e.to_string())?;
            let lines: Vec<Line> = text
                .lines()
                .map(|line| serde_json::from_str(line).map_err(|e| format!("{line}: {e}")))
                .collect::<Result<_, _>>()?;
            if lines.is_empty() {
                Err("nothing yet".to_owned())
            } else {
                Ok(lines)
            }
        },
    )
}

/// The CPUs and memory nodes of a pod that never changed.
fn steady(world: &World, name: &str) -> Result<(CpuSet, String), String> {
    let lines = lines(world, name)?;
    let story: Vec<String> = lines.iter().map(told).collect();
    let [line] = lines.as_slice() else {
        return Err(format!("{name} was moved: {}", story.join(", then ")));
    };
    Ok((cpus(line)?, line.seen.mems.clone()))
}

fn told(line: &Line) -> String {
    format!(
        "{} ms: cpus {}, mems {}",
        line.after_ms, line.seen.cpus, line.seen.mems
    )
}

fn cpus(line: &Line) -> Result<CpuSet, String> {
    CpuSet::parse(&line.seen.cpus).map_err(|e| e.to_string())
}

/// What a node's agent serves at `path`.
pub(super) fn agent_get(world: &World, node: &str, path: &str) -> Result<String, String> {
    let pods = world.product_pods("katalyst-node-agent")?;
    let pod = pods
        .iter()
        .find(|pod| pod["spec"]["nodeName"] == node)
        .and_then(|pod| pod["metadata"]["name"].as_str())
        .ok_or_else(|| format!("no agent on {node}"))?;
    let path = format!(
        "/api/v1/namespaces/{}/pods/{pod}:10261/proxy/{path}",
        crate::product::NAMESPACE
    );
    world
        .kubectl
        .run(&["get", "--raw", &path])
        .map_err(|e| e.to_string())
}

/// What `/debug/state` of a node's agent says of the runtime's hook.
fn hook(world: &World, node: &str) -> Result<Value, String> {
    let state = agent_get(world, node, "debug/state")?;
    let state: Value = serde_json::from_str(&state).map_err(|e| e.to_string())?;
    Ok(state["nri"].clone())
}

pub(super) fn wait_hooked(world: &World, node: &str) -> Result<Value, String> {
    wait_for(
        &format!("the runtime of {node} asks the agent"),
        Duration::from_secs(90),
        || {
            let hook = hook(world, node)?;
            if hook["phase"] == "synchronized" {
                Ok(hook)
            } else {
                Err(hook.to_string())
            }
        },
    )
}

fn remove_all(world: &World, names: &[&str]) -> Result<(), String> {
    names.iter().try_for_each(|name| world.remove(name))
}

fn placed_from_the_start(world: &World) -> Outcome {
    if world.kind {
        return Ok(Verdict::Skipped(KIND.into()));
    }
    let place = Place::of(world)?;
    let node = &place.node;
    wait_hooked(world, node)?;
    world.wait_offer(node, 100)?;
    // In this order: a dedicated pod that comes later rightly shrinks the others.
    apply(world, &own(node, place.cpus, place.numa))?;
    world.wait_running(OWN)?;
    apply(world, &among(AMONG, node))?;
    apply(world, &batch(BATCH, node))?;
    world.wait_running(AMONG)?;
    world.wait_running(BATCH)?;
    // Several rounds of the reconciler.
    std::thread::sleep(RECONCILED);
    let (own, mems) = steady(world, OWN)?;
    let (among, _) = steady(world, AMONG)?;
    let (batch, _) = steady(world, BATCH)?;
    let seen = format!("dedicated cpus {own} mems {mems}, shared {among}, reclaimed {batch}");
    if !place.holds(&own, &mems, [&among, &batch]) {
        return Err(format!("not where they belong: {seen}"));
    }
    remove_all(world, &[OWN, AMONG, BATCH])?;
    Ok(Verdict::Shown(format!("{node}, one line each: {seen}")))
}

fn placed_through_restarts(world: &World) -> Outcome {
    if world.breakable.is_none() {
        return Ok(Verdict::Skipped(
            "containerd and kubelet of this cluster are not ours to restart".into(),
        ));
    }
    let node = world.main_node()?;
    wait_hooked(world, &node)?;
    world.wait_offer(&node, 100)?;
    apply(world, &own(&node, "1", "0"))?;
    world.wait_running(OWN)?;
    apply(world, &among(AMONG, &node))?;
    apply(world, &batch(BATCH, &node))?;
    world.wait_running(AMONG)?;
    world.wait_running(BATCH)?;
    let places = || -> Result<[(CpuSet, String); 3], String> {
        Ok([
            steady(world, OWN)?,
            steady(world, AMONG)?,
            steady(world, BATCH)?,
        ])
    };
    let before = places()?;
    let [(own, _), (among, _), (batch_cpus, _)] = &before;
    if own.len() != 1
        || !own.intersection(among).is_empty()
        || !own.intersection(batch_cpus).is_empty()
    {
        return Err(format!("not apart before any restart: {before:?}"));
    }
    for part in ["agent", "containerd", "kubelet"] {
        if part == "agent" {
            faults::kill(world, "katalyst-node-agent", Some(&node))?;
            world.product.wait_ready(Duration::from_secs(120))?;
        } else {
            world.fault(&["restart", part])?;
        }
        wait_hooked(world, &node)?;
        // Several rounds of the reconciler.
        std::thread::sleep(Duration::from_secs(12));
        let now = places()?;
        if now != before {
            return Err(format!(
                "after the restart of {part}: {now:?}, before {before:?}"
            ));
        }
        let late = format!("placed-after-{part}");
        apply(world, &batch(&late, &node))?;
        world.wait_running(&late)?;
        let (cpus, _) = steady(world, &late)?;
        if cpus != *batch_cpus {
            return Err(format!(
                "a reclaimed pod after the restart of {part} started on {cpus}, not on {batch_cpus}"
            ));
        }
        world.remove(&late)?;
    }
    remove_all(world, &[OWN, AMONG, BATCH])?;
    Ok(Verdict::Shown(format!(
        "one line each through three restarts: dedicated {own}, shared {among}, reclaimed {batch_cpus}"
    )))
}

/// Switches the agents' plugin on or off, and waits until they run so.
fn switch(world: &World, setting: &str) -> Result<(), String> {
    let arguments = [
        "-n",
        crate::product::NAMESPACE,
        "set",
        "env",
        "daemonset/katalyst-node-agent",
        setting,
    ];
    world.kubectl.run(&arguments).map_err(|e| e.to_string())?;
    let rollout = [
        "-n",
        crate::product::NAMESPACE,
        "rollout",
        "status",
        "daemonset/katalyst-node-agent",
        "--timeout=180s",
    ];
    world.kubectl.run(&rollout).map_err(|e| e.to_string())?;
    world.product.wait_ready(Duration::from_secs(180))
}

fn placed_without_nri(world: &World) -> Outcome {
    if world.kind {
        return Ok(Verdict::Skipped(KIND.into()));
    }
    let place = Place::of(world)?;
    switch(world, "KATALYST_NRI=false")?;
    let shown = unhooked(world, &place);
    switch(world, "KATALYST_NRI-")?;
    wait_hooked(world, &place.node)?;
    Ok(Verdict::Shown(shown?))
}

fn unhooked(world: &World, place: &Place) -> Result<String, String> {
    let node = place.node.as_str();
    let state = hook(world, node)?;
    if !state.is_null() {
        return Err(format!(
            "the plugin runs although it is switched off: {state}"
        ));
    }
    world.wait_offer(node, 100)?;
    apply(world, &own(node, place.cpus, place.numa))?;
    world.wait_running(OWN)?;
    apply(world, &among(AMONG, node))?;
    apply(world, &batch(BATCH, node))?;
    world.wait_running(AMONG)?;
    world.wait_running(BATCH)?;
    let last = |name: &str| -> Result<Line, String> {
        lines(world, name)?
            .pop()
            .ok_or_else(|| format!("{name} said nothing"))
    };
    let story = wait_for("the reconciler places the pods", RECONCILED, || {
        let (own, among, batch) = (last(OWN)?, last(AMONG)?, last(BATCH)?);
        let story = format!(
            "dedicated {}; shared {}; reclaimed {}",
            told(&own),
            told(&among),
            told(&batch)
        );
        let held = place.holds(
            &cpus(&own)?,
            &own.seen.mems,
            [&cpus(&among)?, &cpus(&batch)?],
        );
        if held { Ok(story) } else { Err(story) }
    })?;
    let first = lines(world, OWN)?.first().map(told).unwrap_or_default();
    remove_all(world, &[OWN, AMONG, BATCH])?;
    Ok(format!("{story} (the dedicated pod started with {first})"))
}
