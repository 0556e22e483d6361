//! Which pods hold parts of which zones: from what the scheduler wrote and from the pools' plan.
//!
//! The plan goes before the annotation, because it is what the kernel holds; the annotation stands for a pod that no plan has seen yet. A dedicated pod
//! without NUMA binding holds its CPUs where they are, and no memory: its pages may lie anywhere.

use katalyst_core::{cpu_set::CpuSet, qos::Level, topology::Topology, units::Bytes};

use super::zones::{Consumer, GpuShare};
use crate::{
    pods::{PodIndex, PodInfo},
    pools::PoolsView,
};

/// The pods that hold a part of a zone.
pub(super) fn consumers(pods: &PodIndex, view: &PoolsView, topology: &Topology) -> Vec<Consumer> {
    pods.iter()
        .filter(|pod| !pod.finished)
        .filter_map(|pod| consumer(pod, view, topology))
        .collect()
}

fn consumer(pod: &PodInfo, view: &PoolsView, topology: &Topology) -> Option<Consumer> {
    let asks = &pod.asks;
    let placed = view.pods.get(&pod.uid);
    let planned = placed.and_then(|placed| placed.mems.as_ref());
    let bound = planned
        .map(|nodes| &nodes.0)
        .or(asks.numa_bind_result.as_ref());
    let own_cpus = placed.map_or_else(CpuSet::new, |placed| placed.cpus.clone());
    let dedicated = pod.level == Level::Dedicated && placed.is_some_and(|placed| placed.restricted);
    let (nodes, memory) = match bound {
        Some(nodes) => (nodes.iter().collect(), asks.memory_request),
        None if dedicated => (topology.numa_of(&own_cpus), Bytes::ZERO),
        None => (Vec::new(), Bytes::ZERO),
    };
    let devices = asks.devices.iter().flat_map(|all| all.containers.values());
    let mut gpus = Vec::new();
    let mut cards = Vec::new();
    for container in devices {
        gpus.extend(container.gpus.iter().map(|gpu| GpuShare {
            uuid: gpu.uuid.clone(),
            minor: gpu.index,
            percent: gpu.percent,
            memory_mib: gpu.memory_mib,
        }));
        cards.extend(container.nics.iter().map(|nic| nic.name.clone()));
    }
    cards.sort();
    cards.dedup();
    (!nodes.is_empty() || !gpus.is_empty() || !cards.is_empty()).then(|| Consumer {
        name: format!("{}/{}/{}", pod.namespace, pod.name, pod.object_uid),
        nodes,
        cpu: asks.cpu_request,
        memory,
        own_cpus,
        gpus,
        cards,
    })
}

#[cfg(test)]
mod tests {
    use katalyst_core::{qos::NumaSet, topology::Cpu};

    use super::*;
    use crate::{
        cgroup::PodUid,
        pools::{Nodes, PlacedPod},
    };

    fn pod(name: &str, annotations: &serde_json::Value) -> PodInfo {
        let object = serde_json::json!({
            "metadata": {"name": name, "namespace": "n", "uid": name, "annotations": annotations},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}]},
        });
        PodInfo::from_pod(&serde_json::from_value(object).unwrap()).unwrap()
    }

    fn placed(cpus: &str, mems: Option<&str>) -> PlacedPod {
        PlacedPod {
            name: String::new(),
            pool: "dedicated".to_owned(),
            cpus: CpuSet::parse(cpus).unwrap(),
            mems: mems.map(|nodes| Nodes(NumaSet::parse(nodes).unwrap())),
            reason: None,
            restricted: true,
            in_force: true,
            left_alone: false,
        }
    }

    #[test]
    fn the_plan_goes_before_the_annotation() {
        let dedicated = "katalyst.kubewharf.io/qos_level";
        let result = "katalyst.kubewharf.io/numa_bind_result";
        let pods = PodIndex::from_iter([
            pod("annotated", &serde_json::json!({result: "1"})),
            pod("planned", &serde_json::json!({result: "1"})),
            pod("own", &serde_json::json!({dedicated: "dedicated_cores"})),
            pod("plain", &serde_json::json!({})),
            pod(
                "job",
                &serde_json::json!({"katalyst.kubewharf.io/device_allocation":
                    r#"{"containers": {"c": {"gpus": [{"uuid": "GPU-1", "percent": 50}], "nics": [{"name": "mlx5_0"}]}}}"#}),
            ),
        ]);
        let mut view = PoolsView::default();
        for (uid, place) in [
            ("planned", placed("0-1", Some("0"))),
            ("own", placed("1-2", None)),
            ("plain", placed("0-3", None)),
        ] {
            view.pods.insert(PodUid::new(uid), place);
        }
        let topology = Topology::new(
            (0..4).map(|id| Cpu {
                id,
                core: id,
                l3: 0,
                numa: id / 2,
                socket: 0,
            }),
            [],
        );
        let consumers = consumers(&pods, &view, &topology);
        let by_name: std::collections::BTreeMap<&str, &Consumer> = consumers
            .iter()
            .map(|consumer| (consumer.name.as_str(), consumer))
            .collect();
        assert_eq!(by_name.len(), 4, "a pod that shares holds no zone");
        assert_eq!(by_name["n/annotated/annotated"].nodes, [1]);
        assert_eq!(by_name["n/planned/planned"].nodes, [0]);
        assert_eq!(by_name["n/planned/planned"].memory, Bytes::new(1 << 30));
        let own = by_name["n/own/own"];
        assert_eq!(
            (own.nodes.as_slice(), own.memory),
            ([0, 1].as_slice(), Bytes::ZERO)
        );
        let job = by_name["n/job/job"];
        assert_eq!(job.gpus[0].percent, Some(50));
        assert_eq!(job.cards, ["mlx5_0"]);
    }
}
