//! NUMA nodes for a pod.
//!
//! A pod with `numa_binding` gets a set of NUMA nodes in which the agent keeps it; all of its devices come from that set. Fewest nodes first, then
//! the nearest to each other, then those in which least stays behind (the agent's pools choose in the same order, so what is
//! promised here is what the node does). For other pods kubelet may choose, by its topology policy: [`kubelet`] predicts what.

pub(super) mod kubelet;
mod room;
mod sets;

use smallvec::SmallVec;

use super::devices::{self, Found, Within};
use crate::placement::{
    allocation::NumaShare,
    machine::Mask,
    node::NodePlacement,
    request::{NumaRequest, PodRequest},
    unfit::Unfit,
};
use room::Rooms;

/// NUMA nodes of a pod, with its devices.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) shares: SmallVec<[NumaShare; 1]>,
    pub(super) exclusive: bool,
    pub(super) devices: Found,
}

/// Binds a pod that asks for it.
pub(super) fn bind(
    node: &NodePlacement,
    request: &PodRequest,
    within: Within,
) -> Result<Bound, Unfit> {
    let machine = node.machine();
    if machine.zones().is_empty() {
        return Err(Unfit::NoTopology);
    }
    let named = match &request.numa {
        NumaRequest::One { among } => among,
        NumaRequest::Set { ids, .. } => ids,
        NumaRequest::None => &None,
    };
    let allowed = match named {
        None => Mask::first(machine.zones().len()),
        Some(ids) => {
            let positions: Option<Mask> = ids.iter().map(|id| machine.zone_position(id)).collect();
            positions.ok_or(Unfit::NumaAbsent)?
        }
    };
    let rooms = Rooms::of(node, request, allowed);
    let counts = match &request.numa {
        NumaRequest::Set { ids: Some(_), .. } => allowed.count()..=allowed.count(),
        NumaRequest::Set {
            count: Some(count), ..
        } => *count as usize..=*count as usize,
        NumaRequest::Set { .. } => 1..=allowed.count(),
        NumaRequest::One { .. } | NumaRequest::None => 1..=1,
    };
    let mut refused = None;
    for count in counts {
        let sets = sets::best_first(machine, &rooms, count);
        for class in sets.chunk_by(|a, b| a.order == b.order) {
            let mut best: Option<Bound> = None;
            for set in class {
                match devices_within(node, request, within, set.zones) {
                    Ok(devices) => {
                        let better = best
                            .as_ref()
                            .is_none_or(|best| devices.quality < best.devices.quality);
                        if better {
                            best = Some(Bound {
                                shares: rooms.shares(machine, set.zones),
                                exclusive: rooms.exclusive,
                                devices,
                            });
                        }
                    }
                    Err(unfit) => {
                        // Who has only to wait or to preempt is told so.
                        if refused.is_none_or(|before: Unfit| !before.resolvable()) {
                            refused = Some(unfit);
                        }
                    }
                }
            }
            if let Some(best) = best {
                return Ok(best);
            }
        }
    }
    Err(refused.unwrap_or_else(|| rooms.why(node, request, allowed)))
}

fn devices_within(
    node: &NodePlacement,
    request: &PodRequest,
    within: Within,
    zones: Mask,
) -> Result<Found, Unfit> {
    if !request.wants_devices() {
        return Ok(Found::default());
    }
    let within = Within {
        zones: Some(zones),
        ..within
    };
    devices::place(node, request, within)
}
