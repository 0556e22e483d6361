//! What a pod asks of the reclaimed resources, and whether it holds them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use katalyst_core::qos::{Level, Parsed, PodQos};
use katalyst_core::reclaimed::Reclaimed;
use thiserror::Error;

use super::amount::{AmountError, read_reclaimed};
use crate::constants::resource;
use crate::node::ResourceList;

/// A request of a pod that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("pod {namespace}/{name}: {field}, {source}")]
pub struct RequestError {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// The list of resources, for instance `spec.containers[0].resources.requests`.
    pub field: String,
    /// The resource and what is wrong with its amount.
    pub source: AmountError,
}

/// How a container takes part in its pod's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerRole {
    /// Runs with all others of its kind.
    App,
    /// Runs alone, before the app containers.
    Init,
    /// An init container that stays (`restartPolicy: Always`).
    Sidecar,
}

impl ContainerRole {
    /// The role of an init container with that restart policy.
    pub fn of_init(restart_policy: Option<&str>) -> Self {
        match restart_policy {
            Some("Always") => Self::Sidecar,
            _ => Self::Init,
        }
    }
}

/// The pod's level and wishes, from its annotations.
pub fn qos(pod: &Pod) -> Parsed {
    pod.metadata
        .annotations
        .as_ref()
        .map_or_else(|| PodQos::parse(&BTreeMap::new()), PodQos::parse)
}

/// Whether the pod says that it is batch work on reclaimed resources.
pub fn is_reclaimed(pod: &Pod) -> bool {
    qos(pod).qos.level == Level::Reclaimed
}

/// Whether the pod is over: `Succeeded` or `Failed`. Such a pod runs nothing and holds nothing.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(
        pod.status.as_ref().and_then(|s| s.phase.as_deref()),
        Some("Succeeded" | "Failed")
    )
}

/// The node on which the pod holds what it requests; `None` while it has no node or when it is over. A pod that is
/// being deleted still holds it.
pub fn is_allocated(pod: &Pod) -> Option<&str> {
    let node = pod.spec.as_ref()?.node_name.as_deref()?;
    (!node.is_empty() && !is_terminal(pod)).then_some(node)
}

/// What the pod requests of the reclaimed resources, as the scheduler counts it; zero for a pod that asks for none.
///
/// Only the two reclaimed resources are read: whatever else is wrong with the pod does not matter here.
pub fn requests(pod: &Pod) -> Result<Reclaimed, RequestError> {
    let Some(spec) = pod.spec.as_ref() else {
        return Ok(Reclaimed::ZERO);
    };
    let apps = spec
        .containers
        .iter()
        .map(|container| (ContainerRole::App, "containers", container));
    let inits = spec.init_containers.iter().flatten().map(|container| {
        let role = ContainerRole::of_init(container.restart_policy.as_deref());
        (role, "initContainers", container)
    });
    let mut amounts = Vec::new();
    for (role, list, container) in inits.chain(apps) {
        let amount = container_requests(container).map_err(|(field, source)| RequestError {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            field: format!("spec.{list}[{}].resources.{field}", container.name),
            source,
        })?;
        amounts.push((role, amount));
    }
    Ok(effective_requests(amounts))
}

/// What one container requests. For extended resources Kubernetes takes the limit where there is no request.
///
/// # Errors
///
/// The list (`requests` or `limits`) with what is wrong in it.
pub fn container_requests(container: &Container) -> Result<Reclaimed, (&'static str, AmountError)> {
    let Some(resources) = container.resources.as_ref() else {
        return Ok(Reclaimed::ZERO);
    };
    let requests = only_reclaimed(resources.requests.as_ref());
    let mut limits = only_reclaimed(resources.limits.as_ref());
    limits.retain(|name, _| !requests.contains_key(name));
    let requested = read_reclaimed(&requests).map_err(|error| ("requests", error))?;
    let limited = read_reclaimed(&limits).map_err(|error| ("limits", error))?;
    Ok(requested + limited)
}

/// What containers need together, in Kubernetes' way, for each resource: the most of the app and sidecar containers
/// together and of each init container with the sidecars started before it. Init containers come in their order.
pub fn effective_requests(
    containers: impl IntoIterator<Item = (ContainerRole, Reclaimed)>,
) -> Reclaimed {
    let mut apps = Reclaimed::ZERO;
    let mut sidecars = Reclaimed::ZERO;
    let mut starting = Reclaimed::ZERO;
    for (role, amount) in containers {
        match role {
            ContainerRole::App => apps = apps + amount,
            ContainerRole::Sidecar => sidecars = sidecars + amount,
            ContainerRole::Init => starting = most(starting, sidecars + amount),
        }
    }
    most(apps + sidecars, starting)
}

