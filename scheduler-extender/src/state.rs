//! What `/debug/state/ledger` shows.

use katalyst_core::placement::{CardShare, NodePlacement};
use serde_json::{Value, json};

use crate::extender::Extender;
use crate::ledger::{Holder, UnixMillis};

/// Nodes with what they have and offer, what is taken and what is free, and the bindings without a verdict.
pub fn describe(extender: &Extender) -> Value {
    let (ledger, now) = (extender.ledger(), extender.now());
    let table = ledger.table();
    let mut names: Vec<_> = table.iter().collect();
    names.sort_by(|a, b| a.0.cmp(b.0));
    let nodes = names.into_iter().map(|(name, cell)| {
        let state = cell.state();
        let reclaimed = state.placement.reclaimed();
        let age = now.saturating_sub(state.reported) / 1000;
        json!({
            "node": **name,
            "offered": reclaimed.allocatable,
            "allocated": reclaimed.allocated,
            "free": reclaimed.free(),
            "agentReady": reclaimed.fresh,
            "fresh": state.is_fresh(now, ledger.stale_after()),
            "reportAgeSeconds": (state.reported != UnixMillis::MIN).then_some(age),
            "defect": state.malformed.then(|| ledger.defect(name)).flatten(),
            "taints": state.placement.taints().iter().map(|taint| json!({"key": *taint.key, "level": taint.level.as_str()})).collect::<Vec<_>>(),
            "numa": zones(&state.placement),
            "gpus": cards(&state.placement),
            "nics": nics(&state.placement),
            "pods": ledger.holders(name).iter().map(|holder| pod(holder, &state.placement)).collect::<Vec<_>>(),
        })
    });
    let nodes: Vec<Value> = nodes.collect();
    let doubts = ledger.doubts().into_iter().map(|doubt| json!({"pod": *doubt.name, "node": *doubt.node, "seconds": now.saturating_sub(doubt.since) / 1000}));
    json!({
        "binds": extender.mandate().holds(),
        "assumedPods": ledger.assumed(),
        "doubtfulBindings": doubts.collect::<Vec<_>>(),
        "nodes": nodes,
    })
}

fn zones(node: &NodePlacement) -> Vec<Value> {
    let zones = node.machine().zones().iter().zip(&node.used().zones);
    zones
        .map(|(zone, used)| json!({"id": zone.id, "cpu": zone.cpu, "memory": zone.memory, "usedCpu": used.cpu, "usedMemory": used.memory, "pods": used.holders, "exclusive": used.exclusive > 0}))
        .collect()
}

fn cards(node: &NodePlacement) -> Vec<Value> {
    let cards = node.machine().cards().iter().zip(&node.used().cards);
    cards
        .map(|(card, used)| json!({"uuid": *card.uuid, "model": *card.model, "memoryMiB": card.mib, "healthy": card.healthy, "whole": used.whole > 0, "usedPercent": used.percent, "usedMiB": used.mib}))
        .collect()
}

fn nics(node: &NodePlacement) -> Vec<Value> {
    let nics = node.machine().nics().iter().zip(&node.used().nics);
    nics.map(|(nic, holders)| json!({"name": *nic.name, "up": nic.up, "pods": holders}))
        .collect()
}

fn pod(holder: &Holder, node: &NodePlacement) -> Value {
    let Some(held) = node.pod(&holder.uid) else {
        return json!({"pod": *holder.charge.name});
    };
    let cards = held.cards.iter().map(|card| {
        let share = match card.share {
            CardShare::Whole => json!("whole"),
            CardShare::Part { percent, mib } => json!({"percent": percent, "memoryMiB": mib}),
        };
        json!({"uuid": *card.uuid, "share": share})
    });
    json!({
        "pod": *holder.charge.name,
        "requests": held.reclaimed,
        "numa": held.numa.iter().map(|share| share.id).collect::<Vec<_>>(),
        "gpus": cards.collect::<Vec<_>>(),
        "nics": held.nics.iter().map(|name| &**name).collect::<Vec<_>>(),
    })
}
