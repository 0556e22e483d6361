//! What a pod asks of CPUs, memory nodes and devices, as the pools and the runtime's hook need it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use katalyst_core::{
    qos::{CpuWishes, NumaSet, PodQos},
    units::{Bytes, Millicpu},
};
use katalyst_crds::{devices::DeviceAllocation, translate};

/// What a pod asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Asks {
    /// Requests of `cpu`.
    pub cpu_request: Millicpu,
    /// Limits of `cpu`; `None` where a container has none.
    pub cpu_limit: Option<Millicpu>,
    /// Requests of `memory`.
    pub memory_request: Bytes,
    /// Wishes about CPUs.
    pub wishes: CpuWishes,
    /// Stay within NUMA nodes.
    pub numa_binding: bool,
    /// Share these nodes with nobody.
    pub numa_exclusive: bool,
    /// NUMA nodes that the scheduler chose.
    pub numa_bind_result: Option<NumaSet>,
    /// How many cores its weight stands for, where it says so.
    pub weight_demand_cores: Option<f64>,
    /// Containers that run before the others and end; those that go on beside them are not among them.
    pub init_containers: BTreeSet<String>,
    /// Devices that the scheduler chose.
    pub devices: Option<DeviceAllocation>,
    /// When the object was made.
    pub created: Option<Timestamp>,
}

impl Asks {
    /// Reads a pod; what means nothing is added to `problems`.
    pub fn from_pod(pod: &Pod, qos: &PodQos, problems: &mut Vec<String>) -> Self {
        let (compute, errors) = translate::compute(pod);
        problems.extend(errors.iter().map(|error| crate::chain(error)));
        let none = BTreeMap::new();
        let annotations = pod.metadata.annotations.as_ref().unwrap_or(&none);
        Self {
            cpu_request: compute.cpu_request,
            cpu_limit: compute.cpu_limit,
            memory_request: compute.memory_request,
            init_containers: (pod.spec.iter())
                .flat_map(|spec| spec.init_containers.iter().flatten())
                .filter(|container| container.restart_policy.as_deref() != Some("Always"))
                .map(|container| container.name.clone())
                .collect(),
            created: pod
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|created| created.0),
            ..Self::from_annotations(annotations, qos, problems)
        }
    }

    /// What annotations alone say: all that the runtime knows of a pod.
    pub fn from_annotations(
        annotations: &BTreeMap<String, String>,
        qos: &PodQos,
        problems: &mut Vec<String>,
    ) -> Self {
        let devices = DeviceAllocation::parse(annotations).unwrap_or_else(|error| {
            problems.push(crate::chain(&error));
            None
        });
        Self {
            wishes: qos.cpu.clone(),
            numa_binding: qos.memory.numa_binding,
            numa_exclusive: qos.memory.numa_exclusive,
            numa_bind_result: qos.direct.numa_bind_result.clone(),
            weight_demand_cores: qos.direct.cpu_weight_demand_cores,
            devices,
            ..Self::default()
        }
    }
}
