//! Whether CPU and memory of the reclaimed offer run out together: one minus the standard deviation of the two fractions in use, which is half of
//! their difference (Kubernetes' and Katalyst's `NodeResourcesBalancedAllocation`). `None` where only one of them is offered.

use super::amounts;
use crate::{placement::reclaimed::ReclaimedNode, reclaimed::Reclaimed};

pub(super) fn term(node: &ReclaimedNode, amount: &Reclaimed) -> Option<f64> {
    let [cpu, memory] = amounts::used(node, amount);
    Some(1.0 - (cpu?.min(1.0) - memory?.min(1.0)).abs() / 2.0)
}
