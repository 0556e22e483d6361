//! Bind against a scripted API: what is sent, and what becomes of the charge.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod rig;

use std::future::Future;
use std::time::Duration;

use http::{Method, Response};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_scheduler_extender::watch::apply_pod;
use kube::runtime::watcher::Event;
use rig::{ApiHandle, POD_UID, REQUEST, Rig, answer, api_pod, created, failure, golden};
use serde_json::{Value, json};

type Reply = Response<kube::client::Body>;

/// Answers the next call, and tells its method, path and body.
async fn serve(api: &mut ApiHandle, reply: Reply) -> (Method, String, Value) {
    let (request, send) = tokio::time::timeout(Duration::from_secs(30), api.next_request())
        .await
        .expect("a call within 30 s")
        .expect("a call");
    let (parts, body) = request.into_parts();
    let body = body.collect_bytes().await.unwrap();
    send.send_response(reply);
    (
        parts.method,
        parts.uri.path().to_owned(),
        serde_json::from_slice(&body).unwrap_or(Value::Null),
    )
}

/// Runs bind while the script answers.
async fn bind(rig: &Rig, script: impl Future<Output = ()>) -> String {
    let ((_, answer), ()) = tokio::join!(rig.ask("bind", golden("bind")), script);
    answer["Error"].as_str().expect("an Error field").to_owned()
}

async fn filtered() -> (Rig, ApiHandle) {
    let (rig, api) = Rig::new();
    rig.offer("node-a", 1);
    rig.golden("filter", "filter_names").await;
    (rig, api)
}

fn found(uid: &str, node: Option<&str>) -> Reply {
    answer(200, &api_pod(uid, node))
}

const ASSIGNED: &str =
    "Operation cannot be fulfilled on pods/binding: pod is already assigned to node";

