//! Installing, what a person sees, manifests written for Katalyst, and removal.

use std::time::Duration;

use serde_json::json;

use super::pods::{self, IDLE};
use super::world::NAMESPACE;
use super::{Outcome, Scenario, Verdict, World};
use crate::kubectl::wait_for;

/// Scenarios that run first.
pub(super) fn first() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "install-twice",
            claim: "kubectl apply -k a second time changes nothing",
            run: install_twice,
        },
        Scenario {
            name: "columns",
            claim: "kubectl get cnr tells a person what each node offers and why",
            run: columns,
        },
        Scenario {
            name: "katalyst-manifests",
            claim: "manifests written for Katalyst are accepted unchanged",
            run: katalyst_manifests,
        },
        Scenario {
            name: "schema",
            claim: "nonsense in a CustomNodeResource is refused with a message",
            run: schema,
        },
    ]
}

/// Scenarios that run last.
pub(super) fn last() -> Vec<Scenario> {
    vec![Scenario {
        name: "uninstall",
        claim: "kubectl delete -k leaves no cgroup value changed",
        run: uninstall,
    }]
}

fn install_twice(world: &World) -> Outcome {
    let output = world.product.apply()?;
    // `kubectl apply` prints "configured" for a PodDisruptionBudget even where nothing changes (its selector is patched by replacement);
    // `kubectl diff` tells the truth.
    let diff = world.product.diff()?;
    if diff.trim().is_empty() {
        return Ok(Verdict::Shown(format!(
            "{} objects, kubectl diff is empty",
            output.lines().count()
        )));
    }
    Err(format!("the second apply left a difference:\n{diff}"))
}

fn columns(world: &World) -> Outcome {
    let node = world.main_node()?;
    world.wait_offer(&node, 1)?;
    let table = world
        .kubectl
        .run(&["get", "cnr"])
        .map_err(|e| e.to_string())?;
    for line in table.lines() {
        println!("      {line}");
    }
    let row = table
        .lines()
        .find(|line| line.starts_with(&node))
        .ok_or_else(|| format!("no row for {node}"))?;
    if row.contains("<none>") {
        return Err(format!("empty columns: {row}"));
    }
    Ok(Verdict::Shown(
        row.split_whitespace().collect::<Vec<_>>().join(" "),
    ))
}

fn katalyst_manifests(world: &World) -> Outcome {
    let shared = pods::annotated(
        "katalyst-shared",
        None,
        &json!({"katalyst.kubewharf.io/qos_level": "shared_cores", "katalyst.kubewharf.io/cpu_enhancement": "{\"cpuset_pool\": \"batch\"}"}),
        &json!({"requests": {"cpu": "10m", "memory": "8Mi"}, "limits": {"cpu": "200m", "memory": "32Mi"}}),
    );
    let dedicated = pods::annotated(
        "katalyst-dedicated",
        None,
        &json!({
            "katalyst.kubewharf.io/qos_level": "dedicated_cores",
            "katalyst.kubewharf.io/memory_enhancement": "{\"numa_binding\": \"true\", \"numa_exclusive\": \"true\"}",
        }),
        &json!({"requests": {"cpu": "10m", "memory": "8Mi"}, "limits": {"cpu": "10m", "memory": "8Mi"}}),
    );
    // More than these machines have: accepted, and told why it waits.
    let reclaimed = pods::reclaimed("katalyst-reclaimed", None, "4k", "4Gi", IDLE);
    for pod in [&shared, &dedicated, &reclaimed] {
        world
            .kubectl
            .apply(&pod.to_string())
            .map_err(|e| e.to_string())?;
    }
    let small = pods::reclaimed("katalyst-reclaimed-small", None, "100", "16Mi", IDLE);
    world.wait_offer(&world.main_node()?, 100)?;
    world
        .kubectl
        .apply(&small.to_string())
        .map_err(|e| e.to_string())?;
    for name in [
        "katalyst-shared",
        "katalyst-dedicated",
        "katalyst-reclaimed-small",
    ] {
        world.wait_running(name)?;
    }
    let waits = wait_for(
        "a reason for the pod that does not fit",
        Duration::from_secs(60),
        || {
            let pod = world.pod("katalyst-reclaimed")?;
            let message = pod["status"]["conditions"][0]["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if message.contains("reclaimed_millicpu") || pod["status"]["phase"] == "Running" {
                Ok(message)
            } else {
                Err(format!("{}", pod["status"]))
            }
        },
    )?;
    for name in [
        "katalyst-shared",
        "katalyst-dedicated",
        "katalyst-reclaimed",
        "katalyst-reclaimed-small",
    ] {
        world.remove(name)?;
    }
    Ok(Verdict::Shown(format!(
        "shared, dedicated, reclaimed run; the one that asks 4k: {waits}"
    )))
}

