//! Rounds against a scripted API.

use http::{Request, Response};
use katalyst_core::capacity::Params;
use katalyst_runtime::{Leadership, Metrics};
use kube::Client;
use kube::client::Body;
use parking_lot::RwLock;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower_test::mock::{self, Handle};

use super::*;
use crate::capacity::Pace;
use crate::clock::Clock;
use crate::index::{Index, Kind};
use crate::lifecycle::ObjectReason;
use crate::metrics::Meters;
use crate::outage::Outage;
use crate::testing::{cnr, node};

type Server = Handle<Request<Body>, Response<Body>>;

struct Bench {
    worker: Worker<StdRng>,
    server: Server,
    leadership: watch::Sender<Leadership>,
}

fn bench() -> Bench {
    let (service, server) = mock::pair::<Request<Body>, Response<Body>>();
    let (leadership, view) = watch::channel(Leadership::Leading {
        term: 1,
        until: None,
    });
    let leader = Leader::from_channel(view);
    let clock = Clock::start();
    let meters = Meters::new(&Metrics::new("test", "0"));
    let mut index = Index::default();
    for kind in Kind::ALL {
        index.begin_list(kind);
        index.end_list(kind);
    }
    let shared = Shared {
        index: Arc::new(RwLock::new(index)),
        changed: Arc::default(),
        clock,
        outage: Outage::new(clock),
        meters: meters.clone(),
    };
    let writer = Writer::new(
        Client::new(service, "default"),
        leader.clone(),
        4,
        Duration::from_secs(5),
    );
    let worker = Worker {
        shared,
        leader: leader.clone(),
        rules: Rules {
            params: Params::default(),
            pace: Pace::default(),
            grace_seconds: 45.0,
        },
        resync: Duration::from_secs(5),
        output: Output::Api(Box::new(writer)),
        complaints: Complaints::new(meters, leader, None),
        planner: Arc::default(),
        rng: StdRng::seed_from_u64(1),
    };
    Bench {
        worker,
        server,
        leadership,
    }
}

/// Answers the next request as an API server that stores what is applied, and returns its path.
async fn store(server: &mut Server, version: u64) -> String {
    let (request, send) = server.next_request().await.expect("a request");
    let (parts, body) = request.into_parts();
    let mut object: Value = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
    object["metadata"]["uid"] = json!("u");
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    object["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "uid-n1"}]);
    send.send_response(Response::new(Body::from(
        serde_json::to_vec(&object).unwrap(),
    )));
    parts.uri.path().to_owned()
}

#[tokio::test]
async fn a_new_node_gets_its_cnr_and_then_its_status_without_waiting_for_the_watch() {
    let Bench {
        mut worker,
        mut server,
        leadership: _leadership,
    } = bench();
    worker.shared.index.write().apply_node(node("n1", &[]));
    let ((), path) = tokio::join!(worker.round(false), store(&mut server, 1));
    assert!(path.ends_with("/customnoderesources/n1"), "{path}");
    let ((), path) = tokio::join!(worker.round(false), store(&mut server, 2));
    assert!(path.ends_with("/customnoderesources/n1/status"), "{path}");
    // Nothing is left to do, so this round must not wait for an answer.
    worker.round(true).await;
    assert_eq!(
        worker
            .shared
            .meters
            .writes(&Target::Object(ObjectReason::Missing), "written"),
        1
    );
}

#[tokio::test]
async fn a_follower_plans_and_writes_nothing_and_acts_once_it_leads() {
    let Bench {
        mut worker,
        mut server,
        leadership,
    } = bench();
    leadership.send_replace(Leadership::Waiting { holder: None });
    worker.shared.index.write().apply_node(node("n1", &[]));
    worker.round(true).await;
    worker.round(false).await;
    assert!(worker.planner.lock().is_none());
    leadership.send_replace(Leadership::Leading {
        term: 2,
        until: None,
    });
    let ((), path) = tokio::join!(worker.round(false), store(&mut server, 1));
    assert!(path.ends_with("/customnoderesources/n1"), "{path}");
}

#[tokio::test]
async fn nothing_is_decided_before_every_cache_is_full() {
    let Bench {
        mut worker,
        leadership: _leadership,
        server: _server,
    } = bench();
    *worker.shared.index.write() = Index::default();
    worker.shared.index.write().apply_node(node("n1", &[]));
    worker.round(true).await;
    assert!(worker.planner.lock().is_none());
}

#[tokio::test]
async fn an_api_server_that_fails_is_one_outage_and_the_write_is_tried_again() {
    let Bench {
        mut worker,
        mut server,
        leadership: _leadership,
    } = bench();
    for name in ["n1", "n2"] {
        let mut index = worker.shared.index.write();
        index.apply_node(node(name, &[]));
        index.apply_cnr(cnr(name), 0.0);
    }
    let fail = async {
        for _ in 0..2 {
            let (_, send) = server.next_request().await.expect("a request");
            send.send_response(Response::builder().status(503).body(Body::empty()).unwrap());
        }
    };
    tokio::join!(worker.round(true), fail);
    assert!(worker.shared.outage.is_down(SOURCE));
    worker.round(true).await;
    let now = worker.shared.clock.now();
    let due = worker
        .planner
        .lock()
        .as_ref()
        .unwrap()
        .next_due(now)
        .expect("tried again later");
    assert!(due <= now + 1.0);
}