fn most(a: Reclaimed, b: Reclaimed) -> Reclaimed {
    Reclaimed {
        cpu: a.cpu.max(b.cpu),
        memory: a.memory.max(b.memory),
    }
}

fn only_reclaimed(list: Option<&ResourceList>) -> ResourceList {
    resource::RECLAIMED
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), list?.get(name)?.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value) -> Pod {
        let pod = json!({
            "metadata": {
                "name": "batch",
                "namespace": "jobs",
                "annotations": { "katalyst.kubewharf.io/qos_level": "reclaimed_cores" }
            },
            "spec": spec,
        });
        serde_json::from_value(pod).unwrap()
    }

    fn container(millicpu: &str, memory: &str) -> Value {
        json!({
            "name": "main",
            "resources": { "requests": {
                "cpu": "100m",
                "resource.katalyst.kubewharf.io/reclaimed_millicpu": millicpu,
                "resource.katalyst.kubewharf.io/reclaimed_memory": memory,
            } }
        })
    }

    fn sidecar(millicpu: &str, memory: &str) -> Value {
        let mut container = container(millicpu, memory);
        container["restartPolicy"] = json!("Always");
        container
    }

    #[rstest]
    #[case::none(json!({ "containers": [{ "name": "main" }] }), Reclaimed::ZERO)]
    #[case::sum(
        json!({ "containers": [container("4k", "1Gi"), container("500", "1Gi")] }),
        Reclaimed::new(4500, 2 << 30)
    )]
    #[case::larger_init_of_each_resource(
        json!({ "containers": [container("1000", "2Gi")], "initContainers": [container("2000", "1Gi"), container("3000", "0")] }),
        Reclaimed::new(3000, 2 << 30)
    )]
    #[case::sidecars_stay(
        json!({ "containers": [container("1000", "1Gi")], "initContainers": [sidecar("500", "1Gi"), container("2000", "0")] }),
        Reclaimed::new(2500, 2 << 30)
    )]
    #[case::a_later_sidecar_does_not_burden_an_earlier_init(
        json!({ "containers": [container("100", "0")], "initContainers": [container("2000", "0"), sidecar("500", "0")] }),
        Reclaimed::new(2000, 0)
    )]
    #[case::limits_alone(
        json!({ "containers": [{ "name": "main", "resources": { "limits": {
            "resource.katalyst.kubewharf.io/reclaimed_millicpu": 2000,
        } } }] }),
        Reclaimed::new(2000, 0)
    )]
    fn requests_are_counted_as_kubernetes_does(#[case] spec: Value, #[case] expected: Reclaimed) {
        assert_eq!(requests(&pod(&spec)), Ok(expected));
    }

    #[test]
    fn an_error_names_pod_field_resource_and_value() {
        let error = requests(&pod(&json!({ "containers": [container("4x", "1Gi")] }))).unwrap_err();
        let text = error.to_string();
        for part in [
            "jobs/batch",
            "spec.containers[main].resources.requests",
            "reclaimed_millicpu",
            "\"4x\"",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[rstest]
    #[case(json!({ "containers": [] }), None, None)]
    #[case(json!({ "containers": [], "nodeName": "" }), None, None)]
    #[case(json!({ "containers": [], "nodeName": "node-1" }), None, Some("node-1"))]
    #[case(json!({ "containers": [], "nodeName": "node-1" }), Some("Pending"), Some("node-1"))]
    #[case(json!({ "containers": [], "nodeName": "node-1" }), Some("Running"), Some("node-1"))]
    #[case(json!({ "containers": [], "nodeName": "node-1" }), Some("Unknown"), Some("node-1"))]
    #[case(json!({ "containers": [], "nodeName": "node-1" }), Some("Succeeded"), None)]
    #[case(json!({ "containers": [], "nodeName": "node-1" }), Some("Failed"), None)]
    fn a_pod_holds_what_it_requests_from_binding_to_its_end(
        #[case] spec: Value,
        #[case] phase: Option<&str>,
        #[case] node: Option<&str>,
    ) {
        let mut pod = pod(&spec);
        pod.status.get_or_insert_default().phase = phase.map(str::to_owned);
        assert_eq!(is_allocated(&pod), node);
    }

    #[test]
    fn the_annotation_makes_a_pod_reclaimed() {
        let mut pod = pod(&json!({ "containers": [] }));
        assert!(is_reclaimed(&pod));
        pod.metadata.annotations = None;
        assert!(!is_reclaimed(&pod));
    }
}
