//! Preemption for cards: kube-scheduler chooses victims for CPU, and the extender adds those that free cards.
//!
//! kube-scheduler up to 1.36 preempts only where its own resources are short too (`docs/extender.md`), so the machine is full of both.

use std::time::Duration;

use serde_json::{Value, json};

use super::asked::{Ask, both, compute, milligpu};
use super::shapes::Machine;
use super::world::NAMESPACE;
use super::{Outcome, Scenario, Verdict, World, declared};
use crate::kubectl::wait_for;

const FLEET: &str = "preempt";
const NODE: &str = "preempt-0";
/// Priorities by name; the classes are `katalyst-e2e-NAME`.
const PRIORITIES: [(&str, u32); 3] = [("least", 10), ("less", 20), ("most", 1_000)];

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "preempts-for-cards",
        claim: "a pod with cards makes room by preemption: as few pods as possible leave, the least important, and those under a disruption budget last",
        run: |world| {
            // Four cards, and CPU for four pods.
            let machine = Machine::cards(NODE, "p", false).with_cpus(16);
            classes(world, "apply")?;
            let outcome = declared::on(world, FLEET, vec![machine], run);
            classes(world, "delete")?;
            outcome
        },
    }]
}

fn class(name: &str) -> String {
    format!("katalyst-e2e-{name}")
}

fn classes(world: &World, verb: &str) -> Result<(), String> {
    let mut objects: Vec<Value> = PRIORITIES
        .iter()
        .map(|(name, value)| json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": class(name)}, "value": value}))
        .collect();
    // No pod of a declared node is ever ready: the budget never allows a disruption.
    objects.push(json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "protected", "namespace": NAMESPACE},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"protected": "yes"}}},
    }));
    let words = [verb, "-f", "-"];
    world
        .kubectl
        .feed(&words, Some(&declared::list(&objects)))
        .map(drop)
        .map_err(|error| error.to_string())
}

fn pod(name: &str, priority: &str, cpus: u64, cards: u64) -> Ask {
    Ask::new(
        FLEET,
        name,
        &both(compute(cpus, 4), &milligpu(cards * 1_000)),
    )
    .spec("priorityClassName", json!(class(priority)))
}

/// Which of these pods are there and not leaving.
fn staying(world: &World, names: &[&str]) -> Result<Vec<String>, String> {
    let pods = world
        .kubectl
        .json(&["-n", NAMESPACE, "get", "pods"])
        .map_err(|error| error.to_string())?;
    let pods = pods["items"].as_array().into_iter().flatten();
    let mut staying: Vec<String> = pods
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .filter(|name| names.contains(name))
        .map(str::to_owned)
        .collect();
    staying.sort();
    Ok(staying)
}

fn run(world: &World) -> Outcome {
    // The protected ones are the least important: priority alone would take them first.
    for name in ["kept-0", "kept-1"] {
        pod(name, "least", 4, 1)
            .labelled("protected", "yes")
            .bound(world)?;
    }
    for name in ["gone-0", "gone-1"] {
        pod(name, "less", 4, 1).bound(world)?;
    }
    let all = ["gone-0", "gone-1", "kept-0", "kept-1"];
    wait_for("the budget is known", Duration::from_secs(30), || {
        let budget = world
            .kubectl
            .json(&["-n", NAMESPACE, "get", "pdb", "protected"])
            .map_err(|error| error.to_string())?;
        if budget["status"]["expectedPods"] == 2 && budget["status"]["disruptionsAllowed"] == 0 {
            Ok(())
        } else {
            Err(budget["status"].to_string())
        }
    })?;

    // One pod would free CPU enough; the second card needs another.
    let first = pod("first", "most", 4, 2).bound(world)?;
    let left = staying(world, &all)?;
    if left != ["kept-0", "kept-1"] {
        return Err(format!(
            "two pods should leave, those without a budget; {left:?} stay"
        ));
    }
    // Nobody else is left: the budget gives way, for one pod only.
    let second = pod("second", "most", 8, 1).bound(world)?;
    let after = staying(world, &all)?;
    if after.len() != 1 {
        return Err(format!("one protected pod should leave; {after:?} stay"));
    }
    Ok(Verdict::Shown(format!(
        "{:?} after gone-0 and gone-1 left, {:?} after one of the protected did; {after:?} stays",
        first.cards, second.cards
    )))
}
