//! A scripted API server, and small values for tests of what talks to it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a fixture of tests: a panic is the test's failure"
)]
#![allow(dead_code, reason = "each test program uses its part")]

use std::time::Duration;

use katalyst_core::{qos::Level, reclaimed::Reclaimed};
use katalyst_node_agent::{
    cgroup::PodUid,
    pods::{Asks, PodInfo},
    reflex::{CeilingView, ServicePeakView, Snapshot},
};
use kube::client::Body;
use tower_test::mock::{Handle, SendResponse};

/// The other end of a client.
pub(crate) struct Server {
    handle: Handle<http::Request<Body>, http::Response<Body>>,
}

/// Where an answer goes.
pub(crate) type Answer = SendResponse<http::Response<Body>>;

impl Server {
    pub(crate) fn new() -> (kube::Client, Self) {
        let (service, handle) =
            tower_test::mock::pair::<http::Request<Body>, http::Response<Body>>();
        (kube::Client::new(service, "default"), Self { handle })
    }

    /// The next request, with its body.
    pub(crate) async fn next(&mut self) -> (http::Request<Vec<u8>>, Answer) {
        let (request, answer) =
            tokio::time::timeout(Duration::from_secs(10), self.handle.next_request())
                .await
                .expect("a request arrives")
                .expect("the client lives");
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap().to_vec();
        (http::Request::from_parts(parts, body), answer)
    }
}

/// Answers with JSON.
pub(crate) fn respond(answer: Answer, code: u16, body: &str) {
    let response = http::Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Body::from(body.as_bytes().to_vec()))
        .unwrap();
    answer.send_response(response);
}

pub(crate) fn pod(name: &str, level: Level, millicpu: u64) -> PodInfo {
    PodInfo {
        uid: PodUid::new(name),
        object_uid: name.to_owned(),
        namespace: "test".to_owned(),
        name: name.to_owned(),
        level,
        requests: Reclaimed::new(millicpu, 0),
        asks: Asks::default(),
        problems: Vec::new(),
        priority: 0,
        started: None,
        terminating: false,
        finished: false,
        protected: false,
    }
}

/// A tick of a machine of 4 CPUs with that ceiling.
pub(crate) fn snapshot(ceiling: u64) -> Snapshot {
    Snapshot {
        at_nanos: 1,
        cgroup: "v2".to_owned(),
        kubepods: "kubepods".to_owned(),
        capacity: Reclaimed::new(4_000, 8 << 30),
        machine: Reclaimed::new(3_000, 4 << 30),
        service: Reclaimed::new(1_500, 3 << 30),
        reclaimed: Reclaimed::new(1_500, 1 << 30),
        recent_peak: Reclaimed::new(1_600, 3 << 30),
        service_peak: ServicePeakView {
            window_seconds: 300.0,
            filled_seconds: 42.9,
            samples: 42,
            usage: Reclaimed::new(1_750, 3 << 30),
        },
        ceiling: CeilingView {
            value: Reclaimed::new(ceiling, 4 << 30),
            cpu_reason: "room",
            memory_reason: "room",
        },
        surge_watch: String::new(),
        numa: Vec::new(),
        levels: Vec::new(),
        pods: Vec::new(),
        limits: Vec::new(),
    }
}
