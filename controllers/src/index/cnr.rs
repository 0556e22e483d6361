//! What the controllers keep of a CNR.
//!
//! A CNR is watched as plain JSON and read piece by piece, because people can write anything into it that the schema lets pass.
//! A piece that can't be read costs only itself: an unreadable report makes the node's report *malformed*, and the part that the
//! capacity controller owns is not interpreted at all here, only kept, so that a difference to what we wrote shows and is repaired.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_crds::constants::{field_manager, resource};
use katalyst_crds::node::{NodeMetricStatus, ResourceList};
use katalyst_crds::translate::read_cpu_and_memory;
use kube::api::DynamicObject;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The fields of a CNR's status that the capacity controller owns.
const OURS: [&str; 3] = ["resources", "reclaim", "conditions"];

/// The parts of a CNR that decisions rest on.
#[derive(Debug, Clone, PartialEq)]
pub struct CnrFacts {
    /// `metadata.name`, the node's name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion` where it is a number, as it is on every API server since 1.35 promises to compare them.
    pub resource_version: Option<u64>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Keys of the labels that we applied, from `metadata.managedFields`.
    pub applied_labels: BTreeSet<String>,
    /// `metadata.ownerReferences`.
    pub owners: Vec<Owner>,
    /// True once the CNR is being deleted.
    pub terminating: bool,
    /// What the node's agent reported.
    pub report: Report,
    /// `status.resources`, `status.reclaim` and `status.conditions` as they stand, whoever wrote them.
    pub ours: Value,
}

/// One owner reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner.
    pub name: String,
    /// UID of the owner.
    pub uid: String,
}

/// What is known of the agent's report, `status.nodeMetricStatus`.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// There is none.
    Missing,
    /// There is one, but it can't be read. The text names field and value.
    Malformed(String),
    /// It was read.
    Seen(Measured),
}

/// An agent's report, in the units of decisions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// `updateTime`, on the node's clock.
    pub updated: Timestamp,
    /// The machine.
    pub capacity: Reclaimed,
    /// Highest use by everything but reclaimed pods within the agent's window.
    pub service_peak: Reclaimed,
}

impl CnrFacts {
    /// Reads a CNR; `None` for an object without a name, which the API server never sends.
    pub fn read(object: DynamicObject) -> Option<Self> {
        let DynamicObject { metadata, data, .. } = object;
        let mut status = match data {
            Value::Object(mut data) => data.remove("status").unwrap_or_default(),
            _ => Value::Null,
        };
        let owner =
            |reference: k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| Owner {
                kind: reference.kind,
                name: reference.name,
                uid: reference.uid,
            };
        Some(Self {
            name: metadata.name?,
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata
                .resource_version
                .and_then(|version| version.parse().ok()),
            labels: metadata.labels.unwrap_or_default(),
            applied_labels: applied_labels(metadata.managed_fields.as_deref().unwrap_or_default()),
            owners: metadata
                .owner_references
                .unwrap_or_default()
                .into_iter()
                .map(owner)
                .collect(),
            terminating: metadata.deletion_timestamp.is_some(),
            report: read_report(status.get("nodeMetricStatus")),
            ours: take_ours(&mut status),
        })
    }
}

fn take_ours(status: &mut Value) -> Value {
    let mut ours = Map::new();
    if let Value::Object(status) = status {
        for field in OURS {
            if let Some(value) = status.remove(field) {
                ours.insert(field.to_owned(), value);
            }
        }
    }
    Value::Object(ours)
}

fn read_report(report: Option<&Value>) -> Report {
    match report {
        None | Some(Value::Null) => Report::Missing,
        Some(Value::Object(fields)) if fields.is_empty() => Report::Missing,
        Some(report) => match measured(report) {
            Ok(measured) => Report::Seen(measured),
            Err(error) => Report::Malformed(error),
        },
    }
}

fn measured(report: &Value) -> Result<Measured, String> {
    let report = NodeMetricStatus::deserialize(report)
        .map_err(|error| format!("status.nodeMetricStatus: {error}"))?;
    let missing = |field: &str| format!("status.nodeMetricStatus.{field} is missing");
    let Time(updated) = report.update_time.ok_or_else(|| missing("updateTime"))?;
    let capacity = report.capacity.ok_or_else(|| missing("capacity"))?;
    let peak = report
        .service_peak
        .and_then(|peak| peak.usage)
        .ok_or_else(|| missing("servicePeak.usage"))?;
    Ok(Measured {
        updated,
        capacity: amounts(&capacity, "capacity")?,
        service_peak: amounts(&peak, "servicePeak.usage")?,
    })
}

