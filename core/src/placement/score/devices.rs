//! How near the pod's devices are, and what they leave behind.
//!
//! [`Quality`](super::super::Quality) orders placements on one node exactly; between nodes this is a number that falls with each of its parts, the most important
//! the steepest: a wish that does not hold halves it.

use crate::placement::fit::Placement;

/// Spread beyond which more makes no difference: two sockets with two NUMA nodes each.
const SPREAD: f64 = 512.0;
/// Cards left behind beyond which more makes no difference: those of two nodes of eight.
const BROKEN: f64 = 16.0;

pub(super) fn term(placement: &Placement) -> Option<f64> {
    let cards: usize = placement
        .containers
        .iter()
        .map(|container| container.cards.len())
        .sum();
    if placement.containers.is_empty() {
        return None;
    }
    let quality = placement.quality;
    let most = |of: u16, all: f64| (f64::from(of) / all).min(1.0);
    let nearness = 1.0 / (1.0 + f64::from(quality.wishes));
    let alike = 1.0 / (1.0 + 0.5 * f64::from(quality.models));
    let linked = 1.0 - 0.3 * most(quality.links, 18.0);
    let together = 1.0 - 0.3 * most(quality.spread, SPREAD);
    let whole = 1.0 - 0.3 * most(quality.broken, BROKEN);
    let full = 1.0 - 0.2 * most(quality.left, 1_000.0 * cards.max(1) as f64);
    Some(nearness * alike * linked * together * whole * full)
}
