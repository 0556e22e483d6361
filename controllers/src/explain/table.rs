//! From a CNR's status to the text.

use std::fmt::Write;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use katalyst_core::capacity::LimitedBy;
use katalyst_core::quantity::parse_bytes;
use katalyst_crds::constants::condition;
use katalyst_crds::node::{CnrCondition, NodeMetricStatus, ReclaimExplanation, ReclaimStatus};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::capacity::readable;

/// Why a CNR can't be explained.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// The capacity controller has not decided yet.
    #[error("nothing was decided for node {0} yet: status.reclaim is missing")]
    Undecided(String),
    /// A part of the status is not of the API's types.
    #[error("status.{field} of node {node} can't be read: {error}")]
    Unreadable {
        /// The node.
        node: String,
        /// The part.
        field: &'static str,
        /// What is wrong with it.
        error: String,
    },
}

/// The table for the CNR `node`, whose fields besides metadata are `data`, at `now`.
pub fn render(node: &str, data: &Value, now: Timestamp) -> Result<String, ExplainError> {
    let status = data.get("status").unwrap_or(&Value::Null);
    let reclaim: ReclaimStatus =
        part(node, status, "reclaim")?.ok_or_else(|| ExplainError::Undecided(node.to_owned()))?;
    // What is only said beside the table may be unreadable without making the table so.
    let conditions: Vec<CnrCondition> = part(node, status, "conditions")
        .ok()
        .flatten()
        .unwrap_or_default();
    let report: Option<NodeMetricStatus> = part(node, status, "nodeMetricStatus").ok().flatten();

    let mut out = String::new();
    let mut line = |text: String| {
        // Writing to a String can't fail.
        let _infallible = writeln!(out, "{}", text.trim_end());
    };
    line(format!(
        "Node {node}: {}",
        reclaim
            .message
            .as_deref()
            .unwrap_or("there is no explanation")
    ));
    if let Some(agent) = conditions
        .iter()
        .find(|condition| condition.type_ == condition::AGENT_READY)
    {
        line(agent_line(agent, report.as_ref(), now));
    }
    if let Some(Time(time)) = reclaim.computed_time {
        line(format!("Decided {}", ago(time, now)));
    }
    line(String::new());
    let (cpu, memory) = (
        reclaim.cpu.unwrap_or_default(),
        reclaim.memory.unwrap_or_default(),
    );
    line(row("", "CPU", "MEMORY", ""));
    for (label, note, value) in rows(report.as_ref()) {
        line(row(
            label,
            &plain(value(&cpu)),
            &binary(value(&memory)),
            &note,
        ));
    }
    let rule = |explanation: &ReclaimExplanation| {
        explanation
            .limited_by
            .clone()
            .unwrap_or_else(|| "-".to_owned())
    };
    line(row("  limited by", &rule(&cpu), &rule(&memory), ""));
    line(String::new());
    let (cpu, memory) = (rule(&cpu), rule(&memory));
    line(format!("{cpu}: {}", meaning(&cpu)));
    if memory != cpu {
        line(format!("{memory}: {}", meaning(&memory)));
    }
    Ok(out)
}

type Pick = fn(&ReclaimExplanation) -> Option<&Quantity>;

fn rows(report: Option<&NodeMetricStatus>) -> Vec<(&'static str, String, Pick)> {
    let window = report
        .and_then(|report| report.service_peak.as_ref())
        .map_or_else(String::new, |peak| {
            let seconds = |value: Option<i64>| {
                value.map_or_else(|| "?".to_owned(), |value| value.to_string())
            };
            format!(
                "highest in {} s, of which {} s are measured",
                seconds(peak.window_seconds),
                seconds(peak.filled_seconds)
            )
        });
    vec![
        ("  machine", String::new(), |explanation| {
            explanation.capacity.as_ref()
        }),
        ("- services' peak", window, |explanation| {
            explanation.service_peak.as_ref()
        }),
        ("- margin", "on top of the peak".to_owned(), |explanation| {
            explanation.margin.as_ref()
        }),
        ("- reserve", "never offered".to_owned(), |explanation| {
            explanation.reserve.as_ref()
        }),
        ("= estimate", String::new(), |explanation| {
            explanation.estimate.as_ref()
        }),
        (
            "  allocated",
            "requests of reclaimed pods".to_owned(),
            |explanation| explanation.allocated.as_ref(),
        ),
        ("  offered", String::new(), |explanation| {
            explanation.offered.as_ref()
        }),
    ]
}

fn row(label: &str, cpu: &str, memory: &str, note: &str) -> String {
    format!("{label:<18}{cpu:>18}{memory:>18}   {note}")
}

fn plain(quantity: Option<&Quantity>) -> String {
    quantity.map_or_else(|| "-".to_owned(), |quantity| quantity.0.clone())
}

fn binary(quantity: Option<&Quantity>) -> String {
    let text = plain(quantity);
    parse_bytes(&text).map_or(text, readable)
}

