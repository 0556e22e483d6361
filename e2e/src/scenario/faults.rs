//! Parts that die: agent, controller, extender, kubelet.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::node::held;
use super::pods::{self, IDLE};
use super::{Outcome, Scenario, Verdict, World};
use crate::kubectl::wait_for;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "agent-killed",
            claim: "an agent restart changes no running pod's cgroup values, and a new pod is held afterwards",
            run: agent_killed,
        },
        Scenario {
            name: "agent-silent",
            claim: "a healthy node whose agent is away takes no new batch pod, keeps holding those it has, and offers again when the agent is back",
            run: agent_silent,
        },
        Scenario {
            name: "controller-killed",
            claim: "when the leading controller dies the other one takes over",
            run: controller_killed,
        },
        Scenario {
            name: "extender-killed",
            claim: "when the extender dies pods wait, services are still placed, and afterwards the pods are placed",
            run: extender_killed,
        },
        Scenario {
            name: "kubelet-restart",
            claim: "a kubelet restart does not touch running reclaimed pods",
            run: kubelet_restart,
        },
    ]
}

pub(super) fn kill(world: &World, name: &str, node: Option<&str>) -> Result<usize, String> {
    let mut killed = 0;
    for pod in world.product_pods(name)? {
        if node.is_some_and(|node| pod["spec"]["nodeName"] != node) {
            continue;
        }
        let name = pod["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        world
            .kubectl
            .run(&[
                "-n",
                crate::product::NAMESPACE,
                "delete",
                "pod",
                &name,
                "--grace-period=0",
                "--force",
            ])
            .map_err(|e| e.to_string())?;
        killed += 1;
    }
    Ok(killed)
}

fn agent_killed(world: &World) -> Outcome {
    let node = world.main_node()?;
    let pod = held(world, "stays-held", &node, 100, IDLE)?;
    kill(world, "katalyst-node-agent", Some(&node))?;
    for _ in 0..4 {
        let limits = world.limits(&pod)?;
        if limits.millicpu.is_none() || limits.memory != Some(32 << 20) {
            return Err(format!(
                "values changed while the agent restarted: {limits:?}"
            ));
        }
    }
    world.product.wait_ready(Duration::from_secs(120))?;
    let limits = world.limits(&pod)?;
    if limits.memory != Some(32 << 20) {
        return Err(format!(
            "the new agent changed the memory limit: {limits:?}"
        ));
    }
    held(world, "after-agent", &node, 100, IDLE)?;
    world.remove("stays-held")?;
    world.remove("after-agent")?;
    Ok(Verdict::Shown(format!("{limits:?} throughout")))
}

/// Keeps the agent off `node` (`None`: off none). The node itself stays healthy.
fn keep_agent_off(world: &World, node: Option<&str>) -> Result<(), String> {
    let affinity = node.map_or(json!(null), |node| {
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [node]}]},
        ]}}})
    });
    let patch = json!({"spec": {"template": {"spec": {"affinity": affinity}}}}).to_string();
    world
        .kubectl
        .run(&[
            "-n",
            crate::product::NAMESPACE,
            "patch",
            "daemonset",
            "katalyst-node-agent",
            "--type=merge",
            "-p",
            &patch,
        ])
        .map(drop)
        .map_err(|e| e.to_string())
}

fn agent_silent(world: &World) -> Outcome {
    let node = world.main_node()?;
    let pod = held(world, "held-before", &node, 100, IDLE)?;
    keep_agent_off(world, Some(&node))?;
    // Whatever happens, the next scenario finds the agent back.
    let outcome = silent_node(world, &node, &pod);
    keep_agent_off(world, None)?;
    let (told, silent_after) = outcome?;
    world.wait_running("waits-for-agent")?;
    world.product.wait_ready(Duration::from_secs(120))?;
    let offered = world.wait_offer(&node, 100)?;
    world.remove("waits-for-agent")?;
    world.remove("held-before")?;
    Ok(Verdict::Shown(format!(
        "offered nothing after {:.0} s; a pod was told: {told}; placed once the agent was back, with {offered}m offered",
        silent_after.as_secs_f64()
    )))
}

/// What happens on the silent node: why a new pod waits, and how long it took until the node offered nothing more.
fn silent_node(world: &World, node: &str, held: &Value) -> Result<(String, Duration), String> {
    let began = Instant::now();
    // Longer than the minute after which a node counts as silent, and the controller's round.
    wait_for("the silence shows", Duration::from_secs(150), || {
        let cnr = world.product.cnr(node)?;
        let spare = crate::product::offered_millicpu(&cnr);
        // The floor is what is allocated: the pod that runs keeps its 100m.
        if !crate::product::ready(&cnr) && spare <= 100 {
            Ok(())
        } else {
            Err(format!(
                "ready {}, offers {spare}m",
                crate::product::ready(&cnr)
            ))
        }
    })?;
    let silent_after = began.elapsed();
    world
        .kubectl
        .apply(&pods::reclaimed("waits-for-agent", Some(node), "50", "8Mi", IDLE).to_string())
        .map_err(|e| e.to_string())?;
    let told = wait_for("the pod is told why", Duration::from_secs(60), || {
        let pod = world.pod("waits-for-agent")?;
        if pod["spec"]["nodeName"].is_string() {
            return Err("it was placed on a node without an agent".to_owned());
        }
        let text = pod["status"]["conditions"][0]["message"]
            .as_str()
            .unwrap_or_default();
        if text.contains("silent") {
            Ok(text.to_owned())
        } else {
            Err(format!("message {text:?}"))
        }
    })?;
    let limits = world.limits(held)?;
    if limits.millicpu.is_none() || limits.memory != Some(32 << 20) {
        return Err(format!(
            "the pod that ran lost its limits with the agent: {limits:?}"
        ));
    }
    Ok((told, silent_after))
}

