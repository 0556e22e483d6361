//! The extender protocol, `k8s.io/kube-scheduler/extender/v1`, as kube-scheduler's Go encoder writes and reads it.
//!
//! Go structs without JSON tags: keys are PascalCase, absent values are explicit nulls, integers must be integers. Pods and
//! nodes inside use the camelCase of core/v1. Only what placement needs is read; names are borrowed from the request.

mod args;
mod pod;
mod quantity;
mod straight;

pub use args::{Candidate, ExtenderArgs, Names};
pub use pod::{
    Amounts, WireContainer, WireMetadata, WirePod, WireResources, WireSpec, WireToleration,
};
pub use quantity::QuantityText;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A string that is borrowed from the request where it holds no escapes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Name<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl AsRef<str> for Name<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Node objects, passed through as they came.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct NodeList<'a> {
    /// One raw object for each node.
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub items: Vec<&'a RawValue>,
}

/// Go writes an empty list as null.
fn null_as_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The answer to filter.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExtenderFilterResult<'a> {
    /// Nodes that may take the pod, where the question held objects.
    pub nodes: Option<NodeList<'a>>,
    /// Nodes that may take the pod, where the question held names. Never null there: kube-scheduler would read it as none at all.
    pub node_names: Option<Vec<&'a str>>,
    /// Nodes that preemption might free, with the reason.
    pub failed_nodes: FailedNodes<'a>,
    /// Nodes that preemption cannot help, with the reason.
    pub failed_and_unresolvable_nodes: FailedNodes<'a>,
    /// Why there is no answer; empty where there is one.
    pub error: String,
}

/// Nodes with reasons, written as a JSON object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FailedNodes<'a>(pub Vec<(&'a str, &'static str)>);

impl Serialize for FailedNodes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// One line of the answer to prioritize.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostPriority<'a> {
    /// The node.
    pub host: &'a str,
    /// 0 to [`MAX_PRIORITY`], higher is better.
    pub score: i64,
}

/// Highest score of the protocol (`MaxExtenderPriority`).
pub const MAX_PRIORITY: u32 = 10;

/// The question of bind.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BindingArgs {
    /// The pod's name.
    pub pod_name: String,
    /// The pod's namespace.
    pub pod_namespace: String,
    /// The pod's UID, a precondition of the binding.
    #[serde(rename = "PodUID")]
    pub pod_uid: String,
    /// The chosen node.
    pub node: String,
}

/// The answer to bind.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct BindingResult {
    /// Why the pod is not bound; empty where it is.
    pub error: String,
}

/// The question of preempt.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PreemptionArgs<'a> {
    /// The pod that needs room.
    #[serde(borrow, default)]
    pub pod: Option<WirePod<'a>>,
    /// Victims as objects, where the scheduler is configured with `nodeCacheCapable: false`.
    #[serde(borrow, default)]
    pub node_name_to_victims: Option<BTreeMap<String, Option<Victims<'a>>>>,
    /// Victims by UID, where it is configured with `nodeCacheCapable: true`.
    #[serde(default)]
    pub node_name_to_meta_victims: Option<BTreeMap<String, Option<MetaVictims>>>,
}

/// Pods that would have to go from a node, as objects.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Victims<'a> {
    /// The pods.
    #[serde(borrow, default, deserialize_with = "null_as_empty")]
    pub pods: Vec<WirePod<'a>>,
    /// How many disruption budgets their removal would break.
    #[serde(default, rename = "NumPDBViolations")]
    pub num_pdb_violations: i64,
}

/// Pods that would have to go from a node, by UID.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MetaVictims {
    /// The pods.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub pods: Vec<MetaPod>,
    /// How many disruption budgets their removal would break.
    #[serde(default, rename = "NumPDBViolations")]
    pub num_pdb_violations: i64,
}

/// A pod by UID.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct MetaPod {
    /// The UID.
    #[serde(rename = "UID")]
    pub uid: String,
}

/// The answer to preempt: always by UID.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PreemptionResult {
    /// Nodes where preemption makes room, each with at least one victim.
    pub node_name_to_meta_victims: BTreeMap<String, MetaVictims>,
}
