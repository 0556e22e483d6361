//! Pods of the kinds that the extender is for, as kube-scheduler sends them and as the watch shows them.

use serde_json::{Value, json};

/// What a pod asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Reclaimed amounts.
    Reclaimed,
    /// A part of a NUMA node.
    Numa,
    /// A part of a GPU.
    Share,
    /// A whole GPU.
    Whole,
    /// Whole GPUs, each with a network card below the same switch.
    Rdma,
    /// All of them in turn.
    All,
}

/// Workloads of each mix: pods of one workload ask alike.
pub(crate) const WORKLOADS: usize = 8;

const EACH: [Mix; 5] = [Mix::Reclaimed, Mix::Numa, Mix::Share, Mix::Whole, Mix::Rdma];

impl Mix {
    pub(crate) const ALL: [Self; 6] = [
        Self::Reclaimed,
        Self::Numa,
        Self::Share,
        Self::Whole,
        Self::Rdma,
        Self::All,
    ];

    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Reclaimed => "reclaimed",
            Self::Numa => "numa",
            Self::Share => "share",
            Self::Whole => "whole",
            Self::Rdma => "rdma",
            Self::All => "all",
        }
    }

    pub(crate) const fn shows(self) -> &'static str {
        match self {
            Self::Reclaimed => "reclaimed amounts",
            Self::Numa => "NUMA-bound",
            Self::Share => "part of a GPU",
            Self::Whole => "whole GPU",
            Self::Rdma => "GPUs with RDMA below one switch",
            Self::All => "all of these in turn",
        }
    }

    /// The kind of the `number`-th pod, and its workload.
    fn of(self, number: usize) -> (Self, usize) {
        match self {
            Self::All => {
                let kind = EACH.get(number % EACH.len()).copied();
                (kind.unwrap_or(Self::Share), number / EACH.len() % WORKLOADS)
            }
            kind => (kind, number % WORKLOADS),
        }
    }

    /// How many different workloads there are.
    pub(crate) const fn workloads(self) -> usize {
        match self {
            Self::All => WORKLOADS * EACH.len(),
            _ => WORKLOADS,
        }
    }

    /// The `number`-th pod. `odd` makes it differ from all pods of another `odd`, by a few thousandths of a CPU or bytes of memory: then it is one of a kind.
    pub(crate) fn pod(self, number: usize, odd: usize) -> Value {
        let (kind, workload) = self.of(number);
        let size = workload + 1;
        let (annotations, amounts) = match kind {
            Self::Reclaimed => (
                json!({"katalyst.kubewharf.io/qos_level": "reclaimed_cores"}),
                json!({
                    "resource.katalyst.kubewharf.io/reclaimed_millicpu": (500 * size + odd).to_string(),
                    "resource.katalyst.kubewharf.io/reclaimed_memory": format!("{size}Gi"),
                }),
            ),
            Self::Numa => (
                json!({
                    "katalyst.kubewharf.io/qos_level": "dedicated_cores",
                    "katalyst.kubewharf.io/memory_enhancement": r#"{"numa_binding":"true"}"#,
                }),
                json!({"cpu": format!("{}m", 1000 * size + odd), "memory": format!("{}Gi", 2 * size)}),
            ),
            Self::Share => (
                json!({}),
                json!({
                    "cpu": format!("{}m", 1000 + odd), "memory": "4Gi",
                    "resource.katalyst.kubewharf.io/milligpu": (50 * size).to_string(),
                }),
            ),
            Self::Whole => (
                json!({}),
                json!({
                    "cpu": format!("{}m", 1000 * size + odd), "memory": format!("{}Gi", 4 * size),
                    "resource.katalyst.kubewharf.io/milligpu": "1k",
                }),
            ),
            Self::Rdma | Self::All => {
                let cards = workload % 2 + 1;
                (
                    json!({"katalyst.kubewharf.io/device_enhancement": r#"{"gpu_rdma_affinity":"required:switch"}"#}),
                    json!({
                        "cpu": format!("{}m", 1000 * size + odd), "memory": format!("{}Gi", 4 * size),
                        "resource.katalyst.kubewharf.io/milligpu": format!("{cards}k"),
                        "resource.katalyst.kubewharf.io/rdma_nic": cards.to_string(),
                    }),
                )
            }
        };
        pod("job", number, &annotations, &amounts)
    }
}

/// A pod as a workload's controller makes them.
pub(crate) fn pod(workload: &str, number: usize, annotations: &Value, amounts: &Value) -> Value {
    let name = format!("{workload}-7d9c4b6f5d-{number:06}");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "analytics", "uid": uid(workload, number), "generateName": format!("{workload}-7d9c4b6f5d-"),
            "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": annotations,
            "labels": {"app": workload, "pod-template-hash": "7d9c4b6f5d"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{workload}-7d9c4b6f5d"),
                "uid": "8f14e45f-ceea-467f-a8f2-6f1c5d3b9a10", "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {
            "containers": [{
                "name": "main", "image": "registry.example/team/job:1.4.2", "resources": {"requests": amounts, "limits": amounts},
                "terminationMessagePath": "/dev/termination-log", "imagePullPolicy": "IfNotPresent",
                "volumeMounts": [{"name": "kube-api-access", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
            }],
            "restartPolicy": "Always", "serviceAccountName": "default", "schedulerName": "default-scheduler", "priority": 0,
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
        },
        "status": {"phase": "Pending", "qosClass": "Guaranteed"},
    })
}

fn uid(workload: &str, number: usize) -> String {
    let kind = workload
        .bytes()
        .fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(byte));
    format!("{kind:08x}-6d52-4a5e-9c42-{number:012x}")
}

/// The question of filter and prioritize.
pub(crate) fn question(pod: &Value, names: &[String]) -> Vec<u8> {
    // Fields in the order of the Go struct.
    format!(
        r#"{{"Pod":{pod},"Nodes":null,"NodeNames":{}}}"#,
        json!(names)
    )
    .into_bytes()
}