fn holder(world: &World) -> Result<String, String> {
    let lease = world
        .kubectl
        .json(&[
            "-n",
            crate::product::NAMESPACE,
            "get",
            "lease",
            "katalyst-controllers",
        ])
        .map_err(|e| e.to_string())?;
    lease["spec"]["holderIdentity"]
        .as_str()
        .filter(|h| !h.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| "nobody leads".to_owned())
}

fn controller_killed(world: &World) -> Outcome {
    let before = holder(world)?;
    let leader = world
        .product_pods("katalyst-controllers")?
        .into_iter()
        .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
        .find(|name| before.contains(name.as_str()))
        .ok_or_else(|| format!("no pod for holder {before}"))?;
    world
        .kubectl
        .run(&[
            "-n",
            crate::product::NAMESPACE,
            "delete",
            "pod",
            &leader,
            "--grace-period=0",
            "--force",
        ])
        .map_err(|e| e.to_string())?;
    let after = wait_for("another leader", Duration::from_secs(60), || {
        let now = holder(world)?;
        if now == before {
            Err(format!("still {now}"))
        } else {
            Ok(now)
        }
    })?;
    let node = world.main_node()?;
    let computed = |world: &World| -> Result<Value, String> {
        Ok(world.product.cnr(&node)?["status"]["conditions"].clone())
    };
    // The new leader writes: an offer edited away comes back.
    world
        .kubectl
        .run(&[
            "patch",
            "cnr",
            &node,
            "--subresource=status",
            "--type=merge",
            "-p",
            r#"{"status":{"conditions":[]}}"#,
        ])
        .map_err(|e| e.to_string())?;
    wait_for("the new leader writes", Duration::from_secs(60), || {
        let conditions = computed(world)?;
        if conditions.as_array().is_some_and(|all| !all.is_empty()) {
            Ok(())
        } else {
            Err("no conditions".to_owned())
        }
    })?;
    world.product.wait_ready(Duration::from_secs(120))?;
    Ok(Verdict::Shown(format!("{before} -> {after}")))
}

fn extender_killed(world: &World) -> Outcome {
    let node = world.main_node()?;
    world.wait_offer(&node, 100)?;
    world
        .kubectl
        .run(&[
            "-n",
            crate::product::NAMESPACE,
            "scale",
            "deployment",
            "katalyst-scheduler-extender",
            "--replicas=0",
        ])
        .map_err(|e| e.to_string())?;
    wait_for("no extender runs", Duration::from_secs(60), || {
        let count = world.product_pods("katalyst-scheduler-extender")?.len();
        if count == 0 {
            Ok(())
        } else {
            Err(format!("{count} left"))
        }
    })?;
    world
        .kubectl
        .apply(&pods::reclaimed("waits", Some(&node), "100", "16Mi", IDLE).to_string())
        .map_err(|e| e.to_string())?;
    world
        .kubectl
        .apply(&pods::service("not-concerned", Some(&node), "100m", IDLE).to_string())
        .map_err(|e| e.to_string())?;
    world.wait_running("not-concerned")?;
    if world.pod("waits")?["spec"]["nodeName"].is_string() {
        return Err("a reclaimed pod was placed without the extender".into());
    }
    world
        .kubectl
        .run(&[
            "-n",
            crate::product::NAMESPACE,
            "scale",
            "deployment",
            "katalyst-scheduler-extender",
            "--replicas=1",
        ])
        .map_err(|e| e.to_string())?;
    world.wait_running("waits")?;
    world.product.wait_ready(Duration::from_secs(60))?;
    world.remove("waits")?;
    world.remove("not-concerned")?;
    Ok(Verdict::Shown(
        "service placed meanwhile, batch pod placed after its return".into(),
    ))
}

fn kubelet_restart(world: &World) -> Outcome {
    if world.breakable.is_none() {
        return Ok(Verdict::Skipped(
            "the kubelet of this cluster is not ours to restart".into(),
        ));
    }
    let node = world.main_node()?;
    let pod = held(world, "through-restart", &node, 100, IDLE)?;
    let limits = world.limits(&pod)?;
    world.fault(&["restart", "kubelet"])?;
    wait_for("the node is Ready again", Duration::from_secs(60), || {
        let nodes = world
            .kubectl
            .json(&["get", "node", &node])
            .map_err(|e| e.to_string())?;
        let ready = nodes["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Ready" && c["status"] == "True");
        if ready {
            Ok(())
        } else {
            Err("not Ready".to_owned())
        }
    })?;
    for _ in 0..5 {
        let now = world.pod("through-restart")?;
        if now["status"]["phase"] != "Running" || now["metadata"]["uid"] != pod["metadata"]["uid"] {
            return Err(format!("the pod did not survive: {}", now["status"]));
        }
        if now["status"]["containerStatuses"][0]["containerID"]
            != pod["status"]["containerStatuses"][0]["containerID"]
        {
            return Err("its container was replaced".into());
        }
        let values = world.limits(&pod)?;
        if values.memory != limits.memory || values.millicpu.is_none() {
            return Err(format!("values changed: {values:?}, were {limits:?}"));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    world.remove("through-restart")?;
    Ok(Verdict::Shown(format!("same container, limits {limits:?}")))
}
