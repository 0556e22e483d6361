//! Events on pods, published by a task of their own so that nothing waits for the API server. A full queue drops: the same facts are in
//! the log and in the report.

use k8s_openapi::api::core::v1::ObjectReference;
use katalyst_runtime::BoxError;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::pods::PodInfo;

/// Length of the queue: a burst of pods on one node.
const QUEUE: usize = 128;
/// The API refuses longer notes.
const NOTE_BYTES: usize = 1_000;

/// Handle that queues events. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Pending>,
}

/// The queue's other end.
#[derive(Debug)]
pub struct EventQueue {
    queue: mpsc::Receiver<Pending>,
}

#[derive(Debug)]
struct Pending {
    regarding: ObjectReference,
    type_: EventType,
    reason: &'static str,
    action: &'static str,
    note: String,
}

/// A queue.
pub fn channel() -> (Events, EventQueue) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Events { queue: sender }, EventQueue { queue: receiver })
}

impl Events {
    /// A pod carries an annotation or amount that means nothing.
    pub fn malformed_pod(&self, pod: &PodInfo, note: &str) {
        self.push(
            pod,
            EventType::Warning,
            "MalformedQoS",
            "ReadAnnotations",
            note,
        );
    }

    /// CPUs of its own that a pod wished for are refused.
    pub fn placement_refused(&self, pod: &PodInfo, note: &str) {
        self.push(
            pod,
            EventType::Warning,
            "PlacementRefused",
            "PlanPools",
            note,
        );
    }

    /// A container does not get the devices that the scheduler chose for it.
    pub fn devices_refused(&self, pod: &PodInfo, note: &str) {
        self.push(
            pod,
            EventType::Warning,
            "DevicesRefused",
            "CreateContainer",
            note,
        );
    }

    /// A pod is evicted, or would be.
    pub fn evicted(&self, pod: &PodInfo, dry_run: bool, note: &str) {
        let reason = if dry_run {
            "ReclaimEvictionDryRun"
        } else {
            "ReclaimEvicted"
        };
        self.push(pod, EventType::Warning, reason, "Evict", note);
    }

    fn push(
        &self,
        pod: &PodInfo,
        type_: EventType,
        reason: &'static str,
        action: &'static str,
        note: &str,
    ) {
        let mut end = note.len().min(NOTE_BYTES);
        while !note.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let pending = Pending {
            regarding: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: Some(pod.namespace.clone()),
                name: Some(pod.name.clone()),
                uid: Some(pod.object_uid.clone()),
                ..ObjectReference::default()
            },
            type_,
            reason,
            action,
            note: note.get(..end).unwrap_or_default().to_owned(),
        };
        if self.queue.try_send(pending).is_err() {
            tracing::debug!(
                pod = pod.full_name(),
                reason,
                "event dropped: the queue is full"
            );
        }
    }
}

/// Publishes until `stopping`. Failures are logged at debug: an event is a courtesy.
pub async fn publish(
    client: Client,
    node: String,
    mut queue: EventQueue,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    let reporter = Reporter {
        controller: crate::COMPONENT.name.to_owned(),
        instance: Some(node),
    };
    let recorder = Recorder::new(client, reporter);
    loop {
        let pending = tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            pending = queue.queue.recv() => pending,
        };
        let Some(Pending {
            regarding,
            type_,
            reason,
            action,
            note,
        }) = pending
        else {
            stopping.cancelled().await;
            return Ok(());
        };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = recorder.publish(&event, &regarding).await {
            tracing::debug!(%error, reason, "event not published");
        }
    }
}
