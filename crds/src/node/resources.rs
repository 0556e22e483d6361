//! Amounts: of a node, of a zone, of a package of them, of a pool.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{list_at_most, list_not_negative, reclaimed_cpu_is_whole};

/// Amounts by resource name, as Kubernetes writes them.
pub type ResourceList = BTreeMap<String, Quantity>;

/// What a node or zone has and what of it can be given out.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new(list_at_most("allocatable", "capacity"))
        .message("allocatable must not exceed capacity"),
    validation = Rule::new(list_not_negative("allocatable"))
        .message("an allocatable amount must not be negative"),
    validation = Rule::new(list_not_negative("capacity"))
        .message("a capacity must not be negative"),
    validation = Rule::new(reclaimed_cpu_is_whole("allocatable"))
        .message("allocatable reclaimed_millicpu must be a whole number of thousandths"),
    validation = Rule::new(reclaimed_cpu_is_whole("capacity"))
        .message("reclaimed_millicpu of capacity must be a whole number of thousandths")
)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What can be given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocatable: Option<ResourceList>,
    /// What there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<ResourceList>,
    /// Subdivisions of the node or zone into standard shapes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["packageName".into()]))]
    pub resource_packages: Vec<ResourcePackage>,
    /// Reservations of resources for kinds of workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["poolName".into()]))]
    pub resource_pools: Vec<ResourcePool>,
}

/// A standard shape the node or zone is divided into.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ResourcePackage {
    /// Name; `default` and `default-N` stand for what no other package has.
    #[schemars(length(min = 1, max = 253))]
    pub package_name: String,
    /// What can be given out in this shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocatable: Option<ResourceList>,
    /// Facts about the package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub attributes: Vec<Attribute>,
}

/// A reservation for a kind of workload.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new(list_at_most("minAllocatable", "maxAllocatable"))
        .message("minAllocatable must not exceed maxAllocatable")
)]
#[serde(rename_all = "camelCase")]
pub struct ResourcePool {
    /// Name of the pool.
    #[schemars(length(min = 1, max = 253))]
    pub pool_name: String,
    /// What the pool always has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_allocatable: Option<ResourceList>,
    /// What the pool may grow to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_allocatable: Option<ResourceList>,
    /// Facts about the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub attributes: Vec<Attribute>,
}

/// A named fact.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Attribute {
    /// Name of the fact.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096))]
    pub value: String,
}
