//! The record of a decision, for the Binding's annotations: the API server writes it into the pod together with the node's name.

use std::collections::BTreeMap;

use katalyst_core::placement::PodRequest as Wish;
use katalyst_core::quantity::format_bytes;
use katalyst_core::reclaimed::Reclaimed;
use katalyst_crds::constants::annotation;
use katalyst_crds::translate::placement::record;

use crate::ledger::Decision;

/// The annotations that say where a pod goes on its node, and how much of the reclaimed amounts is its.
pub fn annotations(
    wish: &Wish,
    decision: &Decision,
) -> Result<BTreeMap<String, String>, serde_json::Error> {
    let mut annotations = record(&decision.placement, &decision.machine, wish)?;
    if let Some(amount) = &wish.reclaimed {
        annotations.insert(annotation::RECLAIMED_ALLOCATION.to_owned(), amounts(amount));
    }
    Ok(annotations)
}

/// `{"cpu":"4000m","memory":"1Gi"}`.
fn amounts(amount: &Reclaimed) -> String {
    serde_json::json!({"cpu": format!("{}m", amount.cpu.get()), "memory": format_bytes(amount.memory)}).to_string()
}
