//! What the node agent measured.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::resources::ResourceList;
use crate::rules::list_not_negative;

/// The agent's report; all of it is written by the node agent.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new(list_not_negative("reclaimedCeiling"))
        .message("the ceiling of reclaimed pods must not be negative"),
    validation = Rule::new(list_not_negative("capacity"))
        .message("a capacity must not be negative")
)]
#[serde(rename_all = "camelCase")]
pub struct NodeMetricStatus {
    /// When the report was made. A report is old after a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub update_time: Option<Time>,
    /// Usage of the whole machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_metric: Option<NodeMetric>,
    /// Usage of the pods of each quality-of-service level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["QoSLevel".into()]))]
    pub group_metric: Vec<GroupMetric>,
    /// Additive. The highest usage by everything but reclaimed pods, over a window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_peak: Option<ServicePeak>,
    /// Additive. What reclaimed pods together may use now (`cpu`, `memory`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaimed_ceiling: Option<ResourceList>,
    /// Additive. The machine as the agent measured it (`cpu`, `memory`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<ResourceList>,
    /// Additive. The agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentReport>,
}

/// CPU in cores and memory in bytes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ResourceMetric {
    /// CPU, in cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

/// Usage of the machine, in total and for each NUMA node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeMetric {
    /// Usage of each NUMA node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["numaId".into()]))]
    pub numa_usage: Vec<NumaMetric>,
    /// Usage in total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generic_usage: Option<ResourceMetric>,
}

/// Usage of one NUMA node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NumaMetric {
    /// Number of the NUMA node.
    #[schemars(range(min = 0))]
    pub numa_id: i64,
    /// Its usage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(required)]
    pub usage: Option<ResourceMetric>,
}

/// Usage of the pods of one quality-of-service level.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GroupMetric {
    /// The level; Katalyst spells the key `QoSLevel`.
    #[serde(rename = "QoSLevel")]
    #[schemars(extend("enum" = ["reclaimed_cores", "shared_cores", "dedicated_cores", "system_cores"]))]
    pub qos_level: String,
    /// Usage in each NUMA node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["numaId".into()]))]
    pub numa_usage: Vec<NumaMetric>,
    /// Usage in total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generic_usage: Option<ResourceMetric>,
    /// The pods counted, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096))]
    pub pod_list: Vec<String>,
}

/// The highest usage of the machine minus that of reclaimed pods, over a window.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new("!has(self.filledSeconds) || !has(self.windowSeconds) || self.filledSeconds <= self.windowSeconds")
        .message("filledSeconds must not exceed windowSeconds"),
    validation = Rule::new(list_not_negative("usage"))
        .message("a usage must not be negative")
)]
#[serde(rename_all = "camelCase")]
pub struct ServicePeak {
    /// Length of the window, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub window_seconds: Option<i64>,
    /// How much of the window has been measured, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub filled_seconds: Option<i64>,
    /// How many samples the window holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub samples: Option<i64>,
    /// The peak (`cpu`, `memory`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<ResourceList>,
}

/// The agent that made the report.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AgentReport {
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub version: Option<String>,
    /// When it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// The cgroup version it works with: `v1` or `v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["v1", "v2"]))]
    pub cgroup: Option<String>,
    /// What is switched off on this machine, and why: for instance `no PSI`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub notices: Vec<String>,
}
