//! Whether a node can take a pod, and with which NUMA nodes, cards and network cards. The one decision: filter asks whether, bind takes what, preemption
//! asks again without some pods.
//!
//! In this order, the cheap first: taints, reclaimed amounts, then NUMA nodes and devices together: each set of NUMA nodes that would do, the best first, is
//! tried with a search for devices within it.

mod placement;
mod taints;

pub use placement::{ContainerPlacement, PlacedCard, Placement, Quality};
pub use taints::preferred_taints;

use super::{
    node::NodePlacement,
    reclaimed,
    request::{NumaRequest, PodRequest},
    unfit::Unfit,
};

/// Finds the best placement of a pod on a node.
///
/// # Errors
///
/// Why there is none.
pub fn fit(node: &NodePlacement, request: &PodRequest) -> Result<Placement, Unfit> {
    check(node, request)?;
    if request.wants_devices() {
        return Err(Unfit::NoCards);
    }
    if request.numa != NumaRequest::None {
        return Err(Unfit::NoTopology);
    }
    Ok(Placement {
        reclaimed: request.reclaimed.unwrap_or_default(),
        ..Placement::default()
    })
}

/// Whether there is any placement: as [`fit`], and cheaper.
///
/// # Errors
///
/// Why there is none.
pub fn fits(node: &NodePlacement, request: &PodRequest) -> Result<(), Unfit> {
    fit(node, request).map(drop)
}

/// Taints, the agent, and reclaimed amounts.
fn check(node: &NodePlacement, request: &PodRequest) -> Result<(), Unfit> {
    taints::check(node, request)?;
    if !request.needs_agent() {
        return Ok(());
    }
    let offer = node.reclaimed();
    if !offer.fresh && offer.allocatable.is_zero() && node.machine().zones().is_empty() {
        return Err(Unfit::NothingOffered);
    }
    match &request.reclaimed {
        Some(amount) => reclaimed::fit(&offer, amount),
        None if offer.fresh => Ok(()),
        None => Err(Unfit::Stale),
    }
}
