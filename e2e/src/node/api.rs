//! An API server for one agent: the pods of its node by list and watch, its CustomNodeResource, and nothing else.
//!
//! Plain HTTP on loopback. It can go away and come back on the same port, with or without its watches noticing. What the agent reports is kept.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::watch};

use super::tree::write;

const CNR: &str = "/apis/node.katalyst.kubewharf.io/v1alpha1/customnoderesources";

/// What the server knows.
#[derive(Debug, Default)]
struct Store {
    node: String,
    /// Current pods.
    pods: Vec<Value>,
    /// Every change of a pod since the start, as a watch sends it; the resource version is the position after it.
    changes: Vec<String>,
    /// The last report of the agent.
    report: Option<Value>,
    /// Events that the agent wrote.
    events: Vec<Value>,
}

#[derive(Clone)]
struct Shared {
    store: Arc<Mutex<Store>>,
    changed: Arc<watch::Sender<usize>>,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server.
pub struct Api {
    shared: Shared,
    address: SocketAddr,
    running: Option<Runtime>,
}

impl Api {
    /// Starts it for the pods of `node`.
    pub fn start(node: &str) -> Result<Self, String> {
        let store = Store {
            node: node.to_owned(),
            ..Store::default()
        };
        let shared = Shared {
            store: Arc::new(Mutex::new(store)),
            changed: Arc::new(watch::channel(0).0),
        };
        let mut api = Self {
            shared,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            running: None,
        };
        api.come_back()?;
        Ok(api)
    }

    /// Ends every connection and refuses new ones.
    pub fn go_away(&mut self) {
        if let Some(runtime) = self.running.take() {
            runtime.shutdown_background();
        }
    }

    /// Serves (again), on the same port.
    pub fn come_back(&mut self) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("API server: {error}");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(failed)?;
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(self.address))
            .map_err(failed)?;
        self.address = listener.local_addr().map_err(failed)?;
        let router = Router::new()
            .fallback(answer)
            .with_state(self.shared.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        self.running = Some(runtime);
        Ok(())
    }

    /// Writes a kubeconfig for it, and beside it a certificate authority: without one the agent's client asks for the system's, even where nothing is encrypted, and
    /// a bare machine has none.
    pub fn write_kubeconfig(&self, path: &Path) -> Result<(), String> {
        let authority = rcgen::generate_simple_self_signed(vec!["nobody".to_owned()])
            .map_err(|error| format!("a certificate authority: {error}"))?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": format!("http://{}", self.address), "certificate-authority": "ca.crt"}}],
            "users": [{"name": "x", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x", "namespace": "scenarios"}}],
        });
        write(&path.with_file_name("ca.crt"), &authority.cert.pem())?;
        write(path, &config.to_string())
    }

    /// Adds a pod, or replaces the one with its UID.
    pub fn put(&self, pod: Value) {
        let uid = uid(&pod);
        let mut store = self.shared.store();
        let known = store.pods.iter().position(|other| self::uid(other) == uid);
        if let Some(index) = known {
            store.pods.remove(index);
        }
        store.pods.push(pod.clone());
        self.tell(
            &mut store,
            if known.is_some() { "MODIFIED" } else { "ADDED" },
            pod,
        );
    }

    /// Removes a pod.
    pub fn remove(&self, pod_uid: &str) {
        let mut store = self.shared.store();
        if let Some(index) = store.pods.iter().position(|pod| uid(pod) == pod_uid) {
            let pod = store.pods.remove(index);
            self.tell(&mut store, "DELETED", pod);
        }
    }

    /// The agent's last report: the object it applied.
    pub fn report(&self) -> Option<Value> {
        self.shared.store().report.clone()
    }

    /// The events it wrote.
    pub fn events(&self) -> Vec<Value> {
        self.shared.store().events.clone()
    }

