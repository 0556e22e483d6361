//! The part of a CNR's status that the capacity controller owns, written and read back.

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use katalyst_core::capacity::LimitedBy;
use katalyst_crds::constants::{condition, resource};
use katalyst_crds::node::{
    CnrCondition, CustomNodeResource, ReclaimExplanation, ReclaimStatus, ResourceList, Resources,
};
use katalyst_crds::translate::{
    AmountError, read_cpu_and_memory, read_reclaimed, reclaim_status, resources,
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
    #[error("status: {0}")]
    Shape(String),
    /// A field is missing.
    #[error("status.{0} is missing")]
    Missing(&'static str),
    /// A quantity is not one.
    #[error("status.{field}, {source}")]
    Amount {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: AmountError,
    },
}

/// The object to apply to the status subresource for a node's `decision`, computed at `now`. `live` is our part of the status as
/// it stands: times at which conditions last changed are taken from it.
pub fn patch(name: &str, decision: &Decision, live: &Value, now: Timestamp) -> Value {
    // The API's times have whole seconds.
    let now = now.round(Unit::Second).unwrap_or(now);
    let estimate = decision.as_written();
    let ours = Ours {
        resources: Some(resources(&estimate.offer, &decision.capacity())),
        reclaim: Some(reclaim_status(&estimate, now, sentence(decision))),
        conditions: conditions(&decision.agent, live, &Time(now)),
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
    let ours = Ours::deserialize(live).map_err(|error| Unreadable::Shape(error.to_string()))?;
    if ours == Ours::default() {
        return Ok(None);
    }
    let missing = |field| move || Unreadable::Missing(field);
    let reclaim = ours.reclaim.ok_or_else(missing("reclaim"))?;
    let cpu = reclaim.cpu.ok_or_else(missing("reclaim.cpu"))?;
    let memory = reclaim.memory.ok_or_else(missing("reclaim.memory"))?;
    let allocatable = ours
        .resources
        .and_then(|resources| resources.allocatable)
        .ok_or_else(missing("resources.allocatable"))?;
    let both = |field, pick: fn(&ReclaimExplanation) -> Option<&Quantity>| {
        let amounts = [
            (resource::CPU, pick(&cpu)),
            (resource::MEMORY, pick(&memory)),
        ];
        let present =
            |(name, amount): (&str, Option<&Quantity>)| Some((name.to_owned(), amount?.clone()));
        read_cpu_and_memory(
            &amounts
                .into_iter()
                .filter_map(present)
                .collect::<ResourceList>(),
        )
        .map_err(|source| Unreadable::Amount { field, source })
    };
    let agent = ours
        .conditions
        .into_iter()
        .find(|condition| condition.type_ == condition::AGENT_READY);
    Ok(Some(Standing {
        offered: read_reclaimed(&allocatable).map_err(|source| Unreadable::Amount {
            field: "resources.allocatable",
            source,
        })?,
        allocated: both("reclaim (allocated)", |explanation| {
            explanation.allocated.as_ref()
        })?,
        capacity: both("reclaim (capacity)", |explanation| {
            explanation.capacity.as_ref()
        })?,
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
