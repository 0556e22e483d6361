//! Tells people about an object that can't be read: one log line, one Event on the object, one count.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use katalyst_crds::node::CustomNodeResource;
use katalyst_runtime::{Events, Leader};
use kube::Resource;

use crate::index::Kind;
use crate::metrics::Meters;

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

/// Takes complaints from anywhere. Clones share everything.
#[derive(Debug, Clone)]
pub struct Complaints {
    meters: Meters,
    leader: Leader,
    /// Absent in dry-run, which writes nothing.
    events: Option<Events>,
}

impl Complaints {
    /// Complaints are counted in `meters` and posted through `events` while this process leads: a follower sees the same objects.
    pub fn new(meters: Meters, leader: Leader, events: Option<Events>) -> Self {
        Self {
            meters,
            leader,
            events,
        }
    }

    /// Logs and counts a complaint, and posts an Event.
    pub fn add(&self, complaint: Complaint) {
        let Complaint { kind, object, text } = complaint;
        tracing::warn!(
            kind = kind.as_str(),
            namespace = object.namespace.as_deref().unwrap_or_default(),
            name = object.name.as_deref().unwrap_or_default(),
            "not usable: {text}"
        );
        self.meters.malformed(kind);
        if let Some(events) = &self.events
            && self.leader.is_current()
        {
            events.warning(object, "Read", "Unreadable", &text);
        }
    }
}