#[tokio::test]
async fn the_binding_carries_the_uid_and_the_allocation() {
    let (rig, mut api) = filtered().await;
    let error = bind(&rig, async {
        let (method, path, body) = serve(&mut api, created()).await;
        assert_eq!(
            (method, path.as_str()),
            (
                Method::POST,
                "/api/v1/namespaces/analytics/pods/batch-7d9c4-x2x9z/binding"
            )
        );
        assert_eq!(body["metadata"]["uid"], json!(POD_UID));
        assert_eq!(
            body["metadata"]["annotations"]["katalyst.kubewharf.io/reclaimed_allocation"],
            json!(r#"{"cpu":"4000m","memory":"1Gi"}"#)
        );
        assert_eq!(body["target"], json!({"kind": "Node", "name": "node-a"}));
        assert_eq!(
            (&body["kind"], &body["apiVersion"]),
            (&json!("Binding"), &json!("v1"))
        );
    })
    .await;
    assert_eq!(error, "");
    assert_eq!(rig.allocated("node-a"), REQUEST);
    assert_eq!(rig.extender.ledger().assumed(), 1);
}

#[tokio::test]
async fn a_second_bind_succeeds_without_a_call() {
    let (rig, mut api) = filtered().await;
    assert_eq!(
        bind(&rig, async { drop(serve(&mut api, created()).await) }).await,
        ""
    );
    assert_eq!(bind(&rig, async {}).await, "");
    assert_eq!(rig.allocated("node-a"), REQUEST);
}

#[tokio::test]
async fn the_watch_confirms_and_the_deletion_frees() {
    let (rig, mut api) = filtered().await;
    assert_eq!(
        bind(&rig, async { drop(serve(&mut api, created()).await) }).await,
        ""
    );
    let pod: k8s_openapi::api::core::v1::Pod =
        serde_json::from_value(api_pod(POD_UID, Some("node-a"))).unwrap();
    apply_pod(&rig.extender, Event::Apply(pod.clone()));
    assert_eq!(
        (rig.extender.ledger().assumed(), rig.allocated("node-a")),
        (0, REQUEST)
    );
    apply_pod(&rig.extender, Event::Delete(pod));
    assert_eq!(rig.allocated("node-a"), Reclaimed::ZERO);
}

#[tokio::test]
async fn a_conflict_is_success_where_the_pod_is_on_the_node() {
    let (rig, mut api) = filtered().await;
    let error = bind(&rig, async {
        serve(&mut api, failure(409, "Conflict", ASSIGNED)).await;
        let (method, path, _) = serve(&mut api, found(POD_UID, Some("node-a"))).await;
        assert_eq!(
            (method, path.as_str()),
            (
                Method::GET,
                "/api/v1/namespaces/analytics/pods/batch-7d9c4-x2x9z"
            )
        );
    })
    .await;
    assert_eq!((error.as_str(), rig.allocated("node-a")), ("", REQUEST));
}

#[tokio::test]
async fn a_conflict_is_an_error_where_the_pod_is_elsewhere_replaced_or_gone() {
    let elsewhere = || found(POD_UID, Some("node-b"));
    let replaced = || found("another", Some("node-a"));
    let gone = || failure(404, "NotFound", "pods \"batch-7d9c4-x2x9z\" not found");
    let cases: [(&dyn Fn() -> Reply, &str); 3] = [
        (&elsewhere, "already bound to node node-b"),
        (&replaced, "replaced by another"),
        (&gone, "gone"),
    ];
    for (look, text) in cases {
        let (rig, mut api) = filtered().await;
        let error = bind(&rig, async {
            serve(&mut api, failure(409, "Conflict", ASSIGNED)).await;
            serve(&mut api, look()).await;
        })
        .await;
        assert!(
            error.starts_with("pod analytics/batch-7d9c4-x2x9z is not bound to node node-a: ")
                && error.contains(text),
            "{error}"
        );
        assert_eq!(rig.allocated("node-a"), Reclaimed::ZERO);
    }
}

#[tokio::test]
async fn a_full_node_is_refused_without_a_call() {
    let (rig, _api) = filtered().await;
    rig.hold("quicker", "node-a", Reclaimed::new(1, 0), 0);
    let error = bind(&rig, async {}).await;
    assert!(
        error.ends_with("insufficient reclaimed_millicpu"),
        "{error}"
    );
    assert_eq!(rig.allocated("node-a"), Reclaimed::new(1, 0));
}

#[tokio::test]
async fn a_server_error_leaves_the_charge_until_the_outcome_is_clear() {
    let (rig, mut api) = filtered().await;
    let error = bind(&rig, async {
        serve(
            &mut api,
            failure(500, "InternalError", "etcdserver: request timed out"),
        )
        .await;
        serve(&mut api, found(POD_UID, None)).await;
    })
    .await;
    assert!(error.contains("etcdserver: request timed out"), "{error}");
    let ledger = rig.extender.ledger();
    assert_eq!(
        (ledger.doubts().len(), rig.allocated("node-a")),
        (1, REQUEST)
    );

    // Not yet on a node: the write may still land.
    let look = |rig: &Rig| {
        let (binder, ledger, now) = (
            rig.extender.binder().clone(),
            rig.extender.ledger().clone(),
            rig.extender.now(),
        );
        async move { binder.resolve_doubts(&ledger, now).await }
    };
    tokio::join!(look(&rig), serve(&mut api, found(POD_UID, None)));
    assert_eq!(rig.allocated("node-a"), REQUEST);

    // Long enough after: it cannot.
    rig.advance(60_001);
    tokio::join!(look(&rig), serve(&mut api, found(POD_UID, None)));
    assert_eq!(
        (ledger.doubts().len(), rig.allocated("node-a")),
        (0, Reclaimed::ZERO)
    );
}

#[tokio::test]
async fn a_doubt_ends_when_the_pod_is_found_on_the_node() {
    let (rig, mut api) = filtered().await;
    bind(&rig, async {
        serve(
            &mut api,
            failure(
                504,
                "Timeout",
                "request did not complete within the allotted timeout",
            ),
        )
        .await;
        serve(
            &mut api,
            failure(503, "ServiceUnavailable", "apiserver is shutting down"),
        )
        .await;
    })
    .await;
    tokio::join!(
        rig.extender
            .binder()
            .resolve_doubts(rig.extender.ledger(), rig.extender.now()),
        serve(&mut api, found(POD_UID, Some("node-a")))
    );
    assert_eq!(
        (
            rig.extender.ledger().doubts().len(),
            rig.allocated("node-a")
        ),
        (0, REQUEST)
    );
    assert_eq!(
        bind(&rig, async {}).await,
        "",
        "the retry of kube-scheduler"
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_api_server_is_given_up_before_the_scheduler_gives_up() {
    let (rig, api) = filtered().await;
    let started = tokio::time::Instant::now();
    let error = bind(&rig, async {}).await;
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert!(error.contains("not answered within 3s"), "{error}");
    assert_eq!(rig.allocated("node-a"), REQUEST);
    drop(api);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_hangs_up_leaves_a_doubt_and_no_free_room() {
    let (rig, api) = filtered().await;
    let hung_up =
        tokio::time::timeout(Duration::from_millis(100), rig.ask("bind", golden("bind"))).await;
    assert!(hung_up.is_err());
    assert_eq!(
        (
            rig.extender.ledger().doubts().len(),
            rig.allocated("node-a")
        ),
        (1, REQUEST)
    );
    drop(api);
}

#[tokio::test]
async fn a_pod_that_filter_has_not_seen_is_read_first() {
    let (rig, mut api) = Rig::new();
    rig.offer("node-a", 1);
    let error = bind(&rig, async {
        let (method, ..) = serve(&mut api, found(POD_UID, None)).await;
        assert_eq!(method, Method::GET);
        let (method, ..) = serve(&mut api, created()).await;
        assert_eq!(method, Method::POST);
    })
    .await;
    assert_eq!((error.as_str(), rig.allocated("node-a")), ("", REQUEST));
}

#[tokio::test]
async fn after_a_restart_a_pod_that_is_bound_already_is_a_success() {
    let (rig, mut api) = Rig::new();
    assert_eq!(
        bind(&rig, async {
            drop(serve(&mut api, found(POD_UID, Some("node-a"))).await);
        })
        .await,
        ""
    );
}

#[tokio::test]
async fn a_replaced_pod_of_the_same_name_is_not_bound() {
    let (rig, mut api) = Rig::new();
    rig.offer("node-a", 1);
    let error = bind(&rig, async {
        drop(serve(&mut api, found("another", None)).await);
    })
    .await;
    assert!(error.contains("replaced by another of its name"), "{error}");
}
