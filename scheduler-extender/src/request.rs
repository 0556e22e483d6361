//! What a pod asks for, from the scheduler's question or from a watched pod, as `katalyst_core::placement` reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use katalyst_core::placement::PodRequest as Wish;
use katalyst_core::placement::node::TaintEffect;
use katalyst_core::placement::request::{
    ContainerSource, Dialect, PodSource, RESOURCES, RequestError as Unreadable, Role, Toleration,
};
use katalyst_core::quantity::{parse_bytes, parse_millicpu};
use katalyst_core::units::{Bytes, Millicpu};
use katalyst_crds::constants::resource::{NUMA_PLACEMENT, RECLAIMED_MEMORY, RECLAIMED_MILLICPU};
use katalyst_crds::translate::placement::pod_request;

use crate::wire::{Amounts, WirePod, WireResources, WireToleration};

/// A pod's UID. Shared, since the ledger keeps it in several places.
pub type Uid = Arc<str>;

/// The resources that kube-scheduler must leave to the extender: `managedResources` of its configuration. Names of other dialects are
/// added by whoever wants them: a cluster with another device plugin for `nvidia.com/gpu` must not.
pub fn managed() -> impl Iterator<Item = &'static str> {
    let own = RESOURCES
        .iter()
        .filter(|resource| resource.dialect == Dialect::Katalyst);
    [RECLAIMED_MILLICPU, RECLAIMED_MEMORY, NUMA_PLACEMENT]
        .into_iter()
        .chain(own.map(|resource| resource.name))
}

/// Why a pod's question cannot be answered. The texts name the object, the field and the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A question without a pod, or a pod without identity.
    #[error("the request names no pod: {0} is missing")]
    NoPod(&'static str),
    /// Something in the pod that does not parse.
    #[error("pod {pod}: {source}")]
    Pod {
        /// Namespace and name.
        pod: String,
        /// What is wrong with it.
        #[source]
        source: Box<Unreadable>,
    },
}

/// A pod as placement sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRequest {
    /// Identity.
    pub uid: Uid,
    /// `namespace/name`, for messages.
    pub name: Arc<str>,
    /// Scheduling priority.
    pub priority: i32,
    /// What it asks for.
    pub wish: Arc<Wish>,
}

impl PodRequest {
    /// Reads the pod of a scheduler's question.
    pub fn from_wire(pod: &WirePod<'_>) -> Result<Self, RequestError> {
        if pod.metadata.uid.is_empty() {
            return Err(RequestError::NoPod("Pod.metadata.uid"));
        }
        let name = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
        let none = BTreeMap::new();
        let annotations = pod.metadata.annotations.as_ref().unwrap_or(&none);
        let wish = Parts::of_wire(pod).read(annotations, &name)?;
        Ok(Self {
            uid: pod.metadata.uid.as_ref().into(),
            name: name.into(),
            priority: pod.spec.priority.unwrap_or(0),
            wish: Arc::new(wish),
        })
    }

    /// Reads a pod of the API.
    pub fn from_pod(pod: &Pod) -> Result<Self, RequestError> {
        let uid = pod
            .metadata
            .uid
            .as_deref()
            .ok_or(RequestError::NoPod("metadata.uid"))?;
        let name = pod_name(pod);
        Ok(Self {
            uid: uid.into(),
            priority: priority(pod),
            wish: Arc::new(wish_of(pod)?),
            name: name.into(),
        })
    }
}

/// What a pod of the API asks for.
pub fn wish_of(pod: &Pod) -> Result<Wish, RequestError> {
    pod_request(pod).map_err(|source| RequestError::Pod {
        pod: pod_name(pod),
        source: Box::new(source),
    })
}

/// `namespace/name` of a pod.
pub fn pod_name(pod: &Pod) -> String {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    format!(
        "{}/{}",
        part(&pod.metadata.namespace),
        part(&pod.metadata.name)
    )
}

/// A pod's scheduling priority.
pub fn priority(pod: &Pod) -> i32 {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.priority)
        .unwrap_or(0)
}

/// The parts of a pod that its request is read from.
#[derive(Default)]
struct Parts<'a> {
    containers: Vec<ContainerSource<'a>>,
    tolerations: Vec<Toleration>,
    stated: (Option<Millicpu>, Option<Bytes>),
    overhead: (Millicpu, Bytes),
}

type Pairs<'a> = Vec<(&'a str, &'a str)>;

