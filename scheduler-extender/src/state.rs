//! What `/debug/state/ledger` shows.

use serde_json::{Value, json};

use crate::extender::Extender;
use crate::ledger::NodeView;

/// Nodes with what they offer, what is taken and what is free, and the bindings without a verdict.
pub fn describe(extender: &Extender) -> Value {
    let (ledger, now) = (extender.ledger(), extender.now());
    let table = ledger.table();
    let mut names: Vec<_> = table.iter().collect();
    names.sort_by(|a, b| a.0.cmp(b.0));
    let nodes = names.into_iter().map(|(name, cell)| {
        let view = cell.view();
        let NodeView {
            allocatable,
            allocated,
            agent_ready,
            malformed,
            reported,
            ..
        } = view;
        let node = view.at(now, ledger.stale_after());
        let pods = ledger
            .holders(name)
            .into_iter()
            .map(|holder| json!({"pod": *holder.charge.name, "requests": holder.charge.amount}));
        json!({
            "node": **name,
            "offered": allocatable,
            "allocated": allocated,
            "free": node.free(),
            "agentReady": agent_ready,
            "fresh": node.fresh,
            "reportAgeSeconds": (reported != i64::MIN).then(|| now.saturating_sub(reported) / 1000),
            "defect": malformed.then(|| ledger.defect(name)).flatten(),
            "pods": pods.collect::<Vec<_>>(),
        })
    });
    let nodes: Vec<Value> = nodes.collect();
    let doubts = ledger.doubts().into_iter().map(|doubt| json!({"pod": *doubt.name, "node": *doubt.node, "seconds": now.saturating_sub(doubt.since) / 1000}));
    json!({
        "assumedPods": ledger.assumed(),
        "doubtfulBindings": doubts.collect::<Vec<_>>(),
        "nodes": nodes,
    })
}
