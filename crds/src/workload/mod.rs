//! `ServiceProfileDescriptor` (SPD): what a service needs and how it is doing.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::node::ResourceList;

/// What the service's owner wishes.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "workload.katalyst.kubewharf.io",
    version = "v1alpha1",
    kind = "ServiceProfileDescriptor",
    plural = "serviceprofiledescriptors",
    shortname = "spd",
    shortname = "serviceprofile",
    category = "katalyst",
    namespaced,
    status = "ServiceProfileDescriptorStatus",
    printcolumn(
        name = "Kind",
        type_ = "string",
        json_path = ".spec.targetRef.kind",
        description = "Kind of the workload"
    ),
    printcolumn(
        name = "Workload",
        type_ = "string",
        json_path = ".spec.targetRef.name",
        description = "Name of the workload"
    ),
    printcolumn(
        name = "Baseline",
        type_ = "integer",
        json_path = ".spec.baselinePercent",
        description = "Percent of the pods that run without tuning"
    ),
    printcolumn(
        name = "Indicators",
        type_ = "string",
        json_path = ".spec.businessIndicator[*].name",
        description = "Business indicators with targets"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "When the object was created"
    ),
    derive = "Default",
    derive = "PartialEq",
    doc = "ServiceProfileDescriptor says what a service needs and how it is doing."
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceProfileDescriptorSpec {
    /// The workload the profile is for; one profile for each workload.
    pub target_ref: TargetRef,
    /// Percent of the pods that run without tuning, as a control group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub baseline_percent: Option<i32>,
    /// Wishes of modules beyond the two lists below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub extended_indicator: Vec<ExtendedIndicator>,
    /// Targets in the service's own terms, for instance `RPCLatency`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub business_indicator: Vec<NamedIndicator>,
    /// Targets in the machine's terms, for instance `cpu_sched_wait`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub system_indicator: Vec<NamedIndicator>,
}

/// A workload by kind and name, in the profile's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// Kind, for instance `Deployment`.
    #[schemars(length(min = 1, max = 253))]
    pub kind: String,
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// API version, for instance `apps/v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub api_version: Option<String>,
}

/// The wishes of one module, in the module's own shape.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExtendedIndicator {
    /// Name of the module; the payload's kind is this name followed by `Indicators`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Percent of the pods this module leaves alone, as a control group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub baseline_percent: Option<i32>,
    /// The payload, of any shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub indicators: Option<serde_json::Value>,
}

/// A quantity to hold within bounds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NamedIndicator {
    /// Name of the quantity.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its bounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["indicatorLevel".into()]),
        validation = Rule::new("self.all(l, l.indicatorLevel != 'LowerBound' || self.all(u, u.indicatorLevel != 'UpperBound' || l.value <= u.value))")
            .message("LowerBound must not exceed UpperBound")
    )]
    pub indicators: Vec<IndicatorBound>,
}

/// One bound of a quantity.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IndicatorBound {
    /// Below `LowerBound` all is well; above `UpperBound` the service is broken.
    #[schemars(extend("enum" = ["LowerBound", "UpperBound"]))]
    pub indicator_level: String,
    /// The bound, in the quantity's own unit.
    pub value: f32,
}

/// What was observed of the service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceProfileDescriptorStatus {
    /// Metrics of the service's pods, aggregated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub agg_metrics: Vec<AggregatedMetrics>,
    /// Business indicators as observed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub business_status: Vec<BusinessStatus>,
}

/// Metrics aggregated one way by one producer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AggregatedMetrics {
    /// How the items were aggregated.
    #[schemars(extend("enum" = ["avg", "max", "sum"]))]
    pub aggregator: String,
    /// The producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub scope: Option<String>,
    /// The values, one item for each interval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub items: Vec<PodMetrics>,
}

/// Metrics of a typical pod in one interval.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodMetrics {
    /// Facts about the item.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// End of the interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Time>,
    /// Length of the interval as Kubernetes writes durations, for instance `1m0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub window: Option<String>,
    /// Values for each container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub containers: Vec<ContainerMetrics>,
}

/// Metrics of one container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ContainerMetrics {
    /// Name of the container.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its usage.
    #[serde(default)]
    pub usage: ResourceList,
}

/// A business indicator as observed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BusinessStatus {
    /// Name of the indicator.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its value now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<f32>,
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
