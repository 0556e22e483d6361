//! The part of a CNR's status that the capacity controller owns, written and read back.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use katalyst_core::capacity::{Explanation, LimitedBy};
use katalyst_core::quantity::{
    QuantityError, format_bytes, format_millicpu, parse_bytes, parse_count, parse_millicpu,
};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_core::units::{Bytes, Millicpu};
use katalyst_crds::constants::{condition, resource};
use katalyst_crds::node::{
    CnrCondition, CustomNodeResource, ReclaimExplanation, ReclaimStatus, ResourceList, Resources,
};
use kube::Resource;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::message::sentence;
use super::{Agent, Decision, Standing};

pub use katalyst_crds::constants::field_manager::CAPACITY_CONTROLLER as FIELD_MANAGER;

/// What we own in a CNR's status. Nothing else is ever in our apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Ours {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resources: Option<Resources>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reclaim: Option<ReclaimStatus>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<CnrCondition>,
}

/// Why what stands in a status can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not of the API's types.
    #[error("{0}")]
    Shape(String),
    /// A field is missing.
    #[error("status.{0} is missing")]
    Missing(&'static str),
    /// A quantity is not one.
    #[error("status.{field}: {error}")]
    Quantity {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        error: QuantityError,
    },
}

/// The object to apply to the status subresource for a node's `decision`, computed at `now`. `live` is our part of the status as it
/// stands: times at which conditions last changed are taken from it.
pub fn patch(name: &str, decision: &Decision, live: &Value, now: Timestamp) -> Value {
    let now = Time(now.round(jiff::Unit::Second).unwrap_or(now));
    let ours = Ours {
        resources: Some(resources(decision)),
        reclaim: Some(reclaim(decision, &now)),
        conditions: conditions(&decision.agent, live, &now),
    };
    json!({
        "apiVersion": CustomNodeResource::api_version(&()),
        "kind": CustomNodeResource::kind(&()),
        "metadata": { "name": name },
        "status": ours,
    })
}

/// What stands in `live`, our part of a CNR's status; `Ok(None)` where nothing was ever written.
pub fn read_standing(live: &Value) -> Result<Option<Standing>, Unreadable> {
    let ours =
        Ours::deserialize(live).map_err(|error| Unreadable::Shape(format!("status: {error}")))?;
    if ours == Ours::default() {
        return Ok(None);
    }
    let reclaim = ours.reclaim.ok_or(Unreadable::Missing("reclaim"))?;
    let cpu = reclaim.cpu.ok_or(Unreadable::Missing("reclaim.cpu"))?;
    let memory = reclaim
        .memory
        .ok_or(Unreadable::Missing("reclaim.memory"))?;
    let allocatable = ours
        .resources
        .and_then(|resources| resources.allocatable)
        .ok_or(Unreadable::Missing("resources.allocatable"))?;
    let count = |name: &str, field| {
        let text = allocatable.get(name).ok_or(Unreadable::Missing(field))?;
        parse_count(&text.0).map_err(|error| Unreadable::Quantity { field, error })
    };
    let agent = ours
        .conditions
        .into_iter()
        .find(|condition| condition.type_ == condition::AGENT_READY);
    Ok(Some(Standing {
        offered: Reclaimed::new(
            count(
                resource::RECLAIMED_MILLICPU,
                "resources.allocatable.reclaimed_millicpu",
            )?,
            count(
                resource::RECLAIMED_MEMORY,
                "resources.allocatable.reclaimed_memory",
            )?,
        ),
        allocated: pair(
            cpu.allocated.as_ref(),
            memory.allocated.as_ref(),
            "reclaim.cpu.allocated",
            "reclaim.memory.allocated",
        )?,
        capacity: pair(
            cpu.capacity.as_ref(),
            memory.capacity.as_ref(),
            "reclaim.cpu.capacity",
            "reclaim.memory.capacity",
        )?,
        limited_by: [
            rule(cpu.limited_by.as_deref()),
            rule(memory.limited_by.as_deref()),
        ],
        agent_reason: agent
            .and_then(|condition| condition.reason)
            .unwrap_or_default(),
        written_at: reclaim
            .computed_time
            .map_or(0.0, |Time(time)| time.as_second() as f64),
    }))
}

