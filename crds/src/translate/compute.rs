//! What a pod asks of CPU and memory, the way Kubernetes counts it: app containers and sidecars together or the largest init container,
//! what the pod states as a whole (`spec.resources`, Kubernetes 1.34), and the overhead of its runtime class.

use k8s_openapi::api::core::v1::{Pod, PodSpec, ResourceRequirements};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_core::units::{Bytes, Millicpu};

use super::amount::read_cpu_and_memory;
use super::pod::{ContainerRole, RequestError, effective_requests};
use crate::constants::resource;
use crate::node::ResourceList;

/// What a pod asks of CPU and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compute {
    /// CPU request.
    pub cpu_request: Millicpu,
    /// CPU limit; `None` where a container has none and the pod states none.
    pub cpu_limit: Option<Millicpu>,
    /// Memory request.
    pub memory_request: Bytes,
}

/// Reads requests and limits. An amount that cannot be read counts as zero, its container as one without a limit, and is told.
pub fn compute(pod: &Pod) -> (Compute, Vec<RequestError>) {
    let mut reader = Reader {
        pod,
        errors: Vec::new(),
    };
    let compute = pod
        .spec
        .as_ref()
        .map(|spec| reader.spec(spec))
        .unwrap_or_default();
    (compute, reader.errors)
}

struct Reader<'a> {
    pod: &'a Pod,
    errors: Vec<RequestError>,
}

impl Reader<'_> {
    fn spec(&mut self, spec: &PodSpec) -> Compute {
        let mut requests = Vec::new();
        let mut limit = Some(Millicpu::ZERO);
        let inits = spec.init_containers.iter().flatten().map(|container| {
            let role = ContainerRole::of_init(container.restart_policy.as_deref());
            (role, "initContainers", container)
        });
        let apps = spec
            .containers
            .iter()
            .map(|container| (ContainerRole::App, "containers", container));
        for (role, list, container) in inits.chain(apps) {
            let field = format!("spec.{list}[{}].resources", container.name);
            let (asked, limited) = self.container(&field, container.resources.as_ref());
            requests.push((role, asked));
            if role != ContainerRole::Init {
                limit = limit.zip(limited).map(|(sum, limited)| sum + limited);
            }
        }
        let mut asked = effective_requests(requests);
        if let Some(of_pod) = spec.resources.as_ref() {
            let stated = of_pod.requests.as_ref();
            let read = self.list("spec.resources.requests", stated);
            if has(stated, resource::CPU) {
                asked.cpu = read.cpu;
            }
            if has(stated, resource::MEMORY) {
                asked.memory = read.memory;
            }
            if has(of_pod.limits.as_ref(), resource::CPU) {
                let read = self.list("spec.resources.limits", of_pod.limits.as_ref());
                limit = Some(read.cpu);
            }
        }
        let overhead = self.list("spec.overhead", spec.overhead.as_ref());
        Compute {
            cpu_request: asked.cpu + overhead.cpu,
            cpu_limit: limit.map(|limit| limit + overhead.cpu),
            memory_request: asked.memory + overhead.memory,
        }
    }

    /// A container's requests and its CPU limit. Without a request the limit is the request.
    fn container(
        &mut self,
        field: &str,
        resources: Option<&ResourceRequirements>,
    ) -> (Reclaimed, Option<Millicpu>) {
        let Some(resources) = resources else {
            return (Reclaimed::ZERO, None);
        };
        let (requests, limits) = (resources.requests.as_ref(), resources.limits.as_ref());
        let asked = self.list(&format!("{field}.requests"), requests);
        let limited = self.list(&format!("{field}.limits"), limits);
        let or_limit = |name| !has(requests, name) && has(limits, name);
        let asked = Reclaimed {
            cpu: if or_limit(resource::CPU) {
                limited.cpu
            } else {
                asked.cpu
            },
            memory: if or_limit(resource::MEMORY) {
                limited.memory
            } else {
                asked.memory
            },
        };
        let limit = (limited.cpu > Millicpu::ZERO).then_some(limited.cpu);
        (asked, limit)
    }

    fn list(&mut self, field: &str, list: Option<&ResourceList>) -> Reclaimed {
        let Some(list) = list else {
            return Reclaimed::ZERO;
        };
        read_cpu_and_memory(list).unwrap_or_else(|source| {
            let metadata = &self.pod.metadata;
            self.errors.push(RequestError {
                namespace: metadata.namespace.clone().unwrap_or_default(),
                name: metadata.name.clone().unwrap_or_default(),
                field: field.to_owned(),
                source,
            });
            Reclaimed::ZERO
        })
    }
}

fn has(list: Option<&ResourceList>, name: &str) -> bool {
    list.is_some_and(|list| list.contains_key(name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: &Value) -> (Compute, Vec<RequestError>) {
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
        compute(&serde_json::from_value(pod).unwrap())
    }

    fn container(requests: &Value, limits: &Value) -> Value {
        json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
    }

    #[test]
    fn containers_sidecars_and_init_containers() {
        let mut sidecar = container(&json!({"cpu": "100m"}), &json!({"cpu": "200m"}));
        sidecar["restartPolicy"] = json!("Always");
        let init = container(&json!({"cpu": "3"}), &json!({}));
        let spec = json!({
            "initContainers": [sidecar, init],
            "containers": [
                container(&json!({"cpu": "1", "memory": "1Gi"}), &json!({"cpu": "2"})),
                container(&json!({}), &json!({"cpu": "500m", "memory": "1Gi"})),
            ],
            "overhead": {"cpu": "10m", "memory": "1Mi"},
        });
        let (compute, errors) = of(&spec);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(
            compute.cpu_request.get(),
            3_110,
            "the init container beside the sidecar"
        );
        assert_eq!(compute.cpu_limit.map(Millicpu::get), Some(2_710));
        assert_eq!(compute.memory_request.get(), (2 << 30) + (1 << 20));
    }

    #[test]
    fn one_container_without_a_limit_makes_a_pod_without_one() {
        let spec = json!({"containers": [
            container(&json!({"cpu": "1"}), &json!({"cpu": "1"})),
            container(&json!({"cpu": "1"}), &json!({})),
        ]});
        assert_eq!(of(&spec).0.cpu_limit, None);
    }

    #[test]
    fn what_the_pod_states_counts() {
        let spec = json!({
            "resources": {"requests": {"cpu": "4"}, "limits": {"cpu": "5"}},
            "containers": [container(&json!({"cpu": "1", "memory": "1Gi"}), &json!({}))],
        });
        let (compute, _) = of(&spec);
        assert_eq!(compute.cpu_request.get(), 4_000);
        assert_eq!(compute.cpu_limit.map(Millicpu::get), Some(5_000));
        assert_eq!(compute.memory_request.get(), 1 << 30);
    }

    #[test]
    fn an_amount_that_cannot_be_read_costs_itself() {
        let spec = json!({"containers": [
            container(&json!({"cpu": "many"}), &json!({})),
            container(&json!({"cpu": "1"}), &json!({})),
        ]});
        let (compute, errors) = of(&spec);
        assert_eq!(compute.cpu_request.get(), 1_000);
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0]
                .to_string()
                .contains("spec.containers[c].resources.requests")
        );
    }
}
