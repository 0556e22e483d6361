//! Taints of custom resources: each is for the pods of one quality-of-service level.

use serde_json::{Value, json};

use super::asked::{Ask, both, compute, milligpu, short};
use super::shapes::Machine;
use super::{Outcome, Scenario, Verdict, World, declared, scheduler};

const FLEET: &str = "taints";
const TAINTED: &str = "taints-0";
const OTHER: &str = "taints-1";
const REASON: &str = "node has a taint for the pod's QoS level that the pod does not tolerate";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "qos-taints",
            claim: "a taint of a custom resource keeps pods of its QoS level away and no others, and a toleration lets them in",
            run: |world| declared::on(world, FLEET, machines(), managed),
        },
        Scenario {
            name: "qos-taints-for-all-pods",
            claim: "with the optional entry for all pods a taint keeps services away that ask for nothing of the extender's, and without it they come",
            run: |world| declared::on(world, FLEET, machines(), all_pods),
        },
    ]
}

fn machines() -> Vec<Machine> {
    vec![
        Machine::cards(TAINTED, "t0", false),
        Machine::cards(OTHER, "t1", false),
    ]
}

/// Taints the first machine for pods of a level; the taint of before is gone.
fn taint(world: &World, level: &str) -> Result<(), String> {
    let taint =
        json!({"key": "maintenance", "value": "soon", "effect": "NoSchedule", "qosLevel": level});
    let patch = json!({"spec": {"taints": [taint]}}).to_string();
    let words = ["patch", "cnr", TAINTED, "--type=merge", "-p", &patch];
    world
        .kubectl
        .run(&words)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn tolerates() -> Value {
    json!({"key": "maintenance", "operator": "Equal", "value": "soon", "effect": "NoSchedule"})
}

fn batch(name: &str) -> Ask {
    let amounts = json!({
        "resource.katalyst.kubewharf.io/reclaimed_millicpu": "100",
        "resource.katalyst.kubewharf.io/reclaimed_memory": "64Mi",
    });
    Ask::new(FLEET, name, &amounts).with("qos_level", &json!("reclaimed_cores"))
}

/// A service that asks the extender for a part of a card, if for anything.
fn service(name: &str, amounts: &Value) -> Ask {
    Ask::new(FLEET, name, amounts).with("qos_level", &json!("shared_cores"))
}

fn managed(world: &World) -> Outcome {
    taint(world, "reclaimed_cores")?;
    for node in [TAINTED, OTHER] {
        world.wait_offer(node, 200)?;
    }
    let kept_out = batch("batch-kept-out").on(TAINTED).refused(world, REASON)?;
    for name in ["batch-0", "batch-1", "batch-2"] {
        let given = batch(name).bound(world)?;
        if given.node != OTHER {
            return Err(format!("{name} came to the tainted node: {given:?}"));
        }
    }
    let tolerant = batch("batch-tolerant")
        .on(TAINTED)
        .tolerating(tolerates())
        .bound(world)?;
    if tolerant.reclaimed.is_none() {
        return Err(format!("no record of reclaimed amounts: {tolerant:?}"));
    }
    let part = both(compute(1, 1), &milligpu(250));
    service("service", &part).on(TAINTED).bound(world)?;

    taint(world, "shared_cores")?;
    let service_kept_out = service("service-kept-out", &part)
        .on(TAINTED)
        .refused(world, REASON)?;
    batch("batch-let-in").on(TAINTED).bound(world)?;
    Ok(Verdict::Shown(format!(
        "taint for reclaimed_cores: {}; three go to {OTHER}, a tolerant one and a service to {TAINTED}; for shared_cores: {}; batch let in",
        short(&kept_out),
        short(&service_kept_out)
    )))
}

fn all_pods(world: &World) -> Outcome {
    taint(world, "shared_cores")?;
    let plain = compute(1, 1);
    service("plain-without", &plain).on(TAINTED).bound(world)?;
    let file = "kube-scheduler-config-all-pods.yaml";
    scheduler::configured(
        world,
        file,
        |text| text,
        |world| {
            let kept_out = service("plain-kept-out", &plain)
                .on(TAINTED)
                .refused(world, REASON)?;
            let free = service("plain-free", &plain).bound(world)?;
            if free.node != OTHER {
                return Err(format!("a service came to the tainted node: {free:?}"));
            }
            service("plain-tolerant", &plain)
                .on(TAINTED)
                .tolerating(tolerates())
                .bound(world)?;
            Ok(Verdict::Shown(format!(
                "without the entry a service comes to {TAINTED}; with it: {}; to {OTHER} instead, and in with a toleration",
                short(&kept_out)
            )))
        },
    )
}
