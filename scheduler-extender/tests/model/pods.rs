//! The pods of the world, and its machine.

use std::sync::{Arc, OnceLock};

use k8s_openapi::api::core::v1::Pod;
use katalyst_core::placement::Machine;
use katalyst_core::placement::machine::{CardSpec, MachineSpec, NicSpec, Spot, ZoneSpec};
use katalyst_core::units::{Bytes, Millicpu};
use katalyst_scheduler_extender::ledger::Charge;
use katalyst_scheduler_extender::request::PodRequest;
use serde_json::{Value, json};

/// Different pods.
pub const KINDS: usize = 8;
/// Pods.
pub const PODS: usize = 10;

/// Two NUMA nodes with numbers that do not follow each other, a GPU and an RDMA network card in each.
pub fn machine() -> Machine {
    let spot = |at: u32| Spot {
        address: format!("0000:0{at}:00.0"),
        root: format!("root{at}"),
        switches: vec![format!("switch{at}")],
        numa: Some(at * 2),
    };
    Machine::new(MachineSpec {
        zones: (0..2)
            .map(|at| ZoneSpec {
                id: at * 2,
                socket: at,
                cpu: Millicpu::new(8000),
                memory: Bytes::new(8 << 30),
                ..ZoneSpec::default()
            })
            .collect(),
        cards: (0..2)
            .map(|at| CardSpec {
                uuid: format!("GPU-{at}"),
                index: Some(at),
                model: "T4".to_owned(),
                memory: Bytes::new(16 << 30),
                healthy: true,
                nvidia: true,
                spot: spot(at),
                ..CardSpec::default()
            })
            .collect(),
        nics: (0..2)
            .map(|at| NicSpec {
                name: format!("mlx5_{at}"),
                up: true,
                spot: spot(at),
                ..NicSpec::default()
            })
            .collect(),
        ..MachineSpec::default()
    })
}

/// A pod's number.
pub fn number(uid: &str) -> usize {
    uid.trim_start_matches("pod-").parse().unwrap()
}

/// Who a pod is.
pub fn charge(pod: usize) -> Charge {
    Charge {
        name: format!("n/pod-{pod}").into(),
        ..Charge::default()
    }
}

fn object(pod: usize) -> Pod {
    let reclaimed = |amount: &str| {
        let requests = json!({
            "resource.katalyst.kubewharf.io/reclaimed_millicpu": amount,
            "resource.katalyst.kubewharf.io/reclaimed_memory": amount,
        });
        (
            json!({"katalyst.kubewharf.io/qos_level": "reclaimed_cores"}),
            requests,
        )
    };
    let gpu = |milli: &str, nics: &str| {
        let requests = json!({
            "resource.katalyst.kubewharf.io/milligpu": milli,
            "resource.katalyst.kubewharf.io/rdma_nic": nics,
        });
        (json!({}), requests)
    };
    let (annotations, requests): (Value, Value) = match pod % KINDS {
        0 => reclaimed("2000"),
        1 => reclaimed("4000"),
        2 => gpu("600", "0"),
        3 => gpu("500", "0"),
        4 => gpu("1000", "1"),
        5 => gpu("2000", "0"),
        6 => (
            json!({
                "katalyst.kubewharf.io/qos_level": "dedicated_cores",
                "katalyst.kubewharf.io/memory_enhancement": r#"{"numa_binding":"true","numa_exclusive":"true"}"#,
            }),
            json!({"cpu": "4", "memory": "4Gi"}),
        ),
        _ => (
            json!({
                "katalyst.kubewharf.io/qos_level": "dedicated_cores",
                "katalyst.kubewharf.io/memory_enhancement": r#"{"numa_binding":"true"}"#,
            }),
            json!({"cpu": "5", "memory": "5Gi"}),
        ),
    };
    serde_json::from_value(json!({
        "metadata": {"name": format!("pod-{pod}"), "namespace": "n", "uid": format!("pod-{pod}"), "annotations": annotations},
        "spec": {"containers": [{"name": "c", "resources": {"requests": requests, "limits": requests}}]},
    }))
    .unwrap()
}

/// Every pod, as object and as request.
pub fn templates() -> Arc<Vec<(Pod, PodRequest)>> {
    static ALL: OnceLock<Arc<Vec<(Pod, PodRequest)>>> = OnceLock::new();
    let make = || {
        let pods = (0..PODS).map(object);
        let both = pods.map(|pod| {
            let request = PodRequest::from_pod(&pod).unwrap();
            (pod, request)
        });
        Arc::new(both.collect())
    };
    ALL.get_or_init(make).clone()
}
