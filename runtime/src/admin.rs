//! The admin server: health, metrics, state for people, and the log level.
//!
//! | path | answer |
//! |---|---|
//! | `GET /livez` | 200, or 503 with a line for each overdue loop |
//! | `GET /readyz` | 200, or 503 with a line for each closed gate |
//! | `GET /metrics` | OpenMetrics text |
//! | `GET /debug/state` | one JSON object, a key for each provider |
//! | `GET /debug/state/{name}` | one provider's JSON |
//! | `GET /log-level` | the log filter in force |
//! | `PUT /log-level` | replaces it with the body's text; answered to loopback peers only |
//!
//! The port is readable by whoever can reach it, so nothing here may show a secret. The one route that changes
//! something is limited to loopback peers, which `kubectl port-forward` is.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt as _,
};
use parking_lot::RwLock;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    health::Health,
    logging::LogControl,
    metrics::{CONTENT_TYPE, Metrics},
    process::Component,
};

/// Why the admin server could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is in use or not ours.
    #[error("admin server cannot listen on {addr}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("admin server failed")]
    Serve(#[source] std::io::Error),
}

/// A source of one part of `/debug/state`. Called on a blocking thread for each request; must not panic.
pub type StateProvider = Arc<dyn Fn() -> Value + Send + Sync>;

/// The named parts of `/debug/state`. Clones share the same parts.
#[derive(Clone, Default)]
pub struct DebugState {
    providers: Arc<RwLock<BTreeMap<String, StateProvider>>>,
}

impl DebugState {
    /// Adds or replaces the part `name`.
    pub fn provide(
        &self,
        name: impl Into<String>,
        provider: impl Fn() -> Value + Send + Sync + 'static,
    ) {
        self.providers
            .write()
            .insert(name.into(), Arc::new(provider));
    }

    /// Every part, as one JSON object.
    pub fn snapshot(&self) -> Map<String, Value> {
        // The lock is not held while providers run: they may take locks of their own.
        let providers = self.providers.read().clone();
        providers
            .into_iter()
            .map(|(name, provider)| (name, provider()))
            .collect()
    }

    fn get(&self, name: &str) -> Option<StateProvider> {
        self.providers.read().get(name).cloned()
    }
}

impl fmt::Debug for DebugState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.providers.read().keys()).finish()
    }
}

/// What the routes answer from.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub(crate) component: Component,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) state: DebugState,
    pub(crate) log: LogControl,
}

/// The routes above, to be merged with a component's own.
pub(crate) fn router(sources: Sources) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/debug/state", get(debug_state))
        .route("/debug/state/{name}", get(debug_state_part))
        .route("/log-level", get(log_level).put(set_log_level))
        .with_state(sources)
}

/// Binds `addr`; with port 0 the system picks one (see the listener's `local_addr`).
pub async fn bind(addr: SocketAddr) -> Result<TcpListener, AdminError> {
    TcpListener::bind(addr)
        .await
        .map_err(|source| AdminError::Bind { addr, source })
}

/// Serves `router` until `stop`, then accepts no more, finishes the requests in flight, and returns.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> Result<(), AdminError> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    // Answers go out at once: waiting for the peer's delayed acknowledgement costs a large one 40 ms.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
    });
    axum::serve(listener, service)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .map_err(AdminError::Serve)
}

async fn livez(State(sources): State<Sources>) -> Response {
    verdict(&sources.health.overdue())
}

async fn readyz(State(sources): State<Sources>) -> Response {
    verdict(&sources.health.pending())
}

fn verdict(problems: &[String]) -> Response {
    if problems.is_empty() {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response()
    }
}

async fn metrics(State(sources): State<Sources>) -> Response {
    match sources.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn debug_state(State(sources): State<Sources>) -> Response {
    let Component { name, version, .. } = sources.component;
    let overdue = sources.health.overdue();
    let pending = sources.health.pending();
    on_blocking_thread(move || {
        let mut parts = sources.state.snapshot();
        parts.insert(
            "process".to_owned(),
            json!({"component": name, "version": version, "overdue": overdue, "pending": pending}),
        );
        Value::Object(parts)
    })
    .await
}

async fn debug_state_part(State(sources): State<Sources>, Path(name): Path<String>) -> Response {
    match sources.state.get(&name) {
        Some(provider) => on_blocking_thread(move || provider()).await,
        None => (StatusCode::NOT_FOUND, format!("no state named {name:?}\n")).into_response(),
    }
}

/// Large states take time to build; that must not hold up the tasks on the async threads.
async fn on_blocking_thread(build: impl FnOnce() -> Value + Send + 'static) -> Response {
    match tokio::task::spawn_blocking(build).await {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            tracing::error!(%error, "debug state cannot be built");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn log_level(State(sources): State<Sources>) -> String {
    sources.log.filter() + "\n"
}

async fn set_log_level(
    State(sources): State<Sources>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    filter: String,
) -> Response {
    if !is_loopback(peer.ip()) {
        return (StatusCode::FORBIDDEN, "only from loopback\n").into_response();
    }
    match sources.log.set_filter(filter.trim()) {
        Ok(()) => {
            tracing::warn!(filter = filter.trim(), "log filter changed by request");
            (StatusCode::OK, sources.log.filter() + "\n").into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

/// An IPv4 peer of an IPv6 socket shows up as a mapped address.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests;