impl<'a> Parts<'a> {
    fn read(
        &self,
        annotations: &BTreeMap<String, String>,
        pod: &str,
    ) -> Result<Wish, RequestError> {
        Wish::read(&PodSource {
            annotations,
            containers: &self.containers,
            tolerations: &self.tolerations,
            stated: self.stated,
            overhead: self.overhead,
        })
        .map_err(|source| RequestError::Pod {
            pod: pod.to_owned(),
            source: Box::new(source),
        })
    }

    fn of_wire(pod: &'a WirePod<'a>) -> Self {
        let pairs = |amounts: &'a Option<Amounts<'a>>| -> Pairs<'a> {
            let all = amounts.iter().flat_map(|amounts| &amounts.0);
            all.map(|(name, text)| (name.as_ref(), text.0.as_str()))
                .collect()
        };
        let both = |resources: &'a WireResources<'a>| {
            (pairs(&resources.requests), pairs(&resources.limits))
        };
        let spec = &pod.spec;
        let inits = spec.init_containers.iter().map(|container| {
            let role = init_role(container.restart_policy.as_deref());
            source(&container.name, role, both(&container.resources))
        });
        let apps = spec
            .containers
            .iter()
            .map(|container| source(&container.name, Role::App, both(&container.resources)));
        let stated = spec.resources.as_ref().map(|resources| {
            let (requests, limits) = both(resources);
            merged(requests, &limits)
        });
        Self {
            containers: inits.chain(apps).collect(),
            tolerations: spec.tolerations.iter().filter_map(toleration).collect(),
            stated: compute(&stated.unwrap_or_default()),
            overhead: whole(compute(&pairs(&spec.overhead))),
        }
    }
}

fn init_role(restart_policy: Option<&str>) -> Role {
    if restart_policy == Some("Always") {
        Role::Sidecar
    } else {
        Role::Init
    }
}

fn source<'a>(
    name: &'a str,
    role: Role,
    (requests, limits): (Pairs<'a>, Pairs<'a>),
) -> ContainerSource<'a> {
    let guaranteed = ["cpu", "memory"].iter().all(|resource| {
        let (limit, request) = (find(&limits, resource), find(&requests, resource));
        limit.is_some_and(|limit| request.is_none_or(|request| equal(resource, request, limit)))
    });
    ContainerSource {
        name,
        role,
        resources: merged(requests, &limits),
        guaranteed,
    }
}

/// Requests, and limits of what is not requested: so the API server fills them in.
fn merged<'a>(mut requests: Pairs<'a>, limits: &Pairs<'a>) -> Pairs<'a> {
    for (name, text) in limits {
        if find(&requests, name).is_none() {
            requests.push((name, text));
        }
    }
    requests
}

fn find<'a>(pairs: &Pairs<'a>, name: &str) -> Option<&'a str> {
    let found = pairs.iter().find(|(other, _)| *other == name);
    found.map(|(_, text)| *text)
}

/// Whether two amounts are one, however they are written.
fn equal(resource: &str, one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    if resource == "cpu" {
        matches!((parse_millicpu(one), parse_millicpu(other)), (Ok(one), Ok(other)) if one == other)
    } else {
        matches!((parse_bytes(one), parse_bytes(other)), (Ok(one), Ok(other)) if one == other)
    }
}

/// CPU and memory where they are stated and can be read; what cannot was refused by the API server.
fn compute(pairs: &Pairs<'_>) -> (Option<Millicpu>, Option<Bytes>) {
    (
        find(pairs, "cpu").and_then(|text| parse_millicpu(text).ok()),
        find(pairs, "memory").and_then(|text| parse_bytes(text).ok()),
    )
}

fn whole((cpu, memory): (Option<Millicpu>, Option<Bytes>)) -> (Millicpu, Bytes) {
    (cpu.unwrap_or_default(), memory.unwrap_or_default())
}

/// A toleration. One with an effect or operator that nobody knows tolerates nothing.
fn toleration(of: &WireToleration<'_>) -> Option<Toleration> {
    let exists = match of.operator.as_deref() {
        None | Some("" | "Equal") => false,
        Some("Exists") => true,
        Some(_) => return None,
    };
    let effect = match of.effect.as_deref() {
        None | Some("") => None,
        Some("PreferNoSchedule") => Some(TaintEffect::PreferNoSchedule),
        Some("NoSchedule") => Some(TaintEffect::NoSchedule),
        Some("NoExecute") => Some(TaintEffect::NoExecute),
        Some(_) => return None,
    };
    Some(Toleration {
        key: of.key.as_deref().unwrap_or_default().into(),
        exists,
        value: of.value.as_deref().unwrap_or_default().into(),
        effect,
    })
}