fn pair(
    cpu: Option<&Quantity>,
    memory: Option<&Quantity>,
    cpu_field: &'static str,
    memory_field: &'static str,
) -> Result<Reclaimed, Unreadable> {
    let cpu = cpu.ok_or(Unreadable::Missing(cpu_field))?;
    let memory = memory.ok_or(Unreadable::Missing(memory_field))?;
    Ok(Reclaimed {
        cpu: parse_millicpu(&cpu.0).map_err(|error| Unreadable::Quantity {
            field: cpu_field,
            error,
        })?,
        memory: parse_bytes(&memory.0).map_err(|error| Unreadable::Quantity {
            field: memory_field,
            error,
        })?,
    })
}

fn rule(name: Option<&str>) -> Option<LimitedBy> {
    [
        LimitedBy::CapacityMinusPeak,
        LimitedBy::SlopeUp,
        LimitedBy::AllocatedFloor,
        LimitedBy::AtRisk,
        LimitedBy::Stale,
    ]
    .into_iter()
    .find(|rule| Some(rule.as_str()) == name)
}

fn resources(decision: &Decision) -> Resources {
    let estimate = &decision.estimate;
    // Extended resources are whole numbers, so CPU is counted in thousandths and never written with a suffix.
    let list = |cpu: u64, memory: u64| {
        ResourceList::from([
            (
                resource::RECLAIMED_MILLICPU.to_owned(),
                Quantity(cpu.to_string()),
            ),
            (
                resource::RECLAIMED_MEMORY.to_owned(),
                Quantity(format_bytes(Bytes::new(memory))),
            ),
        ])
    };
    Resources {
        allocatable: Some(list(estimate.offer.cpu.get(), estimate.offer.memory.get())),
        capacity: Some(list(estimate.cpu.capacity, estimate.memory.capacity)),
        ..Resources::default()
    }
}

fn reclaim(decision: &Decision, now: &Time) -> ReclaimStatus {
    ReclaimStatus {
        computed_time: Some(now.clone()),
        cpu: Some(explanation(&decision.estimate.cpu, |value| {
            format_millicpu(Millicpu::new(value))
        })),
        memory: Some(explanation(&decision.estimate.memory, |value| {
            format_bytes(Bytes::new(value))
        })),
        message: Some(sentence(decision)),
    }
}

fn explanation(explanation: &Explanation, format: impl Fn(u64) -> String) -> ReclaimExplanation {
    // `previous` has no field in the API: it is the offer of the write before this one.
    let Explanation {
        capacity,
        service_peak,
        margin,
        reserve,
        estimate,
        previous: _,
        allocated,
        offered,
        limited_by,
    } = *explanation;
    let quantity = |value| Some(Quantity(format(value)));
    ReclaimExplanation {
        capacity: quantity(capacity),
        service_peak: quantity(service_peak),
        margin: quantity(margin),
        reserve: quantity(reserve),
        estimate: quantity(estimate),
        allocated: quantity(allocated),
        offered: quantity(offered),
        limited_by: Some(limited_by.as_str().to_owned()),
    }
}

/// Our two conditions. `lastTransitionTime` moves only when the status flips.
fn conditions(agent: &Agent, live: &Value, now: &Time) -> Vec<CnrCondition> {
    let one = |type_: &str, holds: bool| {
        let status = if holds {
            condition::TRUE
        } else {
            condition::FALSE
        };
        let since = live
            .get("conditions")
            .and_then(Value::as_array)
            .and_then(|conditions| {
                let found = conditions
                    .iter()
                    .find(|entry| entry.get("type").and_then(Value::as_str) == Some(type_))?;
                let same = found.get("status").and_then(Value::as_str) == Some(status);
                same.then(|| Time::deserialize(found.get("lastTransitionTime")?).ok())
                    .flatten()
            });
        CnrCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
            reason: Some(agent.reason().to_owned()),
            message: Some(agent.message()),
        }
    };
    vec![
        one(condition::AGENT_READY, agent.is_ready()),
        one(condition::AGENT_NOT_FOUND, *agent == Agent::NeverReported),
    ]
}
