//! An extender over a scripted API, with a clock that the test turns forward (and that follows tokio's, paused or not).
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use katalyst_core::placement::Allocation;
use katalyst_core::reclaimed::Reclaimed;
use katalyst_runtime::Process;
use katalyst_runtime::logging::LogControl;
use katalyst_scheduler_extender::COMPONENT;
use katalyst_scheduler_extender::extender::Extender;
use katalyst_scheduler_extender::http::{MAX_BODY, router};
use katalyst_scheduler_extender::ledger::{Charge, Ledger, Offer, Report};
use katalyst_scheduler_extender::metrics::ExtenderMetrics;
use katalyst_scheduler_extender::policy::Policy;
use katalyst_scheduler_extender::replica::Mandate;
use katalyst_scheduler_extender::verbs::bind::{BindTimeouts, Binder};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_test::mock::Handle;

pub type ApiHandle = Handle<Request<kube::client::Body>, Response<kube::client::Body>>;

pub const POD_UID: &str = "0f4f1f6e-6d52-4a5e-9c42-2f0f5b7a8f10";
pub const STALE_AFTER: i64 = 90_000;
/// 4 CPUs and 1 GiB: what the pod of the golden files requests.
pub const REQUEST: Reclaimed = Reclaimed::new(4000, 1 << 30);

pub struct Rig {
    pub extender: Arc<Extender>,
    pub process: Process,
    clock: Arc<AtomicI64>,
}

/// A client, and the script that answers it.
pub fn client() -> (kube::Client, ApiHandle) {
    let (service, handle) =
        tower_test::mock::pair::<Request<kube::client::Body>, Response<kube::client::Body>>();
    (kube::Client::new(service, "default"), handle)
}

impl Rig {
    pub fn new() -> (Self, ApiHandle) {
        Self::with(Policy::default())
    }

    pub fn with(policy: Policy) -> (Self, ApiHandle) {
        Self::made_of(policy, Mandate::always())
    }

    pub fn led_by(mandate: Mandate) -> (Self, ApiHandle) {
        Self::made_of(Policy::default(), mandate)
    }

    fn made_of(policy: Policy, mandate: Mandate) -> (Self, ApiHandle) {
        let (client, handle) = client();
        let process = Process::new(COMPONENT, LogControl::detached());
        let metrics = ExtenderMetrics::new(&process.metrics);
        let clock = Arc::new(AtomicI64::new(1_000_000));
        let (read, started) = (clock.clone(), tokio::time::Instant::now());
        let extender = Extender::new(
            Arc::new(Ledger::new(STALE_AFTER)),
            policy,
            Binder::new(client, BindTimeouts::default()),
            metrics,
            Arc::new(move || {
                read.load(Ordering::Relaxed) + i64::try_from(started.elapsed().as_millis()).unwrap()
            }),
        )
        .with_mandate(mandate);
        (
            Self {
                extender: Arc::new(extender),
                process,
                clock,
            },
            handle,
        )
    }

    pub fn advance(&self, milliseconds: i64) {
        self.clock.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// The node offers `times` the golden pod's request, and its agent has just reported.
    pub fn offer(&self, node: &str, times: u64) {
        let allocatable = Reclaimed::new(REQUEST.cpu.get() * times, REQUEST.memory.get() * times);
        let now = self.extender.now();
        self.extender.ledger().offer(
            node,
            Offer::Known(Report {
                allocatable,
                agent_ready: true,
                reported: now,
                ..Report::default()
            }),
            now,
        );
    }

    /// A pod on the node holds that much.
    pub fn hold(&self, uid: &str, node: &str, amount: Reclaimed, priority: i32) {
        let charge = Charge {
            priority,
            name: format!("analytics/{uid}").into(),
            ..Charge::default()
        };
        let allocation = Allocation {
            reclaimed: amount,
            ..Allocation::default()
        };
        self.extender
            .ledger()
            .seen(&uid.into(), node, charge, allocation);
    }

    pub fn allocated(&self, node: &str) -> Reclaimed {
        self.extender.ledger().allocated(node)
    }

    /// Sends a question as kube-scheduler does.
    pub async fn ask(&self, verb: &str, body: impl Into<Body>) -> (StatusCode, Value) {
        let router = router(self.extender.clone(), self.process.health.clone(), MAX_BODY);
        let request = Request::post(format!("/{verb}"))
            .header("Content-Type", "application/json")
            .body(body.into())
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        (
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    /// Sends a golden question and expects an answer.
    pub async fn golden(&self, verb: &str, file: &str) -> Value {
        let (status, answer) = self.ask(verb, golden(file)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }
}

pub fn golden(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(file)
        .with_extension("json");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The golden pod as the API returns it.
pub fn api_pod(uid: &str, node: Option<&str>) -> Value {
    let args: Value = serde_json::from_str(&golden("filter_names")).unwrap();
    let mut pod = args["Pod"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["uid"] = json!(uid);
    if let Some(node) = node {
        pod["spec"]["nodeName"] = json!(node);
    }
    pod
}

pub fn answer(status: u16, body: &Value) -> Response<kube::client::Body> {
    Response::builder()
        .status(status)
        .body(kube::client::Body::from(body.to_string().into_bytes()))
        .unwrap()
}

/// A refusal as the API server words it.
pub fn failure(code: u16, reason: &str, message: &str) -> Response<kube::client::Body> {
    answer(
        code,
        &json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code}),
    )
}

/// The answer to an accepted Binding.
pub fn created() -> Response<kube::client::Body> {
    answer(
        201,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    )
}
