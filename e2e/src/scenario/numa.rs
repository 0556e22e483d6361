//! NUMA nodes on declared machines: dedicated pods bound by the extender, and Guaranteed pods whose kubelet will align them.
//!
//! Such pods ask for CPU and memory only, and kube-scheduler asks an extender about pods that name one of its resources: the policy of
//! `manifests/components/numa-pods` names `numa_placement` for them.

use std::time::Duration;

use serde_json::{Value, json};

use super::asked::{Ask, Given, both, compute, short};
use super::shapes::Machine;
use super::{Outcome, Scenario, Verdict, World, declared};
use crate::kubectl::wait_for;

const FLEET: &str = "numa";
/// Two NUMA nodes, 0 and 1, of 16 CPUs and 64 GiB.
const PLAIN: &str = "numa-plain";
/// The same, 0 and 8: their numbers are not their positions.
const GAP: &str = "numa-gap";
/// The same as `PLAIN`; its kubelet takes a container from one NUMA node or not at all.
const SINGLE: &str = "numa-single";
/// Its kubelet takes a pod from as few NUMA nodes as the pod would need idle ones.
const RESTRICTED: &str = "numa-restricted";
/// The policy that marks pods.
const POLICY: &str = "manifests/components/numa-pods/policy.yaml";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "numa-on-declared-nodes",
        claim: "NUMA-bound and kubelet-aligned pods are placed with their NUMA nodes in the Binding, or refused for the right reason, also where node numbers have gaps",
        run,
    }]
}

fn machines() -> Vec<Machine> {
    let two = |name| Machine::numa(name, &[0, 1], 16, 64);
    vec![
        two(PLAIN),
        Machine::numa(GAP, &[0, 8], 16, 64),
        two(SINGLE).aligned_by("SingleNUMANodeContainerLevel"),
        two(RESTRICTED).aligned_by("RestrictedPodLevel"),
    ]
}

fn run(world: &World) -> Outcome {
    declared::on(world, FLEET, machines(), |world| {
        let policy = world.root.join(POLICY).display().to_string();
        let apply = |verb: &[&str]| {
            let words = [verb, &["-f", &policy]].concat();
            world.kubectl.run(&words).map_err(|error| error.to_string())
        };
        apply(&["apply"])?;
        // Whatever comes of it, the next scenario's pods are not marked.
        let outcome = marked(world).and_then(|()| placed(world));
        apply(&["delete", "--ignore-not-found"])?;
        outcome
    })
}

/// A dedicated pod with `numa_binding` and these wishes.
fn dedicated(name: &str, node: &str, cpus: u64, memory: &Value, cpu: &Value) -> Ask {
    let mut binding = json!({"numa_binding": "true"});
    if memory == "exclusive" {
        binding["numa_exclusive"] = json!("true");
    }
    Ask::new(FLEET, name, &compute(cpus, 8))
        .on(node)
        .with("qos_level", &json!("dedicated_cores"))
        .with("memory_enhancement", &binding)
        .with("cpu_enhancement", cpu)
}

/// A Guaranteed pod of no class. It asks to be placed by itself: the policy leaves it alone.
fn guaranteed(name: &str, node: &str, cpus: u64, memory_gib: u64) -> Ask {
    let marker = json!({"resource.katalyst.kubewharf.io/numa_placement": "1"});
    Ask::new(FLEET, name, &both(compute(cpus, memory_gib), &marker)).on(node)
}

/// Waits until the API server applies the policy: it takes a moment.
fn marked(world: &World) -> Result<(), String> {
    let probe = dedicated("marked", PLAIN, 2, &json!(""), &json!({})).into_pod();
    wait_for("pods are marked", Duration::from_secs(30), || {
        let words = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let made = world
            .kubectl
            .feed(&words, Some(&probe.to_string()))
            .map_err(|error| error.to_string())?;
        let made: Value = serde_json::from_str(&made).map_err(|error| error.to_string())?;
        let resources = &made["spec"]["containers"][0]["resources"];
        let marker = "resource.katalyst.kubewharf.io/numa_placement";
        if resources["limits"][marker] == "1" && resources["requests"][marker] == "1" {
            Ok(())
        } else {
            Err(resources.to_string())
        }
    })
}

