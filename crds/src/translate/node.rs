//! What a CNR says, as the values that placement and capacity estimation work on.

use jiff::Timestamp;
use katalyst_core::capacity::{Observation, Published};
use katalyst_core::placement::ReclaimedNode;
use katalyst_core::reclaimed::Reclaimed;
use thiserror::Error;

use super::amount::{AmountError, read_cpu_and_memory, read_reclaimed};
use crate::constants::{condition, resource};
use crate::node::{CustomNodeResource, ReclaimExplanation, ResourceList};

/// A part of a CNR that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NodeError {
    /// An amount is malformed.
    #[error("customnoderesource {name}: {field}, {source}")]
    Amount {
        /// Name of the CNR.
        name: String,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: AmountError,
    },
    /// A report lacks a part without which it says nothing.
    #[error("customnoderesource {name}: the report has no {field}")]
    Missing {
        /// Name of the CNR.
        name: String,
        /// The field.
        field: &'static str,
    },
}

/// The node as placement sees it, with `allocated` as the caller counts it. The node is fresh while the agent has
/// reported at all and the condition `AgentReady` is `True`.
pub fn reclaimed_node(
    cnr: &CustomNodeResource,
    allocated: Reclaimed,
) -> Result<ReclaimedNode, NodeError> {
    let status = cnr.status.as_ref();
    let allocatable = status
        .and_then(|s| s.resources.as_ref())
        .and_then(|r| r.allocatable.as_ref());
    let reported = status.is_some_and(|s| s.node_metric_status.is_some());
    let ready = cnr
        .condition(condition::AGENT_READY)
        .is_some_and(|c| c.status == condition::TRUE);
    Ok(ReclaimedNode {
        allocatable: amounts(
            cnr,
            "status.resources.allocatable",
            allocatable,
            read_reclaimed,
        )?,
        allocated,
        fresh: reported && ready,
    })
}

/// What the agent's last report says about the node at `now`; `None` where it never reported.
pub fn observation(
    cnr: &CustomNodeResource,
    allocated: Reclaimed,
    now: Timestamp,
) -> Result<Option<Observation>, NodeError> {
    let Some(report) = cnr
        .status
        .as_ref()
        .and_then(|s| s.node_metric_status.as_ref())
    else {
        return Ok(None);
    };
    let missing = |field| NodeError::Missing {
        name: name(cnr),
        field,
    };
    let updated = report
        .update_time
        .as_ref()
        .ok_or_else(|| missing("updateTime"))?;
    let capacity = report
        .capacity
        .as_ref()
        .ok_or_else(|| missing("capacity"))?;
    let peak = report
        .service_peak
        .as_ref()
        .and_then(|peak| peak.usage.as_ref())
        .ok_or_else(|| missing("servicePeak.usage"))?;
    Ok(Some(Observation {
        capacity: amounts(
            cnr,
            "status.nodeMetricStatus.capacity",
            Some(capacity),
            read_cpu_and_memory,
        )?,
        service_peak: amounts(
            cnr,
            "status.nodeMetricStatus.servicePeak.usage",
            Some(peak),
            read_cpu_and_memory,
        )?,
        allocated,
        age_seconds: now.duration_since(updated.0).as_secs_f64(),
    }))
}

/// The offer that stands in the CNR, with its time in seconds since 1970; `None` where none was computed.
pub fn published(cnr: &CustomNodeResource) -> Result<Option<Published>, NodeError> {
    let Some(reclaim) = cnr.status.as_ref().and_then(|s| s.reclaim.as_ref()) else {
        return Ok(None);
    };
    let (Some(cpu), Some(memory), Some(at)) = (
        offered(reclaim.cpu.as_ref(), resource::CPU),
        offered(reclaim.memory.as_ref(), resource::MEMORY),
        reclaim.computed_time.as_ref(),
    ) else {
        return Ok(None);
    };
    let both: ResourceList = [cpu, memory].into_iter().collect();
    Ok(Some(Published {
        offer: amounts(
            cnr,
            "status.reclaim (offered)",
            Some(&both),
            read_cpu_and_memory,
        )?,
        at_seconds: at.0.as_duration().as_secs_f64(),
    }))
}

fn offered(
    explanation: Option<&ReclaimExplanation>,
    name: &str,
) -> Option<(
    String,
    k8s_openapi::apimachinery::pkg::api::resource::Quantity,
)> {
    Some((name.to_owned(), explanation?.offered.clone()?))
}