fn schema(world: &World) -> Outcome {
    let node = world.main_node()?;
    let patch = json!({"status": {"resources": {"allocatable": {"resource.katalyst.kubewharf.io/reclaimed_millicpu": "-5"}}}}).to_string();
    match world.kubectl.run(&[
        "patch",
        "cnr",
        &node,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ]) {
        Ok(_) => Err("a negative offer was accepted".to_owned()),
        Err(error) => Ok(Verdict::Shown(message_of(&error.to_string()))),
    }
}

/// What the API server said, without the command that it answered.
fn message_of(error: &str) -> String {
    let said = error
        .find("The CustomNodeResource")
        .map_or(error, |at| error.get(at..).unwrap_or(error));
    said.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(240)
        .collect()
}

/// Only the values of a pod that stays are compared: pods of the product leave.
fn values_of(snapshot: &str, uid: &str) -> Vec<String> {
    let underscored = uid.replace('-', "_");
    snapshot
        .lines()
        .filter(|line| line.contains(uid) || line.contains(&underscored))
        .map(str::to_owned)
        .collect()
}

fn uninstall(world: &World) -> Outcome {
    let node = world.main_node()?;
    world.wait_offer(&node, 100)?;
    // The same pod without us: what its cgroup would be.
    world
        .kubectl
        .apply(&pods::best_effort("untouched", Some(&node), IDLE).to_string())
        .map_err(|e| e.to_string())?;
    world
        .kubectl
        .apply(&pods::reclaimed("stays", Some(&node), "100", "32Mi", IDLE).to_string())
        .map_err(|e| e.to_string())?;
    let (untouched, stays) = (
        world.wait_running("untouched")?,
        world.wait_running("stays")?,
    );
    wait_for("the pod is held", Duration::from_secs(20), || {
        let limits = world.limits(&stays)?;
        if limits.millicpu.is_some() && limits.memory.is_some() {
            Ok(())
        } else {
            Err(format!("{limits:?}"))
        }
    })?;
    world.product.delete()?;
    let uid = |pod: &serde_json::Value| {
        pod["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let (reference, ours) = (uid(&untouched), uid(&stays));
    let strip = |lines: Vec<String>, id: &str| -> Vec<String> {
        let underscored = id.replace('-', "_");
        let mut lines: Vec<String> = lines
            .into_iter()
            .map(|line| line.replace(id, "UID").replace(&underscored, "UID"))
            // Container ids differ between any two pods; the pod's own files are what the agent writes.
            .filter(|line| {
                line.split_whitespace().next().is_some_and(|path| {
                    path.split('/')
                        .rev()
                        .nth(1)
                        .is_some_and(|dir| dir.contains("UID"))
                })
            })
            .collect();
        lines.sort();
        lines
    };
    let equal = wait_for("cgroup values as before", Duration::from_secs(60), || {
        let snapshot = world.probe.snapshot(&node)?;
        let (want, have) = (
            strip(values_of(&snapshot, &reference), &reference),
            strip(values_of(&snapshot, &ours), &ours),
        );
        if want.is_empty() {
            Err("no cgroup values found".to_owned())
        } else if want == have {
            Ok(want.len())
        } else {
            Err(format!("want {want:?}, have {have:?}"))
        }
    })?;
    let pod = world.pod("stays")?;
    if pod["status"]["phase"] != "Running" {
        return Err(format!(
            "the batch pod did not survive: {}",
            pod["status"]["phase"]
        ));
    }
    world
        .kubectl
        .run(&[
            "-n",
            NAMESPACE,
            "delete",
            "pod",
            "untouched",
            "stays",
            "--grace-period=0",
            "--force",
        ])
        .ok();
    Ok(Verdict::Shown(format!(
        "{equal} values equal to those of a pod that was never ours"
    )))
}
