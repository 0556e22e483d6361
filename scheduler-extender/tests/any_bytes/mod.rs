//! Any bytes as requests, answered to the end as the extender answers them: for the fuzzer and for property tests.
//!
//! An input is a few requests, one after the other, with the byte 255 between them (UTF-8 holds none). The first byte of each chooses the verb, and what the API
//! server does with a Binding: it accepts it, refuses it, or never answers. Each input meets the same small cluster. What must hold of any answer is
//! asserted here: it is JSON of the protocol, names nothing that was not asked about, is no longer than in proportion to the question, and nothing
//! is given twice.
#![allow(dead_code, unreachable_pub, reason = "each program uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a finding is a panic"
)]

mod cluster;

use std::collections::BTreeSet;

use katalyst_scheduler_extender::extender::Extender;
use katalyst_scheduler_extender::policy::Policy;
use katalyst_scheduler_extender::wire::{ExtenderArgs, PreemptionArgs};
use serde_json::Value;

use cluster::{Cluster, NODES};

/// What the first byte chooses, modulo their number. New ones go to the end: the corpus of the fuzzer selects by position.
pub const VERBS: [&str; 5] = ["filter", "filter-taints", "prioritize", "preempt", "bind"];
/// Stands between requests.
pub const END: u8 = u8::MAX;
/// Requests of one input that are answered.
const REQUESTS: usize = 16;
/// Bytes of an answer to each byte of the question: the shortest name, `""`, may come back with the longest reason.
const LONGER: usize = 256;
const TEXT: usize = 4096;

/// Answers any bytes, and says how many of the answers were no errors.
pub fn answer(input: &[u8]) -> usize {
    let cluster = Cluster::new();
    let mut understood = 0;
    for request in input.split(|byte| *byte == END).take(REQUESTS) {
        let Some((first, body)) = request.split_first() else {
            continue;
        };
        let verb = VERBS[usize::from(*first) % VERBS.len()];
        cluster.api_server_does(first / 5 % 3);
        understood += usize::from(one(&cluster, verb, body));
        given_once(&cluster.extender);
    }
    understood
}

fn one(cluster: &Cluster, verb: &str, body: &[u8]) -> bool {
    let extender = &cluster.extender;
    let (_, bytes) = match verb {
        "filter" => extender.filter(body),
        "filter-taints" => extender.filter_taints(body),
        "prioritize" => extender.prioritize(body),
        "preempt" => extender.preempt(body),
        _ => cluster.wait(extender.bind(body)),
    };
    let bytes = bytes.expect("an answer that can be written");
    assert!(
        bytes.len() <= LONGER * body.len() + TEXT,
        "{} bytes to {}",
        bytes.len(),
        body.len()
    );
    let answer: Value = serde_json::from_slice(&bytes).expect("JSON");
    match verb {
        "filter" | "filter-taints" => filtered(verb, body, &answer),
        "prioritize" => prioritized(body, &answer),
        "preempt" => preempted(body, &answer),
        _ => answer["Error"].as_str().expect("a text").is_empty(),
    }
}

fn candidates(body: &[u8]) -> Option<Vec<String>> {
    let args = ExtenderArgs::read(body, &()).ok()?;
    let names = args
        .candidates
        .iter()
        .map(|candidate| candidate.name.to_string());
    Some(names.collect())
}

fn filtered(verb: &str, body: &[u8], answer: &Value) -> bool {
    let error = answer["Error"].as_str().expect("a text");
    let kept: Vec<&str> = match (&answer["NodeNames"], &answer["Nodes"]) {
        (Value::Array(names), Value::Null) => {
            names.iter().map(|name| name.as_str().unwrap()).collect()
        }
        (Value::Null, Value::Object(list)) => (list["items"].as_array().expect("a list"))
            .iter()
            .map(|node| node["metadata"]["name"].as_str().unwrap())
            .collect(),
        other => panic!("neither names nor nodes: {other:?}"),
    };
    if !error.is_empty() {
        assert!(kept.is_empty(), "an error with nodes");
        return false;
    }
    let asked: BTreeSet<String> = candidates(body)
        .expect("it was answered")
        .into_iter()
        .collect();
    let failed: Vec<&String> = ["FailedNodes", "FailedAndUnresolvableNodes"]
        .iter()
        .flat_map(|field| answer[*field].as_object().expect("reasons").keys())
        .collect();
    for name in kept
        .iter()
        .copied()
        .chain(failed.iter().map(|name| name.as_str()))
    {
        assert!(asked.contains(name), "{verb} names {name:?}");
    }
    assert!(kept.is_empty() || failed.is_empty(), "nodes and reasons");
    assert!(
        !kept.is_empty() || failed.len() == asked.len(),
        "a node without a reason"
    );
    if verb == "filter" && !plain(body) {
        assert!(kept.len() <= Policy::default().max_nodes);
    }
    true
}

/// Asks for nothing: every node passes that has no taint against it.
fn plain(body: &[u8]) -> bool {
    use katalyst_scheduler_extender::request::PodRequest;
    let args = ExtenderArgs::read(body, &()).expect("it was answered");
    let pod = args.pod.expect("it was answered");
    PodRequest::from_wire(&pod)
        .expect("it was answered")
        .wish
        .is_plain()
}

fn prioritized(body: &[u8], answer: &Value) -> bool {
    let scores = answer.as_array().expect("a list");
    if scores.is_empty() {
        return false;
    }
    let asked = candidates(body).expect("it was answered");
    assert_eq!(scores.len(), asked.len());
    for (score, name) in scores.iter().zip(&asked) {
        assert_eq!(score["Host"].as_str(), Some(name.as_str()));
        assert!((0..=10).contains(&score["Score"].as_i64().expect("a whole number")));
    }
    true
}

fn preempted(body: &[u8], answer: &Value) -> bool {
    let nodes = answer["NodeNameToMetaVictims"].as_object().expect("by UID");
    if nodes.is_empty() {
        return false;
    }
    let args: PreemptionArgs<'_> = serde_json::from_slice(body).expect("it was answered");
    for (node, victims) in nodes {
        let by_uid = args.node_name_to_meta_victims.as_ref();
        let by_object = args.node_name_to_victims.as_ref();
        assert!(
            by_uid.is_some_and(|nodes| nodes.contains_key(node))
                || by_object.is_some_and(|nodes| nodes.contains_key(node)),
            "names {node:?}"
        );
        let victims = victims["Pods"].as_array().expect("victims");
        assert!(!victims.is_empty(), "{node:?} without a victim");
    }
    true
}

/// What a node has is not given twice.
fn given_once(extender: &Extender) {
    for name in NODES {
        let node = extender.ledger().node(name);
        let (machine, used) = (node.machine(), node.used());
        for (card, held) in machine.cards().iter().zip(&used.cards) {
            assert!(
                held.percent <= 100 && held.mib <= u64::from(card.mib),
                "{name}: {held:?}"
            );
            assert!(held.whole + held.parts.min(1) <= 1, "{name}: {held:?}");
        }
        assert!(used.nics.iter().all(|holders| *holders <= 1), "{name}");
        for (zone, held) in machine.zones().iter().zip(&used.zones) {
            assert!(
                held.cpu <= zone.cpu && held.memory <= zone.memory,
                "{name}: {held:?}"
            );
            assert!(held.exclusive == 0 || held.holders == 1, "{name}: {held:?}");
        }
        let offer = node.reclaimed();
        assert!(
            offer.allocated.cpu <= offer.allocatable.cpu
                && offer.allocated.memory <= offer.allocatable.memory,
            "{name}: {offer:?}"
        );
    }
}