fn amounts(
    cnr: &CustomNodeResource,
    field: &'static str,
    list: Option<&ResourceList>,
    read: impl FnOnce(&ResourceList) -> Result<Reclaimed, AmountError>,
) -> Result<Reclaimed, NodeError> {
    list.map_or(Ok(Reclaimed::ZERO), read)
        .map_err(|source| NodeError::Amount {
            name: name(cnr),
            field,
            source,
        })
}

fn name(cnr: &CustomNodeResource) -> String {
    cnr.metadata.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn cnr(status: &Value) -> CustomNodeResource {
        let object = json!({
            "apiVersion": "node.katalyst.kubewharf.io/v1alpha1",
            "kind": "CustomNodeResource",
            "metadata": { "name": "node-1" },
            "spec": {},
            "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn offering(millicpu: &str, ready: &str, reported: bool) -> CustomNodeResource {
        let mut status = json!({
            "resources": { "allocatable": {
                "resource.katalyst.kubewharf.io/reclaimed_millicpu": millicpu,
                "resource.katalyst.kubewharf.io/reclaimed_memory": "1Gi",
            } },
            "conditions": [{ "type": "AgentReady", "status": ready }],
        });
        if reported {
            status["nodeMetricStatus"] = json!({ "updateTime": "2026-01-01T00:00:00Z" });
        }
        cnr(&status)
    }

    #[rstest]
    #[case("True", true, true)]
    #[case("False", true, false)]
    #[case("Unknown", true, false)]
    #[case("True", false, false)]
    fn a_node_is_fresh_when_it_reported_and_is_ready(
        #[case] ready: &str,
        #[case] reported: bool,
        #[case] fresh: bool,
    ) {
        let allocated = Reclaimed::new(1, 2);
        assert_eq!(
            reclaimed_node(&offering("4k", ready, reported), allocated),
            Ok(ReclaimedNode {
                allocatable: Reclaimed::new(4000, 1 << 30),
                allocated,
                fresh,
            })
        );
    }

    #[test]
    fn an_empty_object_offers_nothing_and_is_not_fresh() {
        let node = reclaimed_node(&CustomNodeResource::default(), Reclaimed::ZERO).unwrap();
        assert_eq!(node, ReclaimedNode::default());
    }

    #[test]
    fn a_malformed_amount_names_node_field_and_value() {
        let text = reclaimed_node(&offering("lots", "True", true), Reclaimed::ZERO)
            .unwrap_err()
            .to_string();
        for part in [
            "node-1",
            "status.resources.allocatable",
            "reclaimed_millicpu",
            "lots",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    fn report() -> Value {
        json!({ "nodeMetricStatus": {
            "updateTime": "2026-01-01T00:00:00Z",
            "capacity": { "cpu": "4", "memory": "8Gi" },
            "servicePeak": { "usage": { "cpu": "700m", "memory": "1Gi" } },
        } })
    }

    #[test]
    fn a_report_is_an_observation_with_its_age() {
        let now = "2026-01-01T00:00:07.5Z".parse().unwrap();
        let allocated = Reclaimed::new(500, 0);
        assert_eq!(
            observation(&cnr(&report()), allocated, now),
            Ok(Some(Observation {
                capacity: Reclaimed::new(4000, 8 << 30),
                service_peak: Reclaimed::new(700, 1 << 30),
                allocated,
                age_seconds: 7.5,
            }))
        );
        assert_eq!(observation(&cnr(&json!({})), allocated, now), Ok(None));
    }

    #[rstest]
    #[case("/nodeMetricStatus/updateTime", "updateTime")]
    #[case("/nodeMetricStatus/capacity", "capacity")]
    #[case("/nodeMetricStatus/servicePeak", "servicePeak.usage")]
    fn a_report_without_a_part_is_an_error(#[case] path: &str, #[case] field: &'static str) {
        let mut status = report();
        *status.pointer_mut(path).unwrap() = Value::Null;
        assert_eq!(
            observation(&cnr(&status), Reclaimed::ZERO, Timestamp::UNIX_EPOCH),
            Err(NodeError::Missing {
                name: "node-1".to_owned(),
                field
            })
        );
    }

    #[test]
    fn the_standing_offer_is_read_back() {
        let status = json!({ "reclaim": {
            "computedTime": "1970-01-01T00:01:00Z",
            "cpu": { "offered": "2500m" },
            "memory": { "offered": "1Gi" },
        } });
        assert_eq!(
            published(&cnr(&status)),
            Ok(Some(Published {
                offer: Reclaimed::new(2500, 1 << 30),
                at_seconds: 60.0
            }))
        );
        assert_eq!(published(&cnr(&json!({ "reclaim": {} }))), Ok(None));
        assert_eq!(published(&cnr(&json!({}))), Ok(None));
    }
}