/// Both amounts of `list`. One that is absent is an error: a peak of zero would be an offer of everything.
fn amounts(list: &ResourceList, field: &str) -> Result<Reclaimed, String> {
    let field = format!("status.nodeMetricStatus.{field}");
    for name in [resource::CPU, resource::MEMORY] {
        if !list.contains_key(name) {
            return Err(format!("{field}.{name} is missing"));
        }
    }
    read_cpu_and_memory(list).map_err(|error| format!("{field}.{error}"))
}

/// The label keys that our applies of the object own.
fn applied_labels(entries: &[ManagedFieldsEntry]) -> BTreeSet<String> {
    entries
        .iter()
        .filter(|entry| entry.manager.as_deref() == Some(field_manager::CAPACITY_CONTROLLER))
        .filter(|entry| entry.operation.as_deref() == Some("Apply") && entry.subresource.is_none())
        .filter_map(|entry| {
            entry
                .fields_v1
                .as_ref()?
                .0
                .pointer("/f:metadata/f:labels")?
                .as_object()
        })
        .flat_map(Map::keys)
        .filter_map(|key| key.strip_prefix("f:"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(status: &Value) -> CnrFacts {
        let object = json!({
            "apiVersion": "node.katalyst.kubewharf.io/v1alpha1",
            "kind": "CustomNodeResource",
            "metadata": {
                "name": "n1", "uid": "u", "resourceVersion": "42",
                "managedFields": [
                    {"manager": "katalyst-capacity-controller", "operation": "Apply", "fieldsType": "FieldsV1",
                     "fieldsV1": {"f:metadata": {"f:labels": {"f:zone": {}, ".": {}}}}},
                    {"manager": "katalyst-capacity-controller", "operation": "Apply", "subresource": "status",
                     "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:labels": {"f:no": {}}}}},
                    {"manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1",
                     "fieldsV1": {"f:metadata": {"f:labels": {"f:theirs": {}}}}},
                ],
            },
            "status": status,
        });
        CnrFacts::read(serde_json::from_value(object).unwrap()).unwrap()
    }

    fn report(cpu: &Value) -> Value {
        json!({"nodeMetricStatus": {
            "updateTime": "2026-11-24T05:00:00Z",
            "capacity": {"cpu": "4", "memory": "8Gi"},
            "servicePeak": {"windowSeconds": 300, "usage": {"cpu": cpu, "memory": "2Gi"}},
        }})
    }

    #[test]
    fn a_report_is_read_in_the_units_of_decisions() {
        let facts = read(&report(&json!("1500m")));
        let Report::Seen(measured) = facts.report else {
            panic!("{:?}", facts.report)
        };
        assert_eq!(measured.capacity, Reclaimed::new(4000, 8 << 30));
        assert_eq!(measured.service_peak, Reclaimed::new(1500, 2 << 30));
        assert_eq!(measured.updated.to_string(), "2026-11-24T05:00:00Z");
        assert_eq!(facts.resource_version, Some(42));
    }

    #[test]
    fn only_labels_of_our_own_applies_count_as_ours() {
        assert_eq!(
            read(&json!({})).applied_labels,
            BTreeSet::from(["zone".to_owned()])
        );
    }

    #[test]
    fn nonsense_in_a_report_names_its_field_and_value() {
        let Report::Malformed(error) = read(&report(&json!("many"))).report else {
            panic!()
        };
        assert!(
            error.contains("servicePeak.usage.cpu") && error.contains("many"),
            "{error}"
        );
        let Report::Malformed(error) =
            read(&json!({"nodeMetricStatus": {"updateTime": "noon"}})).report
        else {
            panic!()
        };
        assert!(error.contains("status.nodeMetricStatus"), "{error}");
        let Report::Malformed(error) = read(&json!({"nodeMetricStatus": "x"})).report else {
            panic!()
        };
        assert!(error.contains("status.nodeMetricStatus"), "{error}");
    }

    #[test]
    fn nonsense_elsewhere_does_not_touch_the_report() {
        let mut status = report(&json!("1"));
        status["resources"] = json!("banana");
        status["topologyZone"] = json!(17);
        status["conditions"] = json!([{"type": 3}]);
        let facts = read(&status);
        assert!(
            matches!(facts.report, Report::Seen(_)),
            "{:?}",
            facts.report
        );
        assert_eq!(facts.ours["resources"], json!("banana"));
    }

    #[test]
    fn no_report_is_missing_whatever_else_is_wrong() {
        for status in [
            json!({}),
            json!(null),
            json!({"nodeMetricStatus": {}}),
            json!([]),
        ] {
            assert_eq!(read(&status).report, Report::Missing);
        }
    }
}
