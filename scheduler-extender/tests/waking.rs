//! A pod that found no room is woken through a node's annotation once a custom resource offers more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod rig;

use std::time::Duration;

use katalyst_scheduler_extender::wakeup::{OFFER_GENERATION, run};
use rig::{ApiHandle, Rig, answer};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

async fn serve(api: &mut ApiHandle, status: u16) -> (String, String, Value) {
    let (request, send) = tokio::time::timeout(Duration::from_secs(60), api.next_request())
        .await
        .expect("a call within 60 s")
        .expect("a call");
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await.unwrap();
    let node = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "node-b"}});
    let refusal = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "Forbidden", "code": status});
    send.send_response(answer(status, if status == 200 { &node } else { &refusal }));
    (
        parts.method.to_string(),
        parts.uri.path().to_owned(),
        serde_json::from_slice(&body).unwrap(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_node_that_can_take_a_rejected_pod_is_annotated() {
    let (rig, _unused) = Rig::new();
    let (client, mut api) = rig::client();
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(rig.extender.clone(), client, stop.clone()));

    rig.offer("node-a", 0);
    rig.golden("filter", "filter_names").await;
    rig.offer("node-b", 1);
    let (method, path, body) = serve(&mut api, 200).await;
    assert_eq!(
        (method.as_str(), path.as_str()),
        ("PATCH", "/api/v1/nodes/node-b")
    );
    assert!(
        body["metadata"]["annotations"][OFFER_GENERATION].is_string(),
        "{body}"
    );

    // The pod is asked about again, finds its node, and wakes nobody any more.
    rig.golden("filter", "filter_names").await;
    rig.advance(10_000);
    rig.offer("node-b", 2);
    assert_eq!(rig.extender.plan_wakeup(), None);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_annotation_is_tried_again() {
    let (rig, _unused) = Rig::new();
    let (client, mut api) = rig::client();
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(rig.extender.clone(), client, stop.clone()));
    rig.golden("filter", "filter_names").await;
    rig.offer("node-b", 1);
    serve(&mut api, 403).await;
    let (_, path, _) = serve(&mut api, 200).await;
    assert_eq!(path, "/api/v1/nodes/node-b");
    stop.cancel();
    running.await.unwrap().unwrap();
}
