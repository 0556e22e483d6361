//! The watch on this node's pods.
//!
//! Pods are trimmed before they are kept. One malformed object costs itself, not the list. While the API server is away the last known
//! pods stay, and holding goes on.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use katalyst_runtime::{BoxError, Gate};
use kube::{
    Api, Client, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{index::PodIndex, info::PodInfo};
use crate::{events::Events, notices::Notices};

/// Subject of the notice while the watch is broken.
const NOTICE: &str = "api: pods";

/// Where the watch tells what it learns.
pub struct PodSinks {
    /// The index.
    pub index: watch::Sender<Arc<PodIndex>>,
    /// Malformed pods.
    pub notices: Notices,
    /// Malformed pods, told at the pod.
    pub events: Events,
    /// Open once the first list is complete.
    pub listed: Gate,
}

/// Watches the pods of `node` until `stopping`.
pub async fn watch_pods(
    client: Client,
    node: &str,
    sinks: PodSinks,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    let api: Api<DeserializeGuard<Pod>> = Api::all(client);
    let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
    let stream = watcher(api, config)
        .backoff(katalyst_runtime::backoff::watch_backoff())
        .into_stream();
    pin_mut!(stream);
    let mut fold = Fold::default();
    loop {
        let event = tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            event = stream.next() => event,
        };
        match event {
            Some(Ok(event)) => {
                // `Init` comes before anything was asked of the API server.
                if !matches!(event, Event::Init) {
                    sinks.notices.api_reached();
                    sinks.notices.clear(NOTICE);
                }
                if fold.apply(event, &sinks) {
                    sinks.index.send_replace(Arc::new(fold.index.clone()));
                    sinks.listed.open();
                }
            }
            Some(Err(error)) => tell(&error, &sinks.notices),
            None => return Err("the pod watch ended".into()),
        }
    }
}

/// A refusal is a matter of rights and is told as it is; silence is an outage.
fn tell(error: &watcher::Error, notices: &Notices) {
    tracing::debug!(%error, "pod watch");
    let status = match error {
        watcher::Error::WatchError(status) => Some(status.as_ref()),
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => refusal(error),
        watcher::Error::NoResourceVersion => None,
    };
    match status {
        // The history is gone; the watcher lists again.
        Some(status) if status.code == 410 => {}
        Some(status) => {
            let text = format!("the API server refuses: {}", status.message);
            notices.set(NOTICE, text);
        }
        None => notices.api_unreachable(),
    }
}

/// The API server's own words, where it answered.
fn refusal(error: &kube::Error) -> Option<&kube::core::Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// Builds the index from events.
#[derive(Default)]
struct Fold {
    index: PodIndex,
    /// The list being received.
    next: PodIndex,
    /// Subjects of the pods in it, also of those that cannot be read.
    listed: BTreeSet<String>,
}

impl Fold {
    /// Applies an event; true when the index is complete and changed.
    fn apply(&mut self, event: Event<DeserializeGuard<Pod>>, sinks: &PodSinks) -> bool {
        match event {
            Event::Init => {
                self.next = PodIndex::default();
                self.listed.clear();
                false
            }
            Event::InitApply(pod) => {
                self.listed.insert(subject_of(&name_of(&pod)));
                if let Some(info) = trim(&pod, sinks) {
                    self.next.insert(info);
                }
                false
            }
            Event::InitDone => {
                self.index = std::mem::take(&mut self.next);
                self.index.synced = true;
                let listed = std::mem::take(&mut self.listed);
                sinks
                    .notices
                    .retain("pod ", |subject| listed.contains(subject));
                true
            }
            Event::Apply(pod) => {
                let Some(info) = trim(&pod, sinks) else {
                    return false;
                };
                let changed = self.index.get(&info.uid) != Some(&info);
                self.index.insert(info);
                changed
            }
            Event::Delete(pod) => {
                sinks.notices.clear(&subject_of(&name_of(&pod)));
                match pod.0 {
                    Ok(pod) => {
                        let Some(info) = PodInfo::from_pod(&pod) else {
                            return false;
                        };
                        self.index.remove(&info);
                        true
                    }
                    Err(_) => false,
                }
            }
        }
    }
}

fn subject_of(full_name: &str) -> String {
    format!("pod {full_name}")
}

fn name_of(pod: &DeserializeGuard<Pod>) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

/// Trims a pod and tells what is malformed about it, once.
fn trim(pod: &DeserializeGuard<Pod>, sinks: &PodSinks) -> Option<PodInfo> {
    let subject = subject_of(&name_of(pod));
    let info = match &pod.0 {
        Ok(pod) => PodInfo::from_pod(pod)?,
        Err(invalid) => {
            sinks.notices.set(
                &subject,
                format!("not a pod we can read: {}", invalid.error),
            );
            return None;
        }
    };
    if info.problems.is_empty() {
        sinks.notices.clear(&subject);
    } else {
        let text = info.problems.join("; ");
        if sinks.notices.set(&subject, text.clone()) {
            sinks.events.malformed_pod(&info, &text);
        }
    }
    Some(info)
}
