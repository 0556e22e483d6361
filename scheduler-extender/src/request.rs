//! What a pod asks for, from the scheduler's question or from a watched pod.
//!
//! The amount follows Kubernetes' rule for any resource: the containers and sidecars together, or the largest init container
//! together with the sidecars that are already running, whichever is more.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use katalyst_core::qos::{Level, PodQos, QosError};
use katalyst_core::quantity::{QuantityError, parse_bytes, parse_count};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_core::units::Millicpu;
use katalyst_crds::constants::resource::{RECLAIMED_MEMORY, RECLAIMED_MILLICPU};

use crate::wire::{WireContainer, WirePod, WireResources};

/// A pod's UID. Shared, since the ledger keeps it in several places.
pub type Uid = Arc<str>;

/// The resources that kube-scheduler must leave to the extender: `managedResources` of its configuration.
pub const MANAGED: [&str; 2] = [RECLAIMED_MILLICPU, RECLAIMED_MEMORY];

/// Why a pod's question cannot be answered. The texts name the object, the field and the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A question without a pod, or a pod without identity.
    #[error("the request names no pod: {0} is missing")]
    NoPod(&'static str),
    /// An amount that is none.
    #[error("pod {pod}: {field}: {source}")]
    Quantity {
        /// Namespace and name.
        pod: String,
        /// Path of the field inside the pod.
        field: String,
        /// What is wrong with it.
        #[source]
        source: QuantityError,
    },
    /// An annotation that does not parse.
    #[error("pod {pod}: {source}")]
    Annotation {
        /// Namespace and name.
        pod: String,
        /// What is wrong with it.
        #[source]
        source: Box<QosError>,
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
    /// Quality-of-service level.
    pub level: Level,
    /// Reclaimed resources asked for; `None` where the pod names neither of them.
    pub amount: Option<Reclaimed>,
}

impl PodRequest {
    /// Reads the pod of a scheduler's question.
    pub fn from_wire(pod: &WirePod<'_>) -> Result<Self, RequestError> {
        if pod.metadata.uid.is_empty() {
            return Err(RequestError::NoPod("Pod.metadata.uid"));
        }
        let name = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
        let containers = pod
            .spec
            .containers
            .iter()
            .map(|c| Asker::wire(c, "containers", Role::Main));
        let inits = pod
            .spec
            .init_containers
            .iter()
            .map(|c| Asker::wire(c, "initContainers", Role::init(c.restart_policy.as_deref())));
        let amount = effective(containers.chain(inits), &name)?;
        let level = level(pod.metadata.annotations.as_ref(), &name)?;
        Ok(Self {
            uid: pod.metadata.uid.as_ref().into(),
            name: name.into(),
            priority: pod.spec.priority.unwrap_or(0),
            level,
            amount,
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
        let level = level(pod.metadata.annotations.as_ref(), &name)?;
        Ok(Self {
            uid: uid.into(),
            priority: priority(pod),
            level,
            amount: pod_amount(pod)?,
            name: name.into(),
        })
    }
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

/// The reclaimed resources a pod of the API asks for, whatever its annotations say.
pub fn pod_amount(pod: &Pod) -> Result<Option<Reclaimed>, RequestError> {
    let Some(spec) = pod.spec.as_ref() else {
        return Ok(None);
    };
    let containers = spec
        .containers
        .iter()
        .map(|c| Asker::api(c, "containers", Role::Main));
    let inits = spec
        .init_containers
        .iter()
        .flatten()
        .map(|c| Asker::api(c, "initContainers", Role::init(c.restart_policy.as_deref())));
    effective(containers.chain(inits), &pod_name(pod))
}

fn level(annotations: Option<&BTreeMap<String, String>>, pod: &str) -> Result<Level, RequestError> {
    let Some(annotations) = annotations else {
        return Ok(Level::Shared);
    };
    let parsed = PodQos::parse(annotations);
    // Wishes without effect and unknown keys are Katalyst's to accept, so they are accepted here.
    match parsed.errors.into_iter().find(QosError::is_malformed) {
        Some(source) => Err(RequestError::Annotation {
            pod: pod.to_owned(),
            source: Box::new(source),
        }),
        None => Ok(parsed.qos.level),
    }
}

/// When a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Main,
    Init,
    Sidecar,
}

impl Role {
    fn init(restart_policy: Option<&str>) -> Self {
        if restart_policy == Some("Always") {
            Self::Sidecar
        } else {
            Self::Init
        }
    }
}

/// A container that asks for something.
struct Asker<'a> {
    list: &'static str,
    name: &'a str,
    role: Role,
    millicpu: Option<&'a str>,
    memory: Option<&'a str>,
}

impl<'a> Asker<'a> {
    fn wire(container: &'a WireContainer<'a>, list: &'static str, role: Role) -> Self {
        let WireResources { requests, limits } = &container.resources;
        // The API server copies a limit to a missing request.
        let pick = |get: fn(&'a crate::wire::ReclaimedTexts) -> Option<&'a str>| {
            requests
                .as_ref()
                .and_then(get)
                .or_else(|| limits.as_ref().and_then(get))
        };
        let millicpu = pick(|texts| texts.millicpu.as_ref().map(|text| text.0.as_str()));
        let memory = pick(|texts| texts.memory.as_ref().map(|text| text.0.as_str()));
        Self {
            list,
            name: &container.name,
            role,
            millicpu,
            memory,
        }
    }

    fn api(container: &'a Container, list: &'static str, role: Role) -> Self {
        let pick = |key: &str| {
            let ResourceRequirements {
                requests, limits, ..
            } = container.resources.as_ref()?;
            let find = |amounts: &'a Option<BTreeMap<String, _>>| {
                amounts.as_ref().and_then(|list| list.get(key))
            };
            find(requests).or_else(|| find(limits)).map(
                |quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity| {
                    quantity.0.as_str()
                },
            )
        };
        Self {
            list,
            name: &container.name,
            role,
            millicpu: pick(RECLAIMED_MILLICPU),
            memory: pick(RECLAIMED_MEMORY),
        }
    }

    fn amount(&self, pod: &str) -> Result<Option<Reclaimed>, RequestError> {
        if self.millicpu.is_none() && self.memory.is_none() {
            return Ok(None);
        }
        let error = |resource: &str, source| RequestError::Quantity {
            pod: pod.to_owned(),
            field: format!(
                "spec.{}[{}].resources.requests[{resource}]",
                self.list, self.name
            ),
            source,
        };
        let cpu = self
            .millicpu
            .map_or(Ok(0), parse_count)
            .map_err(|source| error(RECLAIMED_MILLICPU, source))?;
        let memory = self
            .memory
            .map_or(Ok(katalyst_core::units::Bytes::ZERO), parse_bytes)
            .map_err(|source| error(RECLAIMED_MEMORY, source))?;
        Ok(Some(Reclaimed {
            cpu: Millicpu::new(cpu),
            memory,
        }))
    }
}

fn effective<'a>(
    askers: impl Iterator<Item = Asker<'a>>,
    pod: &str,
) -> Result<Option<Reclaimed>, RequestError> {
    let (mut running, mut sidecars, mut starting) =
        (Reclaimed::ZERO, Reclaimed::ZERO, Reclaimed::ZERO);
    let mut named = false;
    for asker in askers {
        let Some(amount) = asker.amount(pod)? else {
            continue;
        };
        named = true;
        match asker.role {
            Role::Main => running = running + amount,
            Role::Sidecar => {
                running = running + amount;
                sidecars = sidecars + amount;
            }
            Role::Init => {
                let together = sidecars + amount;
                starting = Reclaimed {
                    cpu: starting.cpu.max(together.cpu),
                    memory: starting.memory.max(together.memory),
                };
            }
        }
    }
    let most = Reclaimed {
        cpu: running.cpu.max(starting.cpu),
        memory: running.memory.max(starting.memory),
    };
    Ok(named.then_some(most))
}
