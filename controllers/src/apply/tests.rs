//! The wire contract: path, verb, content type, field manager and body of what is sent.

use http::{Request, Response};
use katalyst_core::capacity::Params;
use katalyst_runtime::Leadership;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower_test::mock::{self, Handle};

use super::*;
use crate::capacity::StatusReason;
use crate::lifecycle::ObjectReason;
use crate::testing::{node, reporting, view};

type Server = Handle<Request<Body>, Response<Body>>;

fn client() -> (Client, Server) {
    let (service, server) = mock::pair::<Request<Body>, Response<Body>>();
    (Client::new(service, "default"), server)
}

fn writer(client: Client, leader: Leader) -> Writer {
    Writer::new(client, leader, 4, Duration::from_secs(5))
}

fn status_write() -> Write {
    let decision = capacity::decide(
        &view()
            .node(node("n1", &[]))
            .cnr(reporting("n1", 0.0, 4000))
            .build(),
        &Params::default(),
        None,
        katalyst_core::reclaimed::Reclaimed::ZERO,
        0.0,
    );
    let body = capacity::patch("n1", &decision, &json!({}), jiff::Timestamp::UNIX_EPOCH);
    Write {
        name: "n1".into(),
        target: Target::Status(StatusReason::First, Box::new(decision)),
        body,
    }
}

fn object_write() -> Write {
    let (reason, body) =
        lifecycle::plan(&view().node(node("n1", &[("zone", "a")])).build()).unwrap();
    assert_eq!(reason, ObjectReason::Missing);
    Write {
        name: "n1".into(),
        target: Target::Object(reason),
        body,
    }
}

/// What one request was, answered with `code` and `answer`.
async fn answer(server: &mut Server, code: u16, answer: Value) -> (String, Value) {
    let (request, send) = server.next_request().await.expect("a request");
    let (parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri);
    assert_eq!(
        parts.headers["content-type"],
        "application/apply-patch+yaml"
    );
    let body = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
    send.send_response(
        Response::builder()
            .status(code)
            .body(Body::from(serde_json::to_vec(&answer).unwrap()))
            .unwrap(),
    );
    (line, body)
}

fn cnr_answer() -> Value {
    json!({
        "apiVersion": "node.katalyst.kubewharf.io/v1alpha1", "kind": "CustomNodeResource",
        "metadata": {"name": "n1", "uid": "u", "resourceVersion": "7"}, "spec": {},
    })
}

#[tokio::test]
async fn a_status_is_applied_to_the_subresource_by_our_field_manager() {
    let (client, mut server) = client();
    let writer = writer(client, Leader::always());
    let write = status_write();
    let (mut outcomes, (line, body)) = tokio::join!(
        writer.apply(vec![write.clone()]),
        answer(&mut server, 200, cnr_answer())
    );
    assert_eq!(
        line,
        "PATCH /apis/node.katalyst.kubewharf.io/v1alpha1/customnoderesources/n1/status?&force=true&fieldManager=katalyst-capacity-controller"
    );
    assert_eq!(body, write.body);
    let (_, outcome) = outcomes.remove(0);
    let Outcome::Written(object) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(object.metadata.resource_version.as_deref(), Some("7"));
}

#[tokio::test]
async fn a_cnr_is_created_by_applying_it() {
    let (client, mut server) = client();
    let writer = writer(client, Leader::always());
    let (outcomes, (line, body)) = tokio::join!(
        writer.apply(vec![object_write()]),
        answer(&mut server, 201, cnr_answer())
    );
    assert_eq!(
        line,
        "PATCH /apis/node.katalyst.kubewharf.io/v1alpha1/customnoderesources/n1?&force=true&fieldManager=katalyst-capacity-controller"
    );
    assert_eq!(body["metadata"]["labels"], json!({"zone": "a"}));
    assert!(matches!(outcomes[0].1, Outcome::Written(_)));
}

#[tokio::test]
async fn nothing_is_sent_without_leadership() {
    let (client, mut server) = client();
    let (state, view) = watch::channel(Leadership::Leading {
        term: 1,
        until: None,
    });
    let writer = writer(client, Leader::from_channel(view));
    state.send_replace(Leadership::Lost);
    let outcomes = writer.apply(vec![status_write(), object_write()]).await;
    assert!(
        outcomes
            .iter()
            .all(|(_, outcome)| matches!(outcome, Outcome::Fenced)),
        "{outcomes:?}"
    );
    drop(writer);
    assert!(server.next_request().await.is_none(), "no request at all");
}

#[tokio::test(start_paused = true)]
async fn a_write_ends_with_the_leadership_it_was_started_in() {
    let (client, _server) = client();
    let until = tokio::time::Instant::now() + Duration::from_secs(2);
    let (_state, view) = watch::channel(Leadership::Leading {
        term: 1,
        until: Some(until),
    });
    let writer = writer(client, Leader::from_channel(view));
    let outcomes = writer.apply(vec![status_write()]).await;
    assert!(tokio::time::Instant::now() <= until + Duration::from_millis(5));
    assert!(
        matches!(outcomes[0].1, Outcome::Unavailable(_)),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn answers_about_the_write_and_about_the_server_are_told_apart() {
    for (code, refused) in [
        (422, true),
        (403, true),
        (404, true),
        (429, false),
        (500, false),
        (503, false),
    ] {
        let (client, mut server) = client();
        let writer = writer(client, Leader::always());
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "x", "code": code});
        let (outcomes, _) = tokio::join!(
            writer.apply(vec![status_write()]),
            answer(&mut server, code, status)
        );
        assert_eq!(
            matches!(outcomes[0].1, Outcome::Refused(_)),
            refused,
            "{code}: {outcomes:?}"
        );
    }
}

#[tokio::test]
async fn a_batch_ends_early_when_the_server_does_not_answer() {
    let (client, mut server) = client();
    let writer = Writer::new(client, Leader::always(), 1, Duration::from_secs(5));
    let fail = async {
        let (_, send) = server.next_request().await.expect("a request");
        send.send_response(Response::builder().status(503).body(Body::empty()).unwrap());
    };
    let writes = vec![status_write(), status_write(), object_write()];
    let (outcomes, ()) = tokio::join!(writer.apply(writes), fail);
    let results: Vec<_> = outcomes
        .iter()
        .map(|(_, outcome)| outcome.as_str())
        .collect();
    assert_eq!(results, ["unavailable", "postponed", "postponed"]);
}