fn agent_line(agent: &CnrCondition, report: Option<&NodeMetricStatus>, now: Timestamp) -> String {
    let mut text = match agent.status.as_str() {
        condition::TRUE => "Agent reports".to_owned(),
        _ => format!("Agent: {}", agent.message.as_deref().unwrap_or("not ready")),
    };
    if let Some(Time(since)) = &agent.last_transition_time {
        // Writing to a String can't fail.
        let _infallible = write!(text, ", since {since}");
    }
    if let Some(Time(updated)) = report.and_then(|report| report.update_time.as_ref()) {
        let _infallible = write!(text, "; last report {}", ago(*updated, now));
    }
    if let Some(about) = report.and_then(|report| report.agent.as_ref()) {
        let _infallible = write!(
            text,
            "; version {}, cgroup {}",
            about.version.as_deref().unwrap_or("unknown"),
            about.cgroup.as_deref().unwrap_or("unknown")
        );
        for notice in &about.notices {
            let _infallible = write!(text, "; {notice}");
        }
    }
    text
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    format!(
        "{} s ago",
        now.as_second().saturating_sub(then.as_second()).max(0)
    )
}

fn meaning(rule: &str) -> &'static str {
    let rules = [
        LimitedBy::CapacityMinusPeak,
        LimitedBy::SlopeUp,
        LimitedBy::AllocatedFloor,
        LimitedBy::AtRisk,
        LimitedBy::Stale,
    ];
    match rules.into_iter().find(|known| known.as_str() == rule) {
        Some(LimitedBy::CapacityMinusPeak) => "the estimate is offered as it is",
        Some(LimitedBy::SlopeUp) => "the offer rises slowly towards the estimate",
        Some(LimitedBy::AllocatedFloor) => {
            "the offer stays at what is allocated, since lowering it alone frees nothing"
        }
        Some(LimitedBy::AtRisk) => {
            "services need the machine: the estimate is offered though more is allocated, and the agent evicts"
        }
        Some(LimitedBy::Stale) => {
            "the report is too old or missing: what runs keeps its place and nothing new comes"
        }
        None => "a rule this version does not know",
    }
}

fn part<T: DeserializeOwned>(
    node: &str,
    status: &Value,
    field: &'static str,
) -> Result<Option<T>, ExplainError> {
    let Some(value) = status.get(field).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    T::deserialize(value.clone())
        .map(Some)
        .map_err(|error| ExplainError::Unreadable {
            node: node.to_owned(),
            field,
            error: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_shows_every_number_and_the_rules() {
        let data = json!({"status": {
            "reclaim": {
                "computedTime": "2026-11-24T05:00:00Z",
                "message": "offers 2600m CPU and 5Gi memory",
                "cpu": {"capacity": "4", "servicePeak": "900m", "margin": "90m", "reserve": "200m", "estimate": "2810m",
                        "allocated": "1", "offered": "2600m", "limitedBy": "SlopeUp"},
                "memory": {"capacity": "8Gi", "servicePeak": "2Gi", "margin": "214748365", "reserve": "429496730",
                           "estimate": "5652864000", "allocated": "1Gi", "offered": "5Gi", "limitedBy": "CapacityMinusPeak"},
            },
            "conditions": [{"type": "AgentReady", "status": "True", "lastTransitionTime": "2026-11-24T04:00:00Z"}],
            "nodeMetricStatus": {
                "updateTime": "2026-11-24T05:00:05Z",
                "servicePeak": {"windowSeconds": 300, "filledSeconds": 120},
                "agent": {"version": "0.1.0", "cgroup": "v2", "notices": ["no PSI"]},
            },
        }});
        let text = render("n1", &data, "2026-11-24T05:00:12Z".parse().unwrap()).unwrap();
        for part in [
            "Node n1: offers 2600m CPU and 5Gi memory",
            "Agent reports, since 2026-11-24T04:00:00Z; last report 7 s ago; version 0.1.0, cgroup v2; no PSI",
            "Decided 12 s ago",
            "- services' peak                900m               2Gi   highest in 300 s, of which 120 s are measured",
            "= estimate                     2810m            5391Mi",
            "  offered                      2600m               5Gi",
            "  limited by                 SlopeUp CapacityMinusPeak",
            "SlopeUp: the offer rises slowly",
            "CapacityMinusPeak: the estimate is offered",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    #[test]
    fn what_is_missing_or_nonsense_is_said() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            render("n1", &json!({}), now),
            Err(ExplainError::Undecided("n1".into()))
        );
        let error = render(
            "n1",
            &json!({"status": {"reclaim": {"cpu": "banana"}}}),
            now,
        )
        .unwrap_err();
        assert!(
            error.to_string().contains("status.reclaim of node n1"),
            "{error}"
        );
        let nonsense_beside =
            json!({"status": {"reclaim": {}, "conditions": 7, "nodeMetricStatus": "x"}});
        assert!(
            render("n1", &nonsense_beside, now)
                .unwrap()
                .contains("Node n1: there is no explanation")
        );
    }
}