    fn tell(&self, store: &mut Store, kind: &str, mut object: Value) {
        let version = store.changes.len() + 1;
        set_version(&mut object, version);
        store
            .changes
            .push(format!("{}\n", json!({"type": kind, "object": object})));
        self.shared.changed.send_replace(version);
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.go_away();
    }
}

fn uid(pod: &Value) -> &str {
    pod.pointer("/metadata/uid")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn set_version(object: &mut Value, version: usize) {
    if let Some(metadata) = object
        .pointer_mut("/metadata")
        .and_then(Value::as_object_mut)
    {
        metadata.insert("resourceVersion".to_owned(), json!(version.to_string()));
    }
}

async fn answer(State(shared): State<Shared>, method: Method, uri: Uri, body: Bytes) -> Response {
    let query = uri.query().unwrap_or_default();
    let watching = query.split('&').any(|part| part == "watch=true");
    let since = query
        .split('&')
        .find_map(|part| part.strip_prefix("resourceVersion="))
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    match (method, uri.path()) {
        (Method::GET, "/api/v1/pods") if watching => stream(shared, since),
        (Method::GET, "/api/v1/pods") => {
            let store = shared.store();
            let version = store.changes.len().to_string();
            json_response(
                StatusCode::OK,
                &json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": store.pods}),
            )
        }
        (Method::GET, CNR) if watching => stream(shared, usize::MAX),
        (Method::GET, CNR) => {
            let node = shared.store().node.clone();
            json_response(
                StatusCode::OK,
                &json!({
                    "kind": "CustomNodeResourceList", "apiVersion": "node.katalyst.kubewharf.io/v1alpha1", "metadata": {"resourceVersion": "1"},
                    "items": [{"kind": "CustomNodeResource", "apiVersion": "node.katalyst.kubewharf.io/v1alpha1",
                        "metadata": {"name": node, "uid": "cnr", "resourceVersion": "1"}, "spec": {}, "status": {}}],
                }),
            )
        }
        (Method::PATCH, path) if path.starts_with(CNR) => {
            let object: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            shared.store().report = Some(object.clone());
            json_response(StatusCode::OK, &object)
        }
        (Method::POST, path) if path.ends_with("/events") => {
            let object: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            shared.store().events.push(object.clone());
            json_response(StatusCode::CREATED, &object)
        }
        (_, path) => json_response(
            StatusCode::NOT_FOUND,
            &json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
                "message": format!("{path} is not served here"),
            }),
        ),
    }
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    (
        status,
        [(CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}

/// Every change after `since`, for as long as the other side listens.
fn stream(shared: Shared, since: usize) -> Response {
    let seen = shared.changed.subscribe();
    let lines = futures::stream::unfold(
        (shared, seen, since),
        |(shared, mut seen, mut at)| async move {
            loop {
                let next = shared.store().changes.get(at).cloned();
                if let Some(line) = next {
                    at += 1;
                    return Some((Ok::<_, Infallible>(line), (shared, seen, at)));
                }
                seen.changed().await.ok()?;
            }
        },
    );
    (
        [(CONTENT_TYPE, "application/json")],
        Body::from_stream(lines),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::super::http::get;
    use super::*;

    #[test]
    fn pods_are_listed_and_the_server_comes_back_on_its_port() {
        let mut api = Api::start("n").unwrap();
        api.put(json!({"metadata": {"name": "a", "uid": "1"}}));
        api.put(json!({"metadata": {"name": "b", "uid": "2"}}));
        api.remove("1");
        let list = get(api.address, "/api/v1/pods?limit=500").unwrap();
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
        assert_eq!(list["metadata"]["resourceVersion"], "3");
        api.go_away();
        assert!(get(api.address, "/api/v1/pods").is_err());
        api.come_back().unwrap();
        assert_eq!(
            get(api.address, "/api/v1/pods").unwrap()["items"][0]["metadata"]["uid"],
            "2"
        );
        assert!(get(api.address, "/elsewhere").unwrap_err().contains("404"));
    }
}
