//! Nodes for pods with GPUs: guessed about first, known by and by.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod rig;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use katalyst_core::packing::PolicyName;
use katalyst_core::placement::machine::{CardSpec, MachineSpec, ZoneSpec};
use katalyst_core::placement::{Allocation, CardShare, HeldCard, Machine, fit};
use katalyst_core::units::{Bytes, Millicpu};
use katalyst_runtime::Process;
use katalyst_runtime::logging::LogControl;
use katalyst_scheduler_extender::COMPONENT;
use katalyst_scheduler_extender::extender::Extender;
use katalyst_scheduler_extender::ledger::{Charge, Ledger, Offer, Report};
use katalyst_scheduler_extender::metrics::{ExtenderMetrics, Outcome};
use katalyst_scheduler_extender::packing::{Cost, Packing};
use katalyst_scheduler_extender::policy::Policy;
use katalyst_scheduler_extender::request::PodRequest;
use katalyst_scheduler_extender::verbs::bind::{BindTimeouts, Binder};
use katalyst_scheduler_extender::wire::WirePod;
use serde_json::{Value, json};

const NODES: usize = 30;
const NOW: i64 = 1_000_000;

fn name(node: usize) -> String {
    format!("node-{node:02}")
}

fn machine(node: usize) -> Machine {
    let card = |at: u32| CardSpec {
        uuid: format!("GPU-{node}-{at}"),
        index: Some(at),
        model: "NVIDIA L40S".to_owned(),
        memory: Bytes::new(48 << 30),
        healthy: true,
        nvidia: true,
        ..CardSpec::default()
    };
    Machine::new(MachineSpec {
        zones: vec![ZoneSpec {
            cpu: Millicpu::new(64_000),
            memory: Bytes::new(1 << 38),
            ..ZoneSpec::default()
        }],
        cards: (0..4).map(card).collect(),
        ..MachineSpec::default()
    })
}

/// Nodes that are filled differently, and a policy that has learned from pods of two sizes.
fn extender() -> Extender {
    let ledger = Ledger::new(90_000);
    for node in 0..NODES {
        let report = Report {
            agent_ready: true,
            reported: NOW,
            machine: Arc::new(machine(node)),
            ..Report::default()
        };
        ledger.offer(&name(node), Offer::Known(report), NOW);
        let part = |percent| CardShare::Part { percent, mib: 1000 };
        let held = [part(10 + node as u8 * 2), part(25), part(70 - node as u8)];
        let cards = held.into_iter().zip(0..).map(|(share, at)| HeldCard {
            uuid: format!("GPU-{node}-{at}").into(),
            index: Some(at),
            share,
        });
        let allocation = Allocation {
            cards: cards.collect(),
            floating: Millicpu::new(500 * node as u64),
            ..Allocation::default()
        };
        let uid = format!("held-{node}").into();
        ledger.seen(&uid, &name(node), Charge::default(), allocation);
    }
    let (client, _) = rig::client();
    let process = Process::new(COMPONENT, LogControl::detached());
    let extender = Extender::new(
        Arc::new(ledger),
        Policy::default(),
        Binder::new(client, BindTimeouts::default()),
        ExtenderMetrics::new(&process.metrics),
        Arc::new(|| NOW),
    )
    .with_packing(Packing::new(Some(PolicyName::default())));
    for number in 0..20 {
        let milligpu = if number % 3 == 0 { 600 } else { 250 };
        names(&extender, &pod(&format!("before-{number}"), milligpu));
    }
    extender.packing().learn(&extender.ledger().table());
    extender
}

fn pod(uid: &str, milligpu: u32) -> Value {
    let amounts =
        json!({"cpu": "2", "resource.katalyst.kubewharf.io/milligpu": milligpu.to_string()});
    json!({
        "metadata": {"name": "p", "namespace": "n", "uid": uid},
        "spec": {"containers": [{"name": "main", "resources": {"requests": amounts, "limits": amounts}}]},
    })
}

fn question(pod: &Value) -> Vec<u8> {
    let names: Vec<String> = (0..NODES).map(name).collect();
    let question = json!({"Pod": pod, "Nodes": null, "NodeNames": names});
    question.to_string().into_bytes()
}

fn names(extender: &Extender, pod: &Value) -> Vec<String> {
    let (outcome, answer) = extender.filter(&question(pod));
    assert_eq!(outcome, Outcome::Ok);
    let answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
    serde_json::from_value(answer["NodeNames"].clone()).unwrap()
}

/// How many nodes' costs are known, and the cost of each.
fn costs(extender: &Extender, pod: &Value) -> (usize, BTreeMap<String, f64>) {
    let text = pod.to_string();
    let pod: WirePod<'_> = serde_json::from_str(&text).unwrap();
    let wish = PodRequest::from_wire(&pod).unwrap().wish;
    let ranking = extender.packing().ranking(&wish).unwrap();
    let placed: Vec<_> = (0..NODES)
        .map(|node| {
            let state = extender.ledger().node(&name(node));
            let placement = fit(&state, &wish).unwrap();
            (name(node), state, placement)
        })
        .collect();
    // Counted before the costs are asked for: asking makes them known.
    let known = placed
        .iter()
        .filter(|(_, state, placement)| matches!(ranking.glance(state, placement), Cost::Known(_)))
        .count();
    let costs = placed
        .into_iter()
        .map(|(name, state, placement)| (name, ranking.cost(&state, &placement)));
    (known, costs.collect())
}

#[tokio::test]
async fn a_question_computes_few_costs_and_those_that_follow_the_others() {
    let extender = extender();
    let first = names(&extender, &pod("a", 250));
    assert_eq!(first.len(), Policy::default().max_nodes);
    let (known, costs) = costs(&extender, &pod("a", 250));
    assert!(
        (1..=8).contains(&known),
        "{known} of {NODES} costs are known after one question"
    );
    for round in 0..NODES {
        names(&extender, &pod(&format!("b-{round}"), 250));
        extender.look_closer();
    }
    let last = names(&extender, &pod("c", 250));
    let least = costs.values().copied().fold(f64::INFINITY, f64::min);
    // Ranks are kept in single precision.
    assert!(costs[&last[0]] <= least + 0.01, "{last:?} {costs:?}");
}

#[tokio::test]
async fn the_same_pods_in_the_same_order_get_the_same_nodes() {
    let run = || {
        let extender = extender();
        let pods = (0..10).map(|number| pod(&format!("p-{number}"), 100 + number * 50));
        pods.map(|pod| names(&extender, &pod)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[tokio::test]
async fn nodes_are_chosen_once_each_and_a_guess_is_never_the_best() {
    let extender = extender();
    let pod = pod("a", 600);
    let chosen = names(&extender, &pod);
    assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len());
    let asked = json!({"Pod": pod, "Nodes": null, "NodeNames": chosen}).to_string();
    let (_, answer) = extender.prioritize(asked.as_bytes());
    let scores: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
    let scores: Vec<i64> = (scores.as_array().unwrap().iter())
        .map(|score| score["Score"].as_i64().unwrap())
        .collect();
    let (computed, guessed) = scores.split_at(3);
    assert!(computed.contains(&10), "{scores:?}");
    assert!(guessed.iter().all(|score| *score == 0), "{scores:?}");
}
