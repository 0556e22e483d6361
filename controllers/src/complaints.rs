//! Tells people about an object that can't be read: one log line, one Event on the object, one count.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use katalyst_crds::node::CustomNodeResource;
use katalyst_runtime::{BoxError, Leader};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::index::Kind;
use crate::metrics::Meters;

/// Complaints that may wait for their Event. More than this at once are logged and counted, without an Event.
const QUEUE: usize = 256;

/// Limit for posting one Event.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Something that can't be read in one object.
#[derive(Debug, Clone)]
pub struct Complaint {
    kind: Kind,
    object: ObjectReference,
    text: String,
}

impl Complaint {
    /// About a pod.
    pub fn pod(metadata: &ObjectMeta, text: String) -> Self {
        Self {
            kind: Kind::Pod,
            object: ObjectReference {
                api_version: Some(Pod::api_version(&()).into_owned()),
                kind: Some(Pod::kind(&()).into_owned()),
                namespace: metadata.namespace.clone(),
                name: metadata.name.clone(),
                uid: metadata.uid.clone(),
                ..ObjectReference::default()
            },
            text,
        }
    }

    /// About a CNR.
    pub fn cnr(name: &str, uid: &str, text: String) -> Self {
        Self {
            kind: Kind::Cnr,
            object: ObjectReference {
                api_version: Some(CustomNodeResource::api_version(&()).into_owned()),
                kind: Some(CustomNodeResource::kind(&()).into_owned()),
                name: Some(name.to_owned()),
                uid: Some(uid.to_owned()),
                ..ObjectReference::default()
            },
            text,
        }
    }
}

/// Takes complaints from anywhere. Clones feed the same queue.
#[derive(Debug, Clone)]
pub struct Complaints {
    meters: Meters,
    queue: mpsc::Sender<Complaint>,
}

/// The other end of [`Complaints`].
#[derive(Debug)]
pub struct Queue(mpsc::Receiver<Complaint>);

impl Complaints {
    /// A queue and what feeds it.
    pub fn new(meters: Meters) -> (Self, Queue) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { meters, queue }, Queue(receiver))
    }

    /// Logs and counts a complaint, and asks for an Event.
    pub fn add(&self, complaint: Complaint) {
        let Complaint { kind, object, text } = &complaint;
        tracing::warn!(
            kind = kind.as_str(),
            namespace = object.namespace.as_deref().unwrap_or_default(),
            name = object.name.as_deref().unwrap_or_default(),
            "not usable: {text}"
        );
        self.meters.malformed(*kind);
        if self.queue.try_send(complaint).is_err() {
            tracing::debug!("too many complaints wait already: no Event for this one");
        }
    }
}

/// Posts an Event for each complaint while this process leads; a follower drops them, since the leader sees the same objects.
pub async fn post(
    Queue(mut queue): Queue,
    client: Client,
    reporter: Reporter,
    leader: Leader,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    let recorder = Recorder::new(client, reporter);
    loop {
        let complaint = tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            complaint = queue.recv() => complaint,
        };
        let Some(Complaint { object, text, .. }) = complaint else {
            // All senders are gone: the tasks that complain have ended, and so will this one.
            stopping.cancelled().await;
            return Ok(());
        };
        if !leader.is_current() {
            continue;
        }
        let event = Event {
            type_: EventType::Warning,
            reason: "Unreadable".to_owned(),
            // The API's limit is 1 kB.
            note: Some(text.chars().take(800).collect()),
            action: "Read".to_owned(),
            secondary: None,
        };
        match tokio::time::timeout(TIMEOUT, recorder.publish(&event, &object)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "Event not posted"),
            Err(_elapsed) => tracing::debug!("Event not posted within {TIMEOUT:?}"),
        }
    }
}
