//! Pods on nodes into charges.

use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use katalyst_runtime::{BoxError, Gate};
use kube::Client;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use tokio_util::sync::CancellationToken;

use super::held::held;
use super::listings::ListingRequests;
use crate::extender::Extender;
use crate::ledger::Charge;
use crate::request::{Uid, pod_name, priority};

/// Pods that hold a place. A pod that ends leaves the selection, which the watch reports as a deletion.
const ON_A_NODE: &str = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed";

/// Feeds the ledger until `stopping`; opens `synced` when the first listing is complete, and lists again when `requests` says so.
pub async fn watch_pods(
    extender: Arc<Extender>,
    client: Client,
    synced: Gate,
    mut requests: ListingRequests,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    loop {
        // Without a resource version in the question, so the listing holds everything written before it was asked for.
        let config = watcher::Config::default().fields(ON_A_NODE);
        let number = requests.begin();
        let events = watcher(Api::<Pod>::all(client.clone()), config)
            .backoff(katalyst_runtime::backoff::watch_backoff());
        pin_mut!(events);
        loop {
            let event = tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                () = requests.wanted() => break,
                event = events.next() => event,
            };
            match event {
                Some(Ok(event)) => {
                    let complete = matches!(event, Event::InitDone);
                    apply_pod(&extender, event);
                    if complete {
                        synced.open();
                        requests.finished(number);
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "watch of pods broke; what is known stays until it is back");
                }
                None => return Ok(()),
            }
        }
    }
}

/// One event.
pub fn apply_pod(extender: &Extender, event: Event<Pod>) {
    extender.saw_pod();
    let ledger = extender.ledger();
    match event {
        Event::Init => ledger.begin_pods(),
        Event::InitDone => ledger.finish_pods(extender.now()),
        Event::Delete(pod) => {
            if let Some(uid) = pod.metadata.uid.as_deref() {
                ledger.gone(uid);
            }
        }
        Event::InitApply(pod) | Event::Apply(pod) => {
            let Some((uid, node, mut charge)) = charge(&pod) else {
                return;
            };
            let (allocation, defect) = held(&pod);
            if let Some(defect) = defect {
                tracing::warn!(pod = %charge.name, %node, "what the pod says of itself cannot be read, its requests count: {defect}");
            }
            // Of the many pods that hold nothing only those are followed whose binding waits to be confirmed.
            if !allocation.is_empty() || ledger.knows(&uid) {
                charge.labels = extender.labels().one(pod.metadata.labels.as_ref());
                ledger.seen(&uid, &node, charge, allocation);
            }
        }
    }
}

/// Who a pod is, and on which node.
fn charge(pod: &Pod) -> Option<(Uid, String, Charge)> {
    let node = pod
        .spec
        .as_ref()?
        .node_name
        .clone()
        .filter(|name| !name.is_empty())?;
    let charge = Charge {
        priority: priority(pod),
        name: pod_name(pod).into(),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        created: pod
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(0, |time| time.0.as_millisecond()),
        ..Charge::default()
    };
    Some((pod.metadata.uid.as_deref()?.into(), node, charge))
}
