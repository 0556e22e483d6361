//! The replica that does not lead answers what it can and binds nothing; becoming the leader, it lists pods first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod rig;

use std::time::Duration;

use http::StatusCode;
use katalyst_runtime::Leader;
use katalyst_scheduler_extender::replica::{Endpoint, Mandate, lead};
use katalyst_scheduler_extender::watch::{listings, watch_pods};
use rig::{POD_UID, Rig, answer, api_pod, golden};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// One call that the extender makes: its path and query, and a way to answer.
async fn called(api: &mut rig::ApiHandle, reply: &Value) -> String {
    let (request, send) = tokio::time::timeout(Duration::from_secs(30), api.next_request())
        .await
        .expect("a call within 30 s")
        .expect("a call");
    send.send_response(answer(200, reply));
    request.uri().to_string()
}

#[tokio::test]
async fn the_other_replica_answers_filter_and_refuses_bind() {
    let mandate = Mandate::new(Leader::always());
    let (rig, _api) = Rig::led_by(mandate.clone());
    rig.offer("node-a", 1);
    let kept = rig.golden("filter", "filter_names").await;
    assert_eq!(kept["NodeNames"], json!(["node-a"]));
    let (status, _) = rig.ask("bind", golden("bind")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(rig.allocated("node-a").cpu.get(), 0, "nothing was charged");
}

#[tokio::test]
async fn a_new_leader_lists_pods_again_before_it_binds_and_then_draws_the_traffic() {
    let mandate = Mandate::new(Leader::always());
    let (rig, _unused) = Rig::led_by(mandate.clone());
    let (client, mut api) = rig::client();
    let stop = CancellationToken::new();
    let (listings, requests) = listings();
    let synced = rig.process.health.gate("cache: pods");
    let watching = tokio::spawn(watch_pods(
        rig.extender.clone(),
        client,
        synced,
        requests,
        stop.clone(),
    ));
    let empty = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": []});
    let listed = called(&mut api, &empty).await;
    assert!(!listed.contains("resourceVersion=0"), "{listed}");
    let watched = called(&mut api, &json!({})).await;
    assert!(watched.contains("watch=true"), "{watched}");

    let (writer, mut slices) = rig::client();
    let endpoint = Endpoint {
        namespace: "katalyst-system".into(),
        service: "katalyst-scheduler-extender".into(),
        address: "10.0.0.7".parse().unwrap(),
        port: 10262,
    };
    let leading = tokio::spawn(lead(
        mandate.clone(),
        listings,
        writer,
        Some(endpoint),
        stop.clone(),
    ));
    // What the leader before bound is in the second listing, and only in that.
    let mut pod = api_pod(POD_UID, Some("node-a"));
    pod["metadata"]["resourceVersion"] = json!("8");
    let (request, send) = loop {
        let (request, send) = tokio::time::timeout(Duration::from_secs(30), api.next_request())
            .await
            .expect("a second listing within 30 s")
            .expect("a call");
        if !request.uri().to_string().contains("watch=true") {
            break (request, send);
        }
        send.send_response(answer(200, &json!({})));
    };
    assert!(!mandate.holds(), "not before {} is answered", request.uri());
    send.send_response(answer(
        200,
        &json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}, "items": [pod]}),
    ));
    let written = called(&mut slices, &json!({"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "metadata": {"name": "x"}, "addressType": "IPv4", "endpoints": []})).await;
    assert!(
        written.contains("/namespaces/katalyst-system/endpointslices/katalyst-scheduler-extender"),
        "{written}"
    );
    assert!(mandate.holds());
    assert_eq!(rig.allocated("node-a"), rig::REQUEST);
    stop.cancel();
    leading.await.unwrap().unwrap();
    watching.await.unwrap().unwrap();
}
