//! A pod as the API server shows it to the node.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::layout::Class;

/// Annotation with the quality-of-service level.
const QOS_LEVEL: &str = "katalyst.kubewharf.io/qos_level";

/// When every pod was created and started: long ago, so that nothing treats it as new.
const CREATED: &str = "2026-01-01T00:00:00Z";

/// What a pod asks for.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// Name; also the end of its UID.
    pub name: String,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Request and limit of native CPU, thousandths.
    pub cpu: Option<(u64, Option<u64>)>,
    /// Request and limit of native memory, MiB.
    pub memory: Option<(u64, Option<u64>)>,
    /// Reclaimed CPU (thousandths) and memory (MiB).
    pub reclaimed: Option<(u64, u64)>,
    /// Containers.
    pub containers: usize,
}

impl PodSpec {
    /// A best-effort pod that knows nothing of us.
    pub fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            annotations: BTreeMap::new(),
            cpu: None,
            memory: None,
            reclaimed: None,
            containers: 1,
        }
    }

    /// A service with a request and no limit of CPU.
    pub fn service(name: &str, millicpu: u64, mib: u64) -> Self {
        Self {
            cpu: Some((millicpu, None)),
            memory: Some((mib, None)),
            ..Self::plain(name)
        }
    }

    /// A batch pod.
    pub fn reclaimed(name: &str, millicpu: u64, mib: u64) -> Self {
        Self {
            reclaimed: Some((millicpu, mib)),
            ..Self::plain(name)
        }
        .level("reclaimed_cores")
    }

    /// A guaranteed pod with CPUs of its own.
    pub fn dedicated(name: &str, cpus: u64, mib: u64) -> Self {
        Self::guaranteed(name, cpus, mib).level("dedicated_cores")
    }

    /// A guaranteed pod with whole CPUs and no annotations.
    pub fn guaranteed(name: &str, cpus: u64, mib: u64) -> Self {
        let millicpu = cpus * 1000;
        Self {
            cpu: Some((millicpu, Some(millicpu))),
            memory: Some((mib, Some(mib))),
            ..Self::plain(name)
        }
    }

    /// With a quality-of-service level.
    #[must_use]
    pub fn level(self, level: &str) -> Self {
        self.annotated(QOS_LEVEL, level)
    }

    /// With an annotation.
    #[must_use]
    pub fn annotated(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With that many containers.
    #[must_use]
    pub fn containers(self, containers: usize) -> Self {
        Self { containers, ..self }
    }

    /// The UID that the object gets, of the form that Kubernetes makes.
    pub fn uid(&self) -> String {
        let digest = self
            .name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        format!(
            "{:08x}-0000-4000-8000-{:012x}",
            digest >> 32,
            digest & 0xffff_ffff
        )
    }

    /// CPU shares that kubelet gives the pod: in proportion to its request, and the least, 2, without one.
    pub fn shares(&self) -> u64 {
        self.cpu
            .map_or(2, |(request, _)| (request * 1024 / 1000).max(2))
    }

    /// Kubernetes' class.
    pub fn class(&self) -> Class {
        let fixed = |amount: Option<(u64, Option<u64>)>| {
            amount.is_some_and(|(request, limit)| limit == Some(request))
        };
        match (self.cpu, self.memory) {
            (None, None) => Class::BestEffort,
            (cpu, memory) if fixed(cpu) && fixed(memory) => Class::Guaranteed,
            _ => Class::Burstable,
        }
    }

    /// The object, assigned to `node` and running.
    pub fn object(&self, node: &str) -> Value {
        let mut requests = serde_json::Map::new();
        let mut limits = serde_json::Map::new();
        for (resource, amount, unit) in [("cpu", self.cpu, "m"), ("memory", self.memory, "Mi")] {
            if let Some((request, limit)) = amount {
                requests.insert(resource.to_owned(), json!(format!("{request}{unit}")));
                if let Some(limit) = limit {
                    limits.insert(resource.to_owned(), json!(format!("{limit}{unit}")));
                }
            }
        }
        if let Some((millicpu, mib)) = self.reclaimed {
            for list in [&mut requests, &mut limits] {
                list.insert(
                    "resource.katalyst.kubewharf.io/reclaimed_millicpu".to_owned(),
                    json!(millicpu.to_string()),
                );
                list.insert(
                    "resource.katalyst.kubewharf.io/reclaimed_memory".to_owned(),
                    json!(format!("{mib}Mi")),
                );
            }
        }
        let container = |index: usize| {
            // The first container has all of the pod's requests: sums are the pod's whatever the split.
            let resources = if index == 0 {
                json!({"requests": requests, "limits": limits})
            } else {
                json!({})
            };
            json!({"name": format!("c{index}"), "image": "none", "resources": resources})
        };
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "namespace": "scenarios", "uid": self.uid(), "creationTimestamp": CREATED, "annotations": self.annotations},
            "spec": {"nodeName": node, "containers": (0..self.containers.max(1)).map(container).collect::<Vec<_>>()},
            "status": {"phase": "Running", "startTime": CREATED, "qosClass": match self.class() {
                Class::Guaranteed => "Guaranteed",
                Class::Burstable => "Burstable",
                Class::BestEffort => "BestEffort",
            }},
        })
    }
}

#[cfg(test)]
mod tests {
    use katalyst_core::qos::Level;
    use katalyst_node_agent::pods::PodInfo;

    use super::*;

    #[test]
    fn classes_are_kubernetes_own() {
        assert_eq!(PodSpec::plain("a").class(), Class::BestEffort);
        assert_eq!(PodSpec::reclaimed("a", 1, 1).class(), Class::BestEffort);
        assert_eq!(PodSpec::service("a", 1, 1).class(), Class::Burstable);
        assert_eq!(PodSpec::dedicated("a", 1, 1).class(), Class::Guaranteed);
    }

    #[test]
    fn the_agent_reads_what_was_meant() {
        let spec = PodSpec::reclaimed("a", 1500, 64);
        let pod = serde_json::from_value(spec.object("n")).unwrap();
        let info = PodInfo::from_pod(&pod).unwrap();
        assert_eq!(info.level, Level::Reclaimed);
        assert_eq!(
            (info.requests.cpu.get(), info.requests.memory.get()),
            (1500, 64 << 20)
        );
        assert_eq!(info.uid.as_str(), spec.uid());
        assert!(info.problems.is_empty(), "{:?}", info.problems);
    }
}
