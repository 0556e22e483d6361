//! How the offer of reclaimed resources was found: the numbers a person needs to understand it.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{field_at_most, field_not_negative};

/// Additive. The last decision of the capacity controller for this node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReclaimStatus {
    /// When the decision was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed_time: Option<Time>,
    /// The numbers for CPU, in cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<ReclaimExplanation>,
    /// The numbers for memory, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ReclaimExplanation>,
    /// The decision in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
}

/// The numbers behind the offer of one resource.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new(field_at_most("offered", "capacity"))
        .message("no more can be offered than the machine has"),
    validation = Rule::new(field_not_negative("offered"))
        .message("an offer must not be negative"),
    validation = Rule::new(field_not_negative("allocated"))
        .message("an allocated amount must not be negative"),
    validation = Rule::new(field_not_negative("servicePeak"))
        .message("a usage must not be negative")
)]
#[serde(rename_all = "camelCase")]
pub struct ReclaimExplanation {
    /// What the machine has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Quantity>,
    /// The highest usage by services in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_peak: Option<Quantity>,
    /// What is kept free because the future may exceed the window's peak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<Quantity>,
    /// What is never offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve: Option<Quantity>,
    /// Capacity minus peak, margin and reserve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Quantity>,
    /// What pods on the node have been given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated: Option<Quantity>,
    /// What is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Quantity>,
    /// What determined the offer, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = "^[A-Za-z][A-Za-z0-9]*$"))]
    pub limited_by: Option<String>,
}
