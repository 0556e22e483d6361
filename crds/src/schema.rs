//! The custom resource definitions as they are installed.
//!
//! The derive writes most of a schema from the Rust types. What it cannot know is added here, in one
//! walk over the finished schema:
//!
//! - Quantities get a pattern and a bounded length. The bound matters: the API server estimates the cost of a
//!   rule from the longest text a field may hold, and refuses a definition whose rules could cost too much.
//! - Lists of resources get a bounded number of entries, for the same reason.
//! - `nullable` goes away, so a rule need not think of a field that is set to nothing. Times keep it: no rule reads
//!   them, and Kubernetes' own Go types write an absent time as `null`.
//! - `spec` is defaulted to an empty object where nothing in it is required, so an object without one is accepted and
//!   can be read.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::node::CustomNodeResource;
use crate::workload::ServiceProfileDescriptor;

/// Longest text of a quantity. The longest that Kubernetes itself writes has 24 characters.
pub const MAX_QUANTITY_LENGTH: u64 = 32;
/// Most entries in a list of resources.
pub const MAX_RESOURCES: u64 = 64;

/// Kubernetes' own pattern of a quantity.
const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// A definition that could not be finished: the derive wrote a schema of an unexpected shape.
#[derive(Debug, Error)]
#[error("definition of {kind}: {source}")]
pub struct SchemaError {
    kind: String,
    source: serde_json::Error,
}

/// Every definition this crate owns, in the order of their names.
pub fn definitions() -> Result<Vec<CustomResourceDefinition>, SchemaError> {
    Ok(vec![
        finish(&CustomNodeResource::crd())?,
        finish(&ServiceProfileDescriptor::crd())?,
    ])
}

fn finish(derived: &CustomResourceDefinition) -> Result<CustomResourceDefinition, SchemaError> {
    let named = |source| SchemaError {
        kind: derived.spec.names.kind.clone(),
        source,
    };
    let mut value = serde_json::to_value(derived).map_err(named)?;
    let versions = value
        .pointer_mut("/spec/versions")
        .and_then(Value::as_array_mut);
    for version in versions.into_iter().flatten() {
        if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema") {
            complete(schema);
            default_spec(schema);
        }
    }
    serde_json::from_value(value).map_err(named)
}

/// Completes one node of the schema and all below it.
fn complete(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else {
        return;
    };
    if node.get("format") != Some(&Value::from("date-time")) {
        node.remove("nullable");
    }
    if is_quantity(node) {
        *node = quantity(node.get("description").cloned());
        return;
    }
    if let Some(properties) = node.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(complete);
    }
    if let Some(items) = node.get_mut("items") {
        complete(items);
    }
    if let Some(values) = node.get_mut("additionalProperties") {
        complete(values);
        if values.as_object().is_some_and(is_quantity) {
            node.insert("maxProperties".to_owned(), MAX_RESOURCES.into());
        }
    }
}

fn is_quantity(node: &Map<String, Value>) -> bool {
    node.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true))
}

/// The schema of a quantity, keeping the field's own description.
fn quantity(description: Option<Value>) -> Map<String, Value> {
    let mut node = Map::new();
    // The type's own description is an essay on the notation; a field's is one line.
    if let Some(Value::String(text)) = description
        && !text.starts_with("Quantity is ")
    {
        node.insert("description".to_owned(), Value::String(text));
    }
    node.insert(
        "anyOf".to_owned(),
        json!([{ "type": "integer" }, { "type": "string" }]),
    );
    node.insert("pattern".to_owned(), QUANTITY_PATTERN.into());
    node.insert("maxLength".to_owned(), MAX_QUANTITY_LENGTH.into());
    node.insert("x-kubernetes-int-or-string".to_owned(), true.into());
    node
}

fn default_spec(schema: &mut Value) {
    if let Some(spec) = schema
        .pointer_mut("/properties/spec")
        .and_then(Value::as_object_mut)
        && !spec.contains_key("required")
    {
        spec.insert("default".to_owned(), json!({}));
    }
}
