//! The verbs over HTTP: on the port of the admin server, or on a TLS port of their own.
//!
//! Every logical error is a 200 with its text in the answer: kube-scheduler drops the body of any other status. Only a process
//! that cannot judge, because its caches are empty, or may not bind, because another one leads, answers 503.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use katalyst_runtime::Health;

use crate::extender::{Answer, Extender};
use crate::metrics::Outcome;

/// Largest question unless a flag says otherwise: 15,000 names of the longest kind and the largest pod are 6 MiB. With
/// `nodeCacheCapable: false` it is not enough: 5,000 whole Node objects of 20 KiB are 100 MiB.
pub const MAX_BODY: usize = 16 * 1024 * 1024;

#[derive(Clone)]
struct Shared {
    extender: Arc<Extender>,
    health: Health,
}

/// The routes of the verbs. Until `health` is ready each answers 503.
pub fn router(extender: Arc<Extender>, health: Health, max_body: usize) -> Router {
    Router::new()
        .route("/filter", post(filter))
        .route("/filter-taints", post(filter_taints))
        .route("/prioritize", post(prioritize))
        .route("/preempt", post(preempt))
        .route("/bind", post(bind))
        .layer(DefaultBodyLimit::max(max_body))
        .with_state(Shared { extender, health })
}

async fn filter(State(shared): State<Shared>, body: Bytes) -> Response {
    shared.answer("filter", |extender| extender.filter(&body))
}

async fn filter_taints(State(shared): State<Shared>, body: Bytes) -> Response {
    shared.answer("filter-taints", |extender| extender.filter_taints(&body))
}

async fn prioritize(State(shared): State<Shared>, body: Bytes) -> Response {
    shared.answer("prioritize", |extender| extender.prioritize(&body))
}

async fn preempt(State(shared): State<Shared>, body: Bytes) -> Response {
    shared.answer("preempt", |extender| extender.preempt(&body))
}

async fn bind(State(shared): State<Shared>, body: Bytes) -> Response {
    let started = Instant::now();
    if let Some(refusal) = shared.not_ready("bind", started) {
        return refusal;
    }
    if !shared.extender.mandate().holds() {
        let why = vec!["this replica does not lead; ask the Service".to_owned()];
        return shared.refuse("bind", started, &why);
    }
    let answer = shared.extender.bind(&body).await;
    shared.respond("bind", started, answer)
}

impl Shared {
    fn answer(&self, verb: &'static str, decide: impl FnOnce(&Extender) -> Answer) -> Response {
        let started = Instant::now();
        if let Some(refusal) = self.not_ready(verb, started) {
            return refusal;
        }
        let answer = decide(&self.extender);
        self.respond(verb, started, answer)
    }

    fn not_ready(&self, verb: &'static str, started: Instant) -> Option<Response> {
        let pending = self.health.pending();
        (!pending.is_empty()).then(|| self.refuse(verb, started, &pending))
    }

    fn refuse(&self, verb: &'static str, started: Instant, why: &[String]) -> Response {
        self.extender
            .metrics()
            .answered(verb, Outcome::NotReady, started.elapsed().as_secs_f64());
        (StatusCode::SERVICE_UNAVAILABLE, why.join("\n") + "\n").into_response()
    }

    fn respond(&self, verb: &'static str, started: Instant, (outcome, body): Answer) -> Response {
        self.extender
            .metrics()
            .answered(verb, outcome, started.elapsed().as_secs_f64());
        match body {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => {
                tracing::error!(%error, verb, "the answer cannot be written");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