fn expect(
    what: &str,
    given: &Given,
    node: &str,
    numa: Option<&str>,
    counted: &[&str],
) -> Result<(), String> {
    if given.node == node && given.numa.as_deref() == numa && given.counted == counted {
        return Ok(());
    }
    Err(format!(
        "{what}: should be on NUMA nodes {numa:?}, counted {counted:?}, of {node}: {given:?}"
    ))
}

fn placed(world: &World) -> Outcome {
    let any = json!("");
    let mut refusals = Vec::new();
    let numbers = |ids: &str| json!({"katalyst.kubewharf.io/numa_ids": ids});
    let count = |count: &str| json!({"katalyst.kubewharf.io/numa_number": count});

    // Bound: the one that is named, then the one with least room that has enough, both, and one too many.
    let named = dedicated("named", GAP, 4, &any, &numbers("8")).bound(world)?;
    expect("numa_ids 8", &named, GAP, Some("8"), &["8"])?;
    let tight = dedicated("tight", GAP, 4, &any, &json!({})).bound(world)?;
    expect("beside the other", &tight, GAP, Some("8"), &["8"])?;
    let wide = dedicated("wide", GAP, 8, &any, &count("2")).bound(world)?;
    expect("numa_number 2", &wide, GAP, Some("0,8"), &["0", "8"])?;
    refusals.push(
        dedicated("absent", GAP, 2, &any, &numbers("1"))
            .refused(world, "node lacks a NUMA node that the pod names")?,
    );
    // 16 of 32 CPUs are free, 4 of them beside the two small ones, 12 in node 0.
    refusals.push(
        dedicated("busy", GAP, 14, &any, &count("1"))
            .refused(world, "insufficient free CPU or memory in NUMA nodes")?,
    );
    refusals.push(
        dedicated("too-wide", GAP, 4, &any, &count("3"))
            .refused(world, "NUMA nodes are too small for the pod")?,
    );

    // Exclusive: a whole NUMA node each, however little is asked for; services keep a CPU, so the second is one too many.
    let alone = dedicated("alone", PLAIN, 4, &json!("exclusive"), &json!({})).bound(world)?;
    let numa = alone.numa.clone().unwrap_or_default();
    if !["0", "1"].contains(&numa.as_str()) {
        return Err(format!("one whole NUMA node: {alone:?}"));
    }
    refusals.push(
        dedicated("alone-too", PLAIN, 4, &json!("exclusive"), &json!({})).refused(
            world,
            "too little CPU would be left to services that are not bound",
        )?,
    );
    let beside = dedicated("beside", PLAIN, 4, &any, &json!({})).bound(world)?;
    if beside.numa.is_none() || beside.numa == alone.numa {
        return Err(format!(
            "an exclusive NUMA node was shared: {alone:?}, {beside:?}"
        ));
    }
    refusals.push(
        dedicated("not-idle", PLAIN, 2, &json!("exclusive"), &numbers(&numa))
            .refused(world, "too few idle NUMA nodes")?,
    );

    // Aligned by kubelet: what it will do is counted, and nothing tells the agent to bind.
    for (name, node) in [("first", "0"), ("second", "1")] {
        let given = guaranteed(name, SINGLE, 10, 8).bound(world)?;
        expect("kubelet aligns", &given, SINGLE, None, &[node])?;
    }
    // 12 CPUs are free, six in each.
    refusals.push(
        guaranteed("third", SINGLE, 8, 8)
            .refused(world, "insufficient free CPU or memory in NUMA nodes")?,
    );
    refusals.push(guaranteed("large", RESTRICTED, 17, 8).refused(
        world,
        "kubelet's restricted topology policy cannot align the pod",
    )?);
    let both = guaranteed("both", RESTRICTED, 20, 80).bound(world)?;
    expect("kubelet takes two", &both, RESTRICTED, None, &["0", "1"])?;

    let reasons: Vec<String> = refusals.iter().map(|words| short(words)).collect();
    Ok(Verdict::Shown(format!(
        "on {GAP}: numa_ids 8 -> 8, two small ones together, numa_number 2 -> 0,8; exclusive on {numa} of {PLAIN}, {} beside it; {SINGLE} one NUMA node each; {RESTRICTED} {:?}; refused: {}",
        beside.numa.unwrap_or_default(),
        both.counted,
        reasons.join(" | ")
    )))
}
