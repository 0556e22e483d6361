//! What the controllers keep of a Node: its identity and its labels.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The part of a Node that its CNR copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// `metadata.name`, also the name of the CNR.
    pub name: String,
    /// `metadata.uid`, which tells a node from its successor of the same name.
    pub uid: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// True once the Node is being deleted: its CNR is then left to garbage collection.
    pub terminating: bool,
}

impl NodeFacts {
    /// Reads a Node's metadata; `None` for an object without a name or UID, which the API server never sends.
    pub fn read(metadata: ObjectMeta) -> Option<Self> {
        Some(Self {
            name: metadata.name?,
            uid: metadata.uid?,
            labels: metadata.labels.unwrap_or_default(),
            terminating: metadata.deletion_timestamp.is_some(),
        })
    }
}
