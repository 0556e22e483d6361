//! Bind: charge the node, write the Binding, settle the charge by what the API says.
//!
//! The Binding carries the pod's UID as a precondition and the allocation as an annotation, so the record cannot differ from the
//! fact. It is sent once, without retries. When the answer is unclear, the pod itself is asked; when that is unclear too, the
//! charge stays until it is clear ([`Binder::resolve_doubts`]).

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use katalyst_crds::constants::field_manager;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use serde::de::IgnoredAny;
use tokio::time::timeout;

use crate::ledger::{Ledger, Settlement, UnixMillis};
use crate::wire::BindingArgs;

/// How long to wait for the API server. Both together stay below the scheduler's `httpTimeout` of 5 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindTimeouts {
    /// For the Binding.
    pub write: Duration,
    /// For a look at the pod, before or after.
    pub read: Duration,
}

impl Default for BindTimeouts {
    fn default() -> Self {
        Self {
            write: Duration::from_secs(3),
            read: Duration::from_secs(1),
        }
    }
}

/// Time after which an unanswered write can no longer take effect, in milliseconds: the API server's own `--request-timeout`.
const WRITE_LIFETIME: i64 = 60_000;

/// What the API says about a pod and a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// The pod is on the node.
    Here,
    /// It is on another.
    Elsewhere(String),
    /// It is on none yet.
    Unbound,
    /// There is no such pod any more.
    Gone,
    /// The API did not answer.
    Unclear(String),
}

/// Writes bindings.
#[derive(Clone)]
pub struct Binder {
    client: Client,
    timeouts: BindTimeouts,
}

impl std::fmt::Debug for Binder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binder")
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl Binder {
    /// `client` must not retry by itself.
    pub fn new(client: Client, timeouts: BindTimeouts) -> Self {
        Self { client, timeouts }
    }

    /// The pod as it is now, for a binding whose filter this process has not seen.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, String> {
        match timeout(self.timeouts.read, self.pods(namespace).get_opt(name)).await {
            Ok(Ok(pod)) => Ok(pod),
            Ok(Err(error)) => Err(format!("pod {namespace}/{name} cannot be read: {error}")),
            Err(_) => Err(format!(
                "pod {namespace}/{name} cannot be read: no answer within {:?}",
                self.timeouts.read
            )),
        }
    }

    /// Writes the Binding and finds out what came of it. The text says why the pod is not known to be bound.
    pub async fn bind(
        &self,
        args: &BindingArgs,
        record: BTreeMap<String, String>,
    ) -> (Settlement, Result<(), String>) {
        let (definite, message) = match self.write(args, record).await {
            Ok(()) => return (Settlement::Bound, Ok(())),
            Err(failure) => failure,
        };
        let unclear = if definite {
            Settlement::Refused
        } else {
            Settlement::Unknown
        };
        match self
            .whereabouts(
                &args.pod_namespace,
                &args.pod_name,
                &args.pod_uid,
                &args.node,
            )
            .await
        {
            Whereabouts::Here => (Settlement::Bound, Ok(())),
            Whereabouts::Elsewhere(node) => (
                Settlement::Refused,
                Err(format!("pod is already bound to node {node}")),
            ),
            Whereabouts::Gone => (
                Settlement::Refused,
                Err("pod is gone, or was replaced by another of its name".to_owned()),
            ),
            Whereabouts::Unbound => (unclear, Err(message)),
            Whereabouts::Unclear(cause) => (unclear, Err(format!("{message}; {cause}"))),
        }
    }

    async fn write(
        &self,
        args: &BindingArgs,
        record: BTreeMap<String, String>,
    ) -> Result<(), (bool, String)> {
        let params = PostParams {
            field_manager: Some(field_manager::SCHEDULER_EXTENDER.to_owned()),
            ..PostParams::default()
        };
        let pods = self.pods(&args.pod_namespace);
        let body = binding(args, record);
        let sent =
            pods.create_subresource::<_, IgnoredAny>("binding", &args.pod_name, &params, &body);
        match timeout(self.timeouts.write, sent).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err((
                is_definite(&error),
                format!("binding was not accepted: {error}"),
            )),
            Err(_) => Err((
                false,
                format!("binding was not answered within {:?}", self.timeouts.write),
            )),
        }
    }

    /// Where the API says the pod is.
    pub async fn whereabouts(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        node: &str,
    ) -> Whereabouts {
        match self.pod(namespace, name).await {
            Err(cause) => Whereabouts::Unclear(cause),
            Ok(None) => Whereabouts::Gone,
            Ok(Some(pod)) => whereabouts(&pod, uid, node),
        }
    }

    /// Looks at every pod whose binding had no verdict, and settles what has become clear.
    pub async fn resolve_doubts(&self, ledger: &Ledger, now: UnixMillis) {
        for doubt in ledger.doubts() {
            let Some((namespace, name)) = doubt.name.split_once('/') else {
                continue;
            };
            let settlement = match self
                .whereabouts(namespace, name, &doubt.uid, &doubt.node)
                .await
            {
                Whereabouts::Here => Settlement::Bound,
                Whereabouts::Elsewhere(_) | Whereabouts::Gone => Settlement::Refused,
                Whereabouts::Unbound if now.saturating_sub(doubt.since) > WRITE_LIFETIME => {
                    Settlement::Refused
                }
                Whereabouts::Unbound | Whereabouts::Unclear(_) => Settlement::Unknown,
            };
            if settlement != Settlement::Unknown {
                tracing::info!(pod = %doubt.name, node = %doubt.node, ?settlement, "the outcome of a binding has become clear");
            }
            ledger.resolve(&doubt, settlement);
        }
    }

    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// Where a pod is, seen from `node`.
pub fn whereabouts(pod: &Pod, uid: &str, node: &str) -> Whereabouts {
    if pod.metadata.uid.as_deref() != Some(uid) {
        return Whereabouts::Gone;
    }
    match pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
        Some(name) if name == node => Whereabouts::Here,
        Some("") | None => Whereabouts::Unbound,
        Some(name) => Whereabouts::Elsewhere(name.to_owned()),
    }
}

/// The Binding of a pod to a node, with the record of where on the node the pod goes.
pub fn binding(args: &BindingArgs, record: BTreeMap<String, String>) -> Binding {
    Binding {
        metadata: ObjectMeta {
            name: Some(args.pod_name.clone()),
            namespace: Some(args.pod_namespace.clone()),
            uid: Some(args.pod_uid.clone()),
            annotations: (!record.is_empty()).then_some(record),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(args.node.clone()),
            ..ObjectReference::default()
        },
    }
}

/// True where the API server has judged the request and refused it. A server error may come after the write.
fn is_definite(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => (400..500).contains(&status.code) && status.code != 408,
        kube::Error::BuildRequest(_) => true,
        _ => false,
    }
}
