use std::{net::Ipv4Addr, time::Duration};

use axum::{
    body::{Body, to_bytes},
    extract::connect_info::MockConnectInfo,
    http::{Method, Request},
};
use tower::ServiceExt;

use super::*;
use crate::{
    flags::{LogArgs, LogFormat},
    logging,
};

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);
const REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)), 4000);

fn sources() -> Sources {
    Sources {
        component: Component {
            name: "katalyst-test",
            version: "1.2.3",
            admin_addr: LOCAL,
        },
        health: Health::new(),
        metrics: Metrics::new("katalyst-test", "1.2.3"),
        state: DebugState::default(),
        log: LogControl::detached(),
    }
}

async fn ask(
    sources: &Sources,
    peer: SocketAddr,
    method: Method,
    path: &str,
    body: &str,
) -> (StatusCode, String) {
    let router = router(sources.clone()).layer(MockConnectInfo(peer));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn fetch(sources: &Sources, path: &str) -> (StatusCode, String) {
    ask(sources, REMOTE, Method::GET, path, "").await
}

#[tokio::test(start_paused = true)]
async fn liveness_lists_overdue_loops() {
    let sources = sources();
    assert_eq!(
        fetch(&sources, "/livez").await,
        (StatusCode::OK, "ok\n".to_owned())
    );
    let _beat = sources.health.heartbeat("reflex", Duration::from_secs(3));
    tokio::time::advance(Duration::from_secs(5)).await;
    let (status, text) = fetch(&sources, "/livez").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.starts_with("reflex: silent for 5.0s"), "{text}");
}

#[tokio::test]
async fn readiness_lists_closed_gates() {
    let sources = sources();
    let gate = sources.health.gate("cache pods");
    let (status, text) = fetch(&sources, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text, "cache pods: not yet\n");
    gate.open();
    assert_eq!(fetch(&sources, "/readyz").await.0, StatusCode::OK);
    assert_eq!(fetch(&sources, "/livez").await.0, StatusCode::OK);
}

#[tokio::test]
async fn metrics_are_open_metrics_text() {
    let response = router(sources())
        .oneshot(Request::get("/metrics").body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], CONTENT_TYPE);
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert!(bytes.ends_with(b"# EOF\n"));
}

#[tokio::test]
async fn state_shows_every_part_and_each_alone() {
    let sources = sources();
    sources.state.provide("lease", || json!({"leading": true}));
    let (status, text) = fetch(&sources, "/debug/state").await;
    assert_eq!(status, StatusCode::OK);
    let all: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(all["lease"]["leading"], true);
    assert_eq!(all["process"]["component"], "katalyst-test");
    let (_, text) = fetch(&sources, "/debug/state/lease").await;
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({"leading": true})
    );
    let (status, text) = fetch(&sources, "/debug/state/leese").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(text.contains("leese"), "{text}");
}

#[tokio::test]
async fn the_log_level_is_shown_to_all_and_set_from_loopback_only() {
    let mut sources = sources();
    let args = LogArgs {
        level: "info".to_owned(),
        format: LogFormat::Text,
    };
    let (_subscriber, control) = logging::subscriber(&args, std::io::sink).unwrap();
    sources.log = control;

    assert_eq!(fetch(&sources, "/log-level").await.1, "info\n");
    let (status, _) = ask(&sources, REMOTE, Method::PUT, "/log-level", "debug").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(fetch(&sources, "/log-level").await.1, "info\n");

    let (status, text) = ask(&sources, LOCAL, Method::PUT, "/log-level", "debug\n").await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "debug\n"));
    let mapped = SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), 1);
    let (status, _) = ask(&sources, mapped, Method::PUT, "/log-level", "warn").await;
    assert_eq!(status, StatusCode::OK);
    let (status, text) = ask(&sources, LOCAL, Method::PUT, "/log-level", "x=loud").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("x=loud"), "{text}");
    assert_eq!(fetch(&sources, "/log-level").await.1, "warn\n");
}

#[tokio::test]
async fn the_server_finishes_requests_in_flight_before_it_stops() {
    let stop = CancellationToken::new();
    let (entered, mut inside) = tokio::sync::mpsc::channel::<()>(1);
    let release = CancellationToken::new();
    let held = release.clone();
    let own = Router::new().route(
        "/bind",
        get(move || async move {
            entered.send(()).await.unwrap();
            held.cancelled().await;
            "bound"
        }),
    );
    let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, router(sources()).merge(own), stop.clone()));

    let client = tokio::spawn(get_over_tcp(addr, "/bind"));
    inside.recv().await.unwrap();
    stop.cancel();
    assert!(!server.is_finished());
    release.cancel();
    let answer = client.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("bound"), "{answer}");
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let first = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .await
        .unwrap();
    let addr = first.local_addr().unwrap();
    let error = bind(addr).await.unwrap_err();
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

async fn get_over_tcp(addr: SocketAddr, path: &'static str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
