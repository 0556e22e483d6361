use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use axum::{Router, extract::Request, http::StatusCode, routing::any};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::EvictParams};
use parking_lot::Mutex;

use super::*;

/// A server on loopback that refuses `refusals` requests as a disruption budget does and then accepts.
async fn server(refusals: usize) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let agents = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&agents);
    let answer = move |request: Request| {
        let agent = request.headers().get(http::header::USER_AGENT);
        let agent = agent
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let mut seen = seen.lock();
        seen.push(agent);
        let refused = seen.len() <= refusals;
        let (code, status) = if refused {
            (StatusCode::TOO_MANY_REQUESTS, "Failure")
        } else {
            (StatusCode::CREATED, "Success")
        };
        let body = serde_json::json!({
            "apiVersion": "v1", "kind": "Status", "status": status, "code": code.as_u16(),
            "message": "", "reason": if refused { "TooManyRequests" } else { "" }, "metadata": {},
        });
        async move { (code, axum::Json(body)) }
    };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let addr = listener.local_addr().unwrap();
    let router = Router::new().fallback(any(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (addr, agents)
}

fn clients(addr: SocketAddr) -> Clients {
    install_crypto();
    let config = Config::new(format!("http://{addr}").parse().unwrap());
    Clients::from_config(config, &ClientArgs::default(), "katalyst-test/1.2.3").unwrap()
}

#[tokio::test]
async fn a_refused_eviction_is_final_on_the_unretried_client() {
    let (addr, agents) = server(usize::MAX).await;
    let pods = Api::<Pod>::default_namespaced(clients(addr).unretried);
    let error = pods
        .evict("web", &EvictParams::default())
        .await
        .unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 429));
    assert_eq!(*agents.lock(), ["katalyst-test/1.2.3"]);
}

#[tokio::test]
async fn the_ordinary_client_retries() {
    let (addr, agents) = server(2).await;
    let pods = Api::<Pod>::default_namespaced(clients(addr).api);
    pods.evict("web", &EvictParams::default()).await.unwrap();
    assert_eq!(agents.lock().len(), 3);
}

fn metrics() -> Metrics {
    Metrics::with_proc("t", "0", PathBuf::from("/nonexistent"))
}

#[tokio::test]
async fn a_missing_kubeconfig_is_named() {
    let args = ClientArgs {
        kubeconfig: Some(PathBuf::from("/nonexistent/config")),
        ..ClientArgs::default()
    };
    let error = Clients::connect(&args, "t/0", &metrics())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "kubeconfig /nonexistent/config does not load"
    );
}

#[tokio::test]
async fn a_kubeconfig_gives_address_and_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
                contexts: [{name: c, context: {cluster: k, user: u, namespace: katalyst-system}}]\n\
                clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}]\nusers: [{name: u, user: {}}]\n";
    std::fs::write(&path, text).unwrap();
    install_crypto();
    let args = ClientArgs {
        kubeconfig: Some(path),
        ..ClientArgs::default()
    };
    let clients = Clients::connect(&args, "t/0", &metrics()).await.unwrap();
    assert_eq!(clients.namespace, "katalyst-system");
}

#[tokio::test]
async fn a_user_agent_with_a_line_break_is_refused() {
    let config = Config::new(http::Uri::from_static("http://127.0.0.1:1"));
    let error = Clients::from_config(config, &ClientArgs::default(), "a\nb").unwrap_err();
    assert!(matches!(error, ClientError::UserAgent(_)));
}
