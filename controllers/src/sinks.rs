//! How nodes, CNRs and pods enter the index.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Node;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use parking_lot::RwLock;

use crate::complaints::{Complaint, Complaints};
use crate::index::{CnrFacts, Index, Kind, NodeFacts, PodKey, SlimPod, read_pod};
use crate::watch::Sink;

/// Nodes, of which the API server sends metadata only.
#[derive(Debug)]
pub struct NodeSink;

impl Sink<PartialObjectMeta<Node>> for NodeSink {
    const KIND: Kind = Kind::Node;

    fn apply(&mut self, index: &RwLock<Index>, object: PartialObjectMeta<Node>, _now: f64) {
        if let Some(facts) = NodeFacts::read(object.metadata) {
            index.write().apply_node(facts);
        }
    }

    fn delete(&mut self, index: &RwLock<Index>, object: PartialObjectMeta<Node>, _now: f64) {
        if let Some(name) = object.metadata.name {
            index.write().delete_node(&name);
        }
    }
}

/// CNRs, taken as plain JSON so that nonsense in one field costs that field only.
#[derive(Debug)]
pub struct CnrSink;

impl Sink<DynamicObject> for CnrSink {
    const KIND: Kind = Kind::Cnr;

    fn apply(&mut self, index: &RwLock<Index>, object: DynamicObject, now: f64) {
        if let Some(facts) = CnrFacts::read(object) {
            index.write().apply_cnr(facts, now);
        }
    }

    fn delete(&mut self, index: &RwLock<Index>, object: DynamicObject, _now: f64) {
        if let Some(name) = object.metadata.name {
            index.write().delete_cnr(&name);
        }
    }
}

/// Pods. Each malformed one is complained about once for each text.
#[derive(Debug)]
pub struct PodSink {
    complaints: Complaints,
    told: HashMap<PodKey, String>,
}

impl PodSink {
    /// A sink that complains to `complaints`.
    pub fn new(complaints: Complaints) -> Self {
        Self {
            complaints,
            told: HashMap::new(),
        }
    }
}

impl Sink<SlimPod> for PodSink {
    const KIND: Kind = Kind::Pod;

    fn apply(&mut self, index: &RwLock<Index>, object: SlimPod, _now: f64) {
        let Some(reading) = read_pod(&object) else {
            return;
        };
        if reading.complaints.is_empty() {
            self.told.remove(&reading.key);
        } else {
            let text = reading.complaints.join("; ");
            if self.told.get(&reading.key) != Some(&text) {
                self.complaints
                    .add(Complaint::pod(&object.metadata, text.clone()));
                self.told.insert(reading.key.clone(), text);
            }
        }
        index.write().apply_pod(reading.key, reading.facts);
    }

    fn delete(&mut self, index: &RwLock<Index>, object: SlimPod, _now: f64) {
        if let Some(reading) = read_pod(&object) {
            self.told.remove(&reading.key);
            index.write().delete_pod(&reading.key);
        }
    }
}
