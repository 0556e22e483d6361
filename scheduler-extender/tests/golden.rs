//! Questions as kube-scheduler 1.36's Go encoder writes them, and the answers its decoder accepts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod rig;

use http::StatusCode;
use katalyst_scheduler_extender::policy::Policy;
use rig::{Rig, STALE_AFTER, golden};
use serde_json::{Value, json};

const NO_OFFER: &str = "node offers no reclaimed resources";

fn names(answer: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = answer["NodeNames"]
        .as_array()
        .expect("an explicit list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn filter_returns_names_for_names() {
    let (rig, _api) = Rig::new();
    rig.offer("node-a", 2);
    rig.offer("node-c", 1);
    let answer = rig.golden("filter", "filter_names").await;
    assert_eq!(names(&answer), ["node-a", "node-c"]);
    assert_eq!(answer["Nodes"], Value::Null);
    assert_eq!(
        (
            &answer["FailedNodes"],
            &answer["FailedAndUnresolvableNodes"],
            &answer["Error"]
        ),
        (&json!({}), &json!({}), &json!(""))
    );
}

#[tokio::test]
async fn filter_returns_objects_for_objects_untouched() {
    let (rig, _api) = Rig::new();
    rig.offer("node-b", 1);
    let answer = rig.golden("filter", "filter_nodes").await;
    let question: Value = serde_json::from_str(&golden("filter_nodes")).unwrap();
    assert_eq!(
        answer["Nodes"]["items"],
        json!([question["Nodes"]["items"][1]])
    );
    assert_eq!(answer["NodeNames"], Value::Null);
}

#[tokio::test]
async fn filter_without_candidates_gives_an_explicit_empty_list() {
    let (rig, _api) = Rig::new();
    let answer = rig.golden("filter", "filter_neither").await;
    assert_eq!(
        (&answer["NodeNames"], &answer["Error"]),
        (&json!([]), &json!(""))
    );
}

#[tokio::test]
async fn every_candidate_has_its_reason_when_none_fits() {
    let (rig, _api) = Rig::new();
    rig.offer("node-a", 0);
    let answer = rig.golden("filter", "filter_names").await;
    assert_eq!(answer["NodeNames"], json!([]));
    assert_eq!(
        answer["FailedAndUnresolvableNodes"],
        json!({"node-a": NO_OFFER, "node-b": NO_OFFER, "node-c": NO_OFFER})
    );
}

#[tokio::test]
async fn preemption_is_suggested_only_where_a_pod_of_lower_priority_holds_the_room() {
    let (rig, _api) = Rig::with(Policy {
        suggest_preemption: true,
        ..Policy::default()
    });
    for node in ["node-a", "node-b"] {
        rig.offer(node, 1);
    }
    rig.hold("low", "node-a", rig::REQUEST, 0);
    rig.hold("equal", "node-b", rig::REQUEST, 100);
    let answer = rig.golden("filter", "filter_names").await;
    let cpu = "insufficient reclaimed_millicpu";
    assert_eq!(answer["FailedNodes"], json!({"node-a": cpu}));
    assert_eq!(
        answer["FailedAndUnresolvableNodes"],
        json!({"node-b": cpu, "node-c": NO_OFFER})
    );
}

#[tokio::test]
async fn a_node_whose_report_is_old_takes_no_pod() {
    let (rig, _api) = Rig::new();
    rig.offer("node-a", 5);
    assert_eq!(
        names(&rig.golden("filter", "filter_names").await),
        ["node-a"]
    );
    rig.advance(STALE_AFTER + 1);
    let answer = rig.golden("filter", "filter_names").await;
    assert_eq!(
        answer["FailedAndUnresolvableNodes"]["node-a"],
        json!("node agent is silent")
    );
    assert_eq!(
        rig.golden("prioritize", "filter_names").await[0],
        json!({"Host": "node-a", "Score": 0})
    );
}

#[tokio::test]
async fn a_pod_without_the_reclaimed_class_gets_one_clear_reason() {
    let (rig, _api) = Rig::new();
    rig.offer("node-a", 5);
    let answer = rig.golden("filter", "filter_unlabelled").await;
    let reasons = answer["FailedAndUnresolvableNodes"].as_object().unwrap();
    assert_eq!(reasons.len(), 3);
    for reason in reasons.values() {
        assert!(
            reason
                .as_str()
                .unwrap()
                .contains("katalyst.kubewharf.io/qos_level: reclaimed_cores"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_malformed_annotation_is_named_in_the_answer() {
    let (rig, _api) = Rig::new();
    let answer = rig.golden("filter", "filter_bad_annotation").await;
    let error = answer["Error"].as_str().unwrap();
    assert!(
        error.contains("analytics/batch-7d9c4-x2x9z")
            && error.contains("katalyst.kubewharf.io/qos_level")
            && error.contains("reclaimd_cores"),
        "{error}"
    );
}

#[tokio::test]
async fn a_malformed_request_is_named_in_the_answer() {
    let (rig, _api) = Rig::new();
    let question = golden("filter_names").replace("\"4k\"", "\"four\"");
    let (status, answer) = rig.ask("filter", question).await;
    let error = answer["Error"].as_str().unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(
        error
            .contains("container work: resource resource.katalyst.kubewharf.io/reclaimed_millicpu")
            && error.contains("\"four\""),
        "{error}"
    );
}

#[tokio::test]
async fn a_question_that_is_no_json_is_answered_in_the_protocol() {
    let (rig, _api) = Rig::new();
    for (verb, expected) in [("filter", json!([])), ("bind", Value::Null)] {
        let (status, answer) = rig.ask(verb, "{\"Pod\":").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer["NodeNames"], expected);
        assert!(
            answer["Error"]
                .as_str()
                .unwrap()
                .starts_with(&format!("{verb} request cannot be read")),
            "{answer}"
        );
    }
    assert_eq!(
        rig.ask("prioritize", "[]").await,
        (StatusCode::OK, json!([]))
    );
    assert_eq!(
        rig.ask("preempt", "").await,
        (StatusCode::OK, json!({"NodeNameToMetaVictims": {}}))
    );
}

#[tokio::test]
async fn prioritize_gives_whole_numbers_from_0_to_10_for_every_candidate() {
    let (rig, _api) = Rig::new();
    rig.offer("node-a", 1);
    rig.offer("node-b", 10);
    let answer = rig.golden("prioritize", "filter_names").await;
    assert_eq!(
        answer,
        json!([{"Host": "node-a", "Score": 0}, {"Host": "node-b", "Score": 9}, {"Host": "node-c", "Score": 0}])
    );
}

#[tokio::test]
async fn preempt_keeps_victims_that_free_enough_and_drops_the_other_nodes() {
    for file in ["preempt_meta", "preempt_objects"] {
        let (rig, _api) = Rig::new();
        for node in ["node-a", "node-b"] {
            rig.offer(node, 1);
        }
        rig.hold("victim-1", "node-a", rig::REQUEST, 0);
        let answer = rig.golden("preempt", file).await;
        let nodes = answer["NodeNameToMetaVictims"].as_object().unwrap();
        assert_eq!(nodes.keys().collect::<Vec<_>>(), ["node-a"], "{file}");
        assert_eq!(
            nodes["node-a"]["Pods"],
            json!([{"UID": "victim-1"}]),
            "{file}"
        );
    }
}

#[tokio::test]
async fn no_verb_is_answered_before_the_caches_are_complete() {
    let (rig, _api) = Rig::new();
    let gate = rig.process.health.gate("cache: pods");
    for verb in ["filter", "prioritize", "preempt", "bind"] {
        assert_eq!(
            rig.ask(verb, golden("bind")).await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
    gate.open();
    assert_eq!(
        rig.ask("filter", golden("filter_names")).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn questions_are_counted() {
    let (rig, _api) = Rig::new();
    rig.golden("filter", "filter_names").await;
    rig.extender.measure();
    let text = rig.process.metrics.encode().unwrap();
    for line in [
        "katalyst_extender_requests_total{verb=\"filter\",result=\"rejected\"} 1",
        "katalyst_extender_rejected_nodes_total{reason=\"nothing_offered\"} 3",
        "katalyst_extender_request_seconds_count{verb=\"filter\"} 1",
        "katalyst_extender_waiting_pods 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
