//! How much of the two reclaimed resources a pod asks for.

use k8s_openapi::{
    api::core::v1::{Container, PodSpec},
    apimachinery::pkg::api::resource::Quantity,
};
use katalyst_core::{
    quantity::{QuantityError, parse_bytes, parse_count},
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};
use katalyst_crds::constants::resource::{RECLAIMED_MEMORY, RECLAIMED_MILLICPU};
use serde::{Deserialize, Serialize};

/// A pod's requests. `None`: it does not ask for that resource at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Requests {
    /// `reclaimed_millicpu`.
    pub cpu: Option<Millicpu>,
    /// `reclaimed_memory`.
    pub memory: Option<Bytes>,
}

impl Requests {
    /// Amounts, zero where not asked for.
    pub fn amounts(&self) -> Reclaimed {
        Reclaimed {
            cpu: self.cpu.unwrap_or_default(),
            memory: self.memory.unwrap_or_default(),
        }
    }
}

/// The scheduler's rule: the sum over containers and sidecars, or what the largest init container needs with the sidecars before
/// it. Amounts that do not parse count as not asked for and are returned as errors.
pub fn reclaimed_requests(spec: &PodSpec) -> (Requests, Vec<String>) {
    let mut errors = Vec::new();
    let mut total = |name: &str, parse: &dyn Fn(&str) -> Result<u64, QuantityError>| {
        let mut of = |container: &Container| match request(container, name)?.0.as_str() {
            text => match parse(text) {
                Ok(amount) => Some(amount),
                Err(error) => {
                    errors.push(format!(
                        "container {}, resource {name}: {error}",
                        container.name
                    ));
                    None
                }
            },
        };
        let mut sidecars: Option<u64> = None;
        let mut peak: Option<u64> = None;
        for container in spec.init_containers.iter().flatten() {
            let amount = of(container);
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars = add(sidecars, amount);
                peak = peak.max(sidecars);
            } else {
                peak = peak.max(add(sidecars, amount));
            }
        }
        let running = spec.containers.iter().map(&mut of).fold(sidecars, add);
        peak.max(running)
    };
    let cpu = total(RECLAIMED_MILLICPU, &parse_count).map(Millicpu::new);
    let memory = total(RECLAIMED_MEMORY, &|text| parse_bytes(text).map(Bytes::get)).map(Bytes::new);
    (Requests { cpu, memory }, errors)
}

fn add(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (one, None) | (None, one) => one,
    }
}

fn request<'a>(container: &'a Container, name: &str) -> Option<&'a Quantity> {
    let resources = container.resources.as_ref()?;
    let of =
        |list: &'a Option<std::collections::BTreeMap<String, Quantity>>| list.as_ref()?.get(name);
    of(&resources.requests).or_else(|| of(&resources.limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> PodSpec {
        serde_json::from_value(json).unwrap()
    }

    fn container(name: &str, cpu: &str, memory: &str) -> serde_json::Value {
        serde_json::json!({"name": name, "resources": {"limits": {RECLAIMED_MILLICPU: cpu, RECLAIMED_MEMORY: memory}}})
    }

    #[test]
    fn containers_add_up_and_init_containers_do_not() {
        let mut sidecar = container("side", "500", "0");
        sidecar["restartPolicy"] = "Always".into();
        let (requests, errors) = reclaimed_requests(&spec(serde_json::json!({
            "initContainers": [sidecar, container("init", "3k", "1Gi")],
            "containers": [container("a", "1k", "2Gi"), container("b", "1500", "1Gi"), {"name": "none"}],
        })));
        assert!(errors.is_empty());
        assert_eq!(requests.amounts(), Reclaimed::new(3500, 3 << 30));
    }

    #[test]
    fn absent_is_not_zero_and_nonsense_is_an_error() {
        let (requests, errors) =
            reclaimed_requests(&spec(serde_json::json!({"containers": [{"name": "a"}]})));
        assert_eq!((requests, errors.len()), (Requests::default(), 0));
        let (requests, errors) = reclaimed_requests(&spec(
            serde_json::json!({"containers": [container("a", "lots", "1Gi")]}),
        ));
        assert_eq!(requests.cpu, None);
        assert!(
            errors[0].contains("container a") && errors[0].contains("lots"),
            "{errors:?}"
        );
    }
}
