//! What the controllers keep of a pod: nothing, unless it holds reclaimed capacity.
//!
//! Pods are the largest kind in a cluster and cannot be selected by annotation, so the watch decodes only the handful of fields
//! named here ([`SlimPod`]) and the index keeps a key, a node name and two numbers for reclaimed pods alone.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use katalyst_core::qos::{Level, PodQos};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_crds::translate::{ContainerRole, effective_requests, read_reclaimed};
use kube::core::Object;
use serde::{Deserialize, Serialize};

/// A pod of which only the fields that matter here are decoded.
pub type SlimPod = Object<SlimSpec, SlimStatus>;

/// The part of a pod's spec that is decoded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlimSpec {
    /// The node it is bound to.
    #[serde(default)]
    pub node_name: Option<String>,
    /// Its containers.
    #[serde(default)]
    pub containers: Vec<SlimContainer>,
    /// Its init containers, sidecars among them.
    #[serde(default)]
    pub init_containers: Vec<SlimContainer>,
}

/// The part of a container that is decoded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlimContainer {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its requests.
    #[serde(default)]
    pub resources: SlimResources,
    /// `Always` makes an init container a sidecar, which keeps its requests as long as the pod lives.
    #[serde(default)]
    pub restart_policy: Option<String>,
}

/// The part of a container's resources that is decoded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SlimResources {
    /// Requests by resource name.
    #[serde(default)]
    pub requests: BTreeMap<String, Quantity>,
}

/// The part of a pod's status that is decoded.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SlimStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    #[serde(default)]
    pub phase: Option<String>,
}

/// `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey(String);

impl PodKey {
    /// The key of a pod.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}"))
    }

    /// As `namespace/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for PodKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A bound reclaimed pod that has not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFacts {
    /// The node it is bound to.
    pub node: String,
    /// What it requests of the two reclaimed resources.
    pub request: Reclaimed,
}

/// What was read of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodReading {
    /// Its key.
    pub key: PodKey,
    /// `None` unless it holds reclaimed capacity.
    pub facts: Option<PodFacts>,
    /// What in it can't be read, each naming field and value. Only pods that say something about their class are complained
    /// about here, and only what this controller would have used.
    pub complaints: Vec<String>,
}

/// Reads a pod; `None` for an object without a name, which the API server never sends.
///
/// A request that can't be read counts as zero, so that a pod with nonsense in it changes nothing for its node.
pub fn read_pod(pod: &SlimPod) -> Option<PodReading> {
    let name = pod.metadata.name.as_deref()?;
    let key = PodKey::new(pod.metadata.namespace.as_deref().unwrap_or_default(), name);
    let empty = BTreeMap::new();
    let parsed = PodQos::parse(pod.metadata.annotations.as_ref().unwrap_or(&empty));
    let malformed = parsed.errors.iter().filter(|error| error.is_malformed());
    let mut complaints: Vec<String> = malformed.map(ToString::to_string).collect();
    let finished = matches!(
        pod.status
            .as_ref()
            .and_then(|status| status.phase.as_deref()),
        Some("Succeeded" | "Failed")
    );
    let node = pod
        .spec
        .node_name
        .as_deref()
        .filter(|node| !node.is_empty() && !finished);
    let facts = node
        .filter(|_| parsed.qos.level == Level::Reclaimed)
        .map(|node| PodFacts {
            node: node.to_owned(),
            request: pod_request(&pod.spec).unwrap_or_else(|error| {
                complaints.push(error);
                Reclaimed::ZERO
            }),
        });
    Some(PodReading {
        key,
        facts,
        complaints,
    })
}

fn pod_request(spec: &SlimSpec) -> Result<Reclaimed, String> {
    let inits = spec.init_containers.iter().map(|container| {
        let role = ContainerRole::of_init(container.restart_policy.as_deref());
        (role, container)
    });
    let apps = spec
        .containers
        .iter()
        .map(|container| (ContainerRole::App, container));
    let amounts: Result<Vec<_>, String> = inits
        .chain(apps)
        .map(|(role, container)| {
            read_reclaimed(&container.resources.requests)
                .map(|amount| (role, amount))
                .map_err(|error| format!("container {}, request {error}", container.name))
        })
        .collect();
    Ok(effective_requests(amounts?))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(level: &str, spec: &Value, phase: &str) -> PodReading {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "ns", "name": "p", "annotations": {"katalyst.kubewharf.io/qos_level": level}},
            "spec": spec,
            "status": {"phase": phase},
        });
        read_pod(&serde_json::from_value(object).unwrap()).unwrap()
    }

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "image": "x", "resources": {"requests": {
            "resource.katalyst.kubewharf.io/reclaimed_millicpu": cpu,
            "resource.katalyst.kubewharf.io/reclaimed_memory": memory,
        }}})
    }

    #[test]
    fn a_bound_reclaimed_pod_counts_what_its_containers_request() {
        let spec = json!({"nodeName": "n1", "containers": [container("1k", "1Gi"), container("500", "512Mi")]});
        let reading = pod("reclaimed_cores", &spec, "Running");
        assert_eq!(
            reading.facts,
            Some(PodFacts {
                node: "n1".into(),
                request: Reclaimed::new(1500, 1536 << 20)
            })
        );
        assert_eq!(reading.key.as_str(), "ns/p");
        assert!(reading.complaints.is_empty());
    }

    #[test]
    fn other_classes_unbound_and_finished_pods_hold_nothing() {
        let bound = json!({"nodeName": "n1", "containers": [container("1k", "1Gi")]});
        let unbound = json!({"containers": [container("1k", "1Gi")]});
        for (level, spec, phase) in [
            ("shared_cores", &bound, "Running"),
            ("reclaimed_cores", &unbound, "Pending"),
            ("reclaimed_cores", &bound, "Succeeded"),
            ("reclaimed_cores", &bound, "Failed"),
        ] {
            assert_eq!(pod(level, spec, phase).facts, None, "{level} {phase}");
        }
    }

    #[test]
    fn init_containers_count_their_peak_and_sidecars_stay() {
        let sidecar = json!({"name": "s", "restartPolicy": "Always", "resources": container("100", "0")["resources"]});
        let spec = json!({
            "nodeName": "n1",
            "initContainers": [sidecar, container("3k", "1Gi")],
            "containers": [container("1k", "2Gi")],
        });
        let facts = pod("reclaimed_cores", &spec, "Running").facts.unwrap();
        assert_eq!(facts.request, Reclaimed::new(3100, 2 << 30));
    }

    #[test]
    fn nonsense_costs_only_itself_and_is_named() {
        let spec = json!({"nodeName": "n1", "containers": [container("lots", "1Gi")]});
        let reading = pod("reclaimed_cores", &spec, "Running");
        assert_eq!(reading.facts.unwrap().request, Reclaimed::ZERO);
        assert!(
            reading.complaints[0].contains("reclaimed_millicpu")
                && reading.complaints[0].contains("lots"),
            "{:?}",
            reading.complaints
        );
        let reading = pod("fancy_cores", &spec, "Running");
        assert_eq!(reading.facts, None);
        assert!(
            reading.complaints[0].contains("fancy_cores"),
            "{:?}",
            reading.complaints
        );
    }
}
