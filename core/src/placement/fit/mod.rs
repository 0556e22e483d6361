//! Whether a node can take a pod, and with which NUMA nodes, cards and network cards. The one decision: filter asks whether, bind takes what, preemption
//! asks again without some pods.
//!
//! In this order, the cheap first: taints, reclaimed amounts, then NUMA nodes and devices together: each set of NUMA nodes that would do, the best first, is
//! tried with a search for devices within it.

mod devices;
mod numa;
mod placement;
mod taints;

pub use placement::{ContainerPlacement, PlacedCard, Placement, Quality};
pub use taints::preferred_taints;

use super::{
    machine::Mask,
    node::NodePlacement,
    reclaimed,
    request::{NumaRequest, PodRequest},
    unfit::Unfit,
};
use crate::qos::Level;
use devices::{Found, Within};

/// Finds the best placement of a pod on a node.
///
/// # Errors
///
/// Why there is none.
pub fn fit(node: &NodePlacement, request: &PodRequest) -> Result<Placement, Unfit> {
    fit_on(node, request, Mask::ALL)
}

/// As [`fit`], with these cards only, by position: a packing policy has chosen them.
///
/// # Errors
///
/// Why there is none.
pub fn fit_on(node: &NodePlacement, request: &PodRequest, cards: Mask) -> Result<Placement, Unfit> {
    check(node, request)?;
    let within = Within {
        cards,
        ..Within::ANY
    };
    let mut placement = Placement {
        reclaimed: request.reclaimed.unwrap_or_default(),
        ..Placement::default()
    };
    let found = if request.numa != NumaRequest::None {
        let bound = numa::bind(node, request, within)?;
        placement.numa = bound.shares;
        placement.exclusive = bound.exclusive;
        bound.devices
    } else if numa::kubelet::decides(node.machine(), request) {
        placement.numa = numa::kubelet::predict(node, request)?;
        placement.predicted = true;
        let zones: Mask = placement
            .numa
            .iter()
            .filter_map(|share| node.machine().zone_position(share.id))
            .collect();
        // Kubelet knows nothing of these devices: near is better, and no more than that.
        let near = Within {
            zones: Some(zones),
            ..within
        };
        devices(node, request, near).or_else(|_| devices(node, request, within))?
    } else {
        devices(node, request, within)?
    };
    if placement.numa.is_empty() && request.level != Level::Reclaimed {
        placement.floating = request.cpu;
    }
    placement.containers = found.containers;
    placement.quality = found.quality;
    Ok(placement)
}

/// Whether there is any placement: the same answer as [`fit`].
///
/// # Errors
///
/// Why there is none.
pub fn fits(node: &NodePlacement, request: &PodRequest) -> Result<(), Unfit> {
    fit(node, request).map(drop)
}

fn devices(node: &NodePlacement, request: &PodRequest, within: Within) -> Result<Found, Unfit> {
    if request.wants_devices() {
        devices::place(node, request, within)
    } else {
        Ok(Found::default())
    }
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
