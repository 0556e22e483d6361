//! What `/debug/state` shows.

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::index::Kind;
use crate::plan::{Memory, Planner};
use crate::watch::Shared;

/// The index: how many objects, and what is down.
pub(crate) fn index(shared: &Shared) -> Value {
    let index = shared.index.read();
    let counts: Map<String, Value> = Kind::ALL
        .iter()
        .map(|kind| (kind.as_str().to_owned(), json!(index.count(*kind))))
        .collect();
    json!({ "complete": index.is_complete(), "objects": counts, "down": shared.outage.down() })
}

/// Every node: what is known of it, and the last decision.
pub(crate) fn capacity(shared: &Shared, planner: &Mutex<Option<Planner>>) -> Value {
    let now = shared.clock.now();
    let held = planner.lock();
    let Some(planner) = held.as_ref() else {
        return json!({ "leading": false });
    };
    let index = shared.index.read();
    let nodes: Map<String, Value> = planner
        .nodes()
        .map(|(name, memory)| {
            let Memory { decision, standing, not_before, failure, .. } = memory;
            let view = index.view(name, now);
            let state = json!({
                "reportAgeSeconds": view.as_ref().map(|view| view.report_age_seconds).filter(|age| age.is_finite()),
                "pods": view.as_ref().map(|view| view.pods),
                "agent": decision.as_ref().map(|decision| decision.agent.reason()),
                "estimate": decision.as_ref().map(|decision| decision.estimate),
                "written": standing.as_ref().map(|standing| json!({
                    "offered": standing.offered,
                    "secondsAgo": now - standing.written_at,
                })),
                "retryInSeconds": (*not_before > now && not_before.is_finite()).then_some(*not_before - now),
                "failure": failure,
            });
            (name.clone(), state)
        })
        .collect();
    json!({ "leading": true, "nodes": nodes })
}
