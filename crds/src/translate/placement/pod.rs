//! A pod of the API as a request.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use katalyst_core::{
    placement::request::{ContainerSource, PodRequest, PodSource, RequestError, Role, Toleration},
    quantity::{parse_bytes, parse_millicpu},
    units::{Bytes, Millicpu},
};

use super::report::effect;
use crate::{
    constants::resource,
    node::ResourceList,
    translate::{ContainerRole, read_cpu_and_memory},
};

/// Reads a pod that is to be placed.
///
/// # Errors
///
/// The first of its values that means nothing.
pub fn pod_request(pod: &Pod) -> Result<PodRequest, RequestError> {
    with_source(pod, PodRequest::read)
}

/// Reads a pod that has been placed: what means nothing counts as not said, and is told.
pub fn placed_request(pod: &Pod) -> (PodRequest, Vec<RequestError>) {
    with_source(pod, PodRequest::read_placed)
}

fn with_source<T>(pod: &Pod, read: impl FnOnce(&PodSource<'_>) -> T) -> T {
    let none = BTreeMap::new();
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let inits = spec.init_containers.iter().flatten().map(|container| {
        let role = ContainerRole::of_init(container.restart_policy.as_deref());
        let sidecar = role == ContainerRole::Sidecar;
        (container, if sidecar { Role::Sidecar } else { Role::Init })
    });
    let apps = spec
        .containers
        .iter()
        .map(|container| (container, Role::App));
    let containers: Vec<ContainerSource<'_>> = inits
        .chain(apps)
        .map(|(container, role)| source(container, role))
        .collect();
    let tolerations: Vec<Toleration> = spec
        .tolerations
        .iter()
        .flatten()
        .filter_map(toleration)
        .collect();
    let stated = spec
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    let of_pod = |name: &str| stated.and_then(|list| list.get(name));
    let overhead = spec
        .overhead
        .as_ref()
        .and_then(|list| read_cpu_and_memory(list).ok())
        .unwrap_or_default();
    read(&PodSource {
        annotations: pod.metadata.annotations.as_ref().unwrap_or(&none),
        containers: &containers,
        tolerations: &tolerations,
        stated: (
            of_pod(resource::CPU).and_then(|amount| parse_millicpu(&amount.0).ok()),
            of_pod(resource::MEMORY).and_then(|amount| parse_bytes(&amount.0).ok()),
        ),
        overhead: (overhead.cpu, overhead.memory),
    })
}

fn source(container: &Container, role: Role) -> ContainerSource<'_> {
    let resources = container.resources.as_ref();
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let asked = requests.into_iter().flatten();
    // What is limited and not requested is requested as much.
    let limited = limits
        .into_iter()
        .flatten()
        .filter(|(name, _)| requests.is_none_or(|requests| !requests.contains_key(*name)));
    ContainerSource {
        name: &container.name,
        role,
        resources: asked
            .chain(limited)
            .map(|(name, amount)| (name.as_str(), amount.0.as_str()))
            .collect(),
        guaranteed: is_guaranteed(requests, limits),
    }
}

/// Limits of CPU and memory that equal the requests, which are the limits where they are not given.
fn is_guaranteed(requests: Option<&ResourceList>, limits: Option<&ResourceList>) -> bool {
    let Some(limits) = limits else {
        return false;
    };
    let Ok(limited) = read_cpu_and_memory(limits) else {
        return false;
    };
    let asked = requests.map_or(Ok(limited), |requests| {
        let mut all = limits.clone();
        all.extend(requests.clone());
        read_cpu_and_memory(&all)
    });
    limited.cpu > Millicpu::ZERO && limited.memory > Bytes::ZERO && asked == Ok(limited)
}

/// A toleration. One with an effect or operator that nobody knows tolerates nothing.
fn toleration(of: &k8s_openapi::api::core::v1::Toleration) -> Option<Toleration> {
    let exists = match of.operator.as_deref() {
        None | Some("" | "Equal") => false,
        Some("Exists") => true,
        Some(_) => return None,
    };
    let name = of.effect.as_deref().filter(|name| !name.is_empty());
    let effect = match name {
        Some(name) => Some(effect(name)?),
        None => None,
    };
    Some(Toleration {
        key: of.key.as_deref().unwrap_or_default().into(),
        exists,
        value: of.value.as_deref().unwrap_or_default().into(),
        effect,
    })
}
