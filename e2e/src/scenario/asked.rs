//! Pods that ask for something, and what they were told: the record in the Binding, or the reason in kube-scheduler's event.

use std::time::Duration;

use serde_json::{Value, json};

use super::World;
use super::declared;
use super::world::NAMESPACE;
use crate::kubectl::wait_for;

/// A pod goes through kube-scheduler's back-off of at most 10 s; the rest is for a busy machine.
const ANSWER: Duration = Duration::from_secs(45);

/// What a scenario says of a pod.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pod: Value,
}

impl Ask {
    /// A pod for the nodes of a fleet, with requests and limits of these amounts.
    pub(super) fn new(fleet: &str, name: &str, amounts: &Value) -> Self {
        Self {
            pod: json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {}, "labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "nodeSelector": declared::selector(fleet),
                    "tolerations": [{"key": "katalyst.local/hollow", "operator": "Exists"}],
                    "containers": [{"name": "main", "image": "katalyst.local/busybox:1", "resources": {"limits": amounts, "requests": amounts}}],
                },
            }),
        }
    }

    /// On this node or on none.
    pub(super) fn on(mut self, node: &str) -> Self {
        self.pod["spec"]["nodeSelector"]["kubernetes.io/hostname"] = json!(node);
        self
    }

    /// With an annotation; a map becomes the JSON text that Katalyst's annotations hold.
    pub(super) fn with(mut self, key: &str, value: &Value) -> Self {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        self.pod["metadata"]["annotations"][format!("katalyst.kubewharf.io/{key}")] = json!(text);
        self
    }

    /// With a field of `spec`.
    pub(super) fn spec(mut self, field: &str, value: Value) -> Self {
        self.pod["spec"][field] = value;
        self
    }

    /// With another toleration.
    pub(super) fn tolerating(mut self, toleration: Value) -> Self {
        if let Some(tolerations) = self.pod["spec"]["tolerations"].as_array_mut() {
            tolerations.push(toleration);
        }
        self
    }

    /// With another label.
    pub(super) fn labelled(mut self, key: &str, value: &str) -> Self {
        self.pod["metadata"]["labels"][key] = json!(value);
        self
    }

    pub(super) fn name(&self) -> &str {
        self.pod["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// The manifest.
    pub(super) fn into_pod(self) -> Value {
        self.pod
    }

    pub(super) fn create(&self, world: &World) -> Result<(), String> {
        world
            .kubectl
            .apply(&self.pod.to_string())
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Creates it and waits until it is bound.
    pub(super) fn bound(&self, world: &World) -> Result<Given, String> {
        self.create(world)?;
        bound(world, self.name())
    }

    /// Creates it and waits until kube-scheduler's event carries `reason`; the event's words.
    pub(super) fn refused(&self, world: &World, reason: &str) -> Result<String, String> {
        self.create(world)?;
        let name = self.name();
        wait_for(&format!("{name} refused for `{reason}`"), ANSWER, || {
            if world.pod(name)?["spec"]["nodeName"].is_string() {
                return Err("it was bound".to_owned());
            }
            let words = world.events(name, Some("FailedScheduling"))?;
            let told = words.iter().find(|message| message.contains(reason));
            told.cloned().ok_or_else(|| format!("{words:?}"))
        })
    }
}

/// Waits until a pod that was created is bound.
pub(super) fn bound(world: &World, name: &str) -> Result<Given, String> {
    wait_for(&format!("{name} bound"), ANSWER, || {
        Given::of(&world.pod(name)?).ok_or_else(|| {
            let words = world
                .events(name, Some("FailedScheduling"))
                .unwrap_or_else(|error| vec![error]);
            format!("kube-scheduler says {words:?}")
        })
    })
}

/// What a bound pod was given, by the records of its Binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// Its node.
    pub(super) node: String,
    /// Cards with percent, 100 for a whole one.
    pub(super) cards: Vec<(String, u64)>,
    /// Network cards.
    pub(super) nics: Vec<String>,
    /// NUMA nodes that the agent is to bind it to.
    pub(super) numa: Option<String>,
    /// NUMA nodes that something is counted of.
    pub(super) counted: Vec<String>,
    /// What was booked of the reclaimed amounts.
    pub(super) reclaimed: Option<String>,
}

impl Given {
    /// `None` where the pod is not bound.
    pub(super) fn of(pod: &Value) -> Option<Self> {
        let node = pod["spec"]["nodeName"].as_str()?;
        let record = |key: &str| {
            let key = format!("katalyst.kubewharf.io/{key}");
            pod["metadata"]["annotations"][key]
                .as_str()
                .map(str::to_owned)
        };
        let read = |key: &str| -> Value {
            record(key)
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default()
        };
        let devices = read("device_allocation");
        let main = &devices["containers"]["main"];
        let of = |key: &str| main[key].as_array().into_iter().flatten();
        let named = |device: &Value, field: &str| device[field].as_str().map(str::to_owned);
        Some(Self {
            node: node.to_owned(),
            cards: of("gpus")
                .filter_map(|card| {
                    Some((
                        named(card, "uuid")?,
                        card["percent"].as_u64().unwrap_or(100),
                    ))
                })
                .collect(),
            nics: of("nics").filter_map(|nic| named(nic, "name")).collect(),
            numa: record("numa_bind_result"),
            counted: read("numa_allocation")
                .as_object()
                .map(|nodes| nodes.keys().cloned().collect())
                .unwrap_or_default(),
            reclaimed: record("reclaimed_allocation"),
        })
    }
}

/// So many thousandths of cards.
pub(super) fn milligpu(amount: u64) -> Value {
    json!({"resource.katalyst.kubewharf.io/milligpu": amount.to_string()})
}

/// CPUs and memory.
pub(super) fn compute(cpus: u64, memory_gib: u64) -> Value {
    json!({"cpu": cpus.to_string(), "memory": format!("{memory_gib}Gi")})
}

/// The amounts of both.
pub(super) fn both(one: Value, other: &Value) -> Value {
    let mut all = one;
    if let (Some(all), Some(other)) = (all.as_object_mut(), other.as_object()) {
        all.extend(other.clone());
    }
    all
}

/// What an event says of nodes, without what follows about claims and preemption.
pub(super) fn short(words: &str) -> String {
    let (said, _) = words.split_once(". ").unwrap_or((words, ""));
    said.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_to_their_first_full_stop() {
        assert_eq!(
            short("0/2 nodes are available: 2 node has no GPU. no new claims to deallocate"),
            "0/2 nodes are available: 2 node has no GPU"
        );
        assert_eq!(short("tls: bad certificate"), "tls: bad certificate");
    }

    #[test]
    fn records_are_read_from_a_bound_pod_only() {
        let mut pod = json!({"metadata": {"name": "a", "annotations": {
            "katalyst.kubewharf.io/device_allocation": r#"{"containers": {"main": {"gpus": [{"uuid": "GPU-1", "percent": 25}, {"uuid": "GPU-2"}], "nics": [{"name": "mlx5_0"}]}}}"#,
            "katalyst.kubewharf.io/numa_bind_result": "0,8",
            "katalyst.kubewharf.io/numa_allocation": r#"{"0": {"cpu": "4"}, "8": {"cpu": "4"}}"#,
        }}, "spec": {}});
        assert_eq!(Given::of(&pod), None);
        pod["spec"]["nodeName"] = json!("n");
        let given = Given::of(&pod).unwrap();
        assert_eq!(
            given.cards,
            [("GPU-1".to_owned(), 25), ("GPU-2".to_owned(), 100)]
        );
        assert_eq!((given.nics.len(), given.numa.as_deref()), (1, Some("0,8")));
        assert_eq!(given.counted, ["0", "8"]);
    }
}
