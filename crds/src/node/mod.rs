//! `CustomNodeResource` (CNR): what a node offers beyond its `Node` object, and how it is doing.
//!
//! One object for each node, with the node's name and labels, owned by the `Node`. Two writers
//! share its status by server-side apply: the node agent reports (`topologyZone`,
//! `topologyPolicy`, `nodeMetricStatus`), the capacity controller decides (`resources`,
//! `reclaim`, `conditions`). Every field is therefore optional: each writer applies its half.

mod apply;
mod condition;
mod metric;
mod reclaim;
mod resources;
mod topology;

pub use condition::CnrCondition;
pub use metric::{
    AgentReport, GroupMetric, NodeMetric, NodeMetricStatus, NumaMetric, ResourceMetric, ServicePeak,
};
pub use reclaim::{ReclaimExplanation, ReclaimStatus};
pub use resources::{Attribute, ResourceList, ResourcePackage, ResourcePool, Resources};
pub use topology::{Allocation, Sibling, TopologyZone, ZoneChildren};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// What a person or a controller wishes of the node.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "node.katalyst.kubewharf.io",
    version = "v1alpha1",
    kind = "CustomNodeResource",
    plural = "customnoderesources",
    shortname = "kcnr",
    shortname = "cnr",
    category = "katalyst",
    status = "CustomNodeResourceStatus",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"AgentReady\")].status",
        description = "True while the node's agent reports"
    ),
    printcolumn(
        name = "CPU",
        type_ = "string",
        json_path = ".status.nodeMetricStatus.capacity.cpu",
        description = "CPU of the machine, in cores"
    ),
    printcolumn(
        name = "Service-Peak",
        type_ = "string",
        json_path = ".status.nodeMetricStatus.servicePeak.usage.cpu",
        description = "Highest CPU usage by services in the window"
    ),
    printcolumn(
        name = "Offered",
        type_ = "string",
        json_path = ".status.reclaim.cpu.offered",
        description = "CPU offered to reclaimed pods"
    ),
    printcolumn(
        name = "Allocated",
        type_ = "string",
        json_path = ".status.reclaim.cpu.allocated",
        description = "CPU given to reclaimed pods"
    ),
    printcolumn(
        name = "Ceiling",
        type_ = "string",
        json_path = ".status.nodeMetricStatus.reclaimedCeiling.cpu",
        description = "CPU that reclaimed pods together may use now"
    ),
    printcolumn(
        name = "Limited-By",
        type_ = "string",
        json_path = ".status.reclaim.cpu.limitedBy",
        description = "What determined the offer of CPU"
    ),
    printcolumn(
        name = "Memory-Offered",
        type_ = "string",
        json_path = ".status.reclaim.memory.offered",
        description = "Memory offered to reclaimed pods"
    ),
    printcolumn(
        name = "Memory-Allocated",
        type_ = "string",
        json_path = ".status.reclaim.memory.allocated",
        description = "Memory given to reclaimed pods"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "When the object was created"
    ),
    printcolumn(
        name = "Memory",
        type_ = "string",
        json_path = ".status.nodeMetricStatus.capacity.memory",
        description = "Memory of the machine",
        priority = 1
    ),
    printcolumn(
        name = "Memory-Service-Peak",
        type_ = "string",
        json_path = ".status.nodeMetricStatus.servicePeak.usage.memory",
        description = "Highest memory usage by services in the window",
        priority = 1
    ),
    printcolumn(
        name = "Memory-Ceiling",
        type_ = "string",
        json_path = ".status.nodeMetricStatus.reclaimedCeiling.memory",
        description = "Memory that reclaimed pods together may use now",
        priority = 1
    ),
    printcolumn(
        name = "Memory-Limited-By",
        type_ = "string",
        json_path = ".status.reclaim.memory.limitedBy",
        description = "What determined the offer of memory",
        priority = 1
    ),
    printcolumn(
        name = "Reported",
        type_ = "date",
        json_path = ".status.nodeMetricStatus.updateTime",
        description = "When the agent last reported",
        priority = 1
    ),
    printcolumn(
        name = "Agent",
        type_ = "string",
        json_path = ".status.nodeMetricStatus.agent.version",
        description = "Version of the agent",
        priority = 1
    ),
    printcolumn(
        name = "Why",
        type_ = "string",
        json_path = ".status.reclaim.message",
        description = "The last decision in one sentence",
        priority = 1
    ),
    derive = "Default",
    derive = "PartialEq",
    doc = "CustomNodeResource says what a node offers beyond its Node object, and why."
)]
#[serde(rename_all = "camelCase")]
pub struct CustomNodeResourceSpec {
    /// Properties of the node that placement may ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["propertyName".into()]))]
    pub node_resource_properties: Vec<Property>,

    /// Taints that concern pods of one quality-of-service level only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into(), "effect".into(), "qosLevel".into()]))]
    pub taints: Vec<Taint>,
}

/// A property of the node: either a list of values or a quantity.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new("has(self.propertyValues) || has(self.propertyQuantity)")
        .message("a property needs propertyValues or propertyQuantity")
)]
pub struct Property {
    /// Name of the property.
    #[serde(rename = "propertyName")]
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its values.
    #[serde(
        rename = "propertyValues",
        default,
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schemars(length(max = 128))]
    pub values: Vec<String>,
    /// Its amount.
    #[serde(
        rename = "propertyQuantity",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub quantity: Option<Quantity>,
}

/// A taint that concerns pods of one quality-of-service level.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// Key of the taint.
    #[schemars(length(min = 1, max = 316))]
    pub key: String,
    /// Value of the taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// What the taint does to pods that do not tolerate it.
    #[schemars(extend("enum" = ["NoSchedule", "PreferNoSchedule", "NoExecute"]))]
    pub effect: String,
    /// When the taint was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<Time>,
    /// The level of the pods it concerns.
    #[schemars(extend("enum" = ["reclaimed_cores", "shared_cores", "dedicated_cores", "system_cores"]))]
    pub qos_level: String,
}

/// What the node offers, what was measured, and what follows from it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CustomNodeResourceStatus {
    /// What the node offers in total. Written by the capacity controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// The machine as a tree of zones. Written by the node agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into(), "name".into()]))]
    pub topology_zone: Vec<TopologyZone>,

    /// How the kubelet aligns pods with the topology. Written by the node agent.
    /// `none` is how older objects spell `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "None", "enum" = [
        "None", "none",
        "SingleNUMANodeContainerLevel", "SingleNUMANodePodLevel",
        "RestrictedContainerLevel", "RestrictedPodLevel",
        "BestEffortContainerLevel", "BestEffortPodLevel",
        "NumericContainerLevel", "NumericPodLevel"
    ]))]
    pub topology_policy: Option<String>,

    /// What holds and what does not. Written by the capacity controller.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<CnrCondition>,

    /// What the node agent measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_metric_status: Option<NodeMetricStatus>,

    /// How the offer of reclaimed resources was found. Written by the capacity controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaim: Option<ReclaimStatus>,
}

impl CustomNodeResource {
    /// The condition of that type, if it is set.
    pub fn condition(&self, kind: &str) -> Option<&CnrCondition> {
        self.status
            .as_ref()?
            .conditions
            .iter()
            .find(|c| c.type_ == kind)
    }
}
