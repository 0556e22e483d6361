//! The memory that reclaimed pods may hold of what services leave: in total, and on each NUMA node that some are bound to.
//!
//! Source: what reclaimed pods hold now, what is available, and the floor that must stay available ([`super::detect::available`]):
//!
//! ```text
//! limit = held + available - floor
//! ```
//!
//! Rises at once (nothing is harmed), falls by at most a quarter of what is held in a step, so that soft limits squeeze instead of jumping; a hard limit never goes below what is held plus slack, because version 2 kills at such a write and version 1
//! refuses it (`hold::split_memory` sees to that). A pod bound to one node shares that node's limit with the others bound to it, in proportion to their requests; pods that are not bound share what the whole machine has.

use crate::units::Bytes;

/// Largest part of what is held by which a limit falls in a step.
const FALL: f64 = 0.25;

/// What a limit follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarded {
    /// Held by reclaimed pods here.
    pub held: Bytes,
    /// Available here.
    pub available: Bytes,
    /// What must stay available.
    pub floor: Bytes,
    /// The limit before; `None` at first.
    pub previous: Option<Bytes>,
}

/// The limit of reclaimed pods in one place.
pub fn limit(input: &Guarded) -> Bytes {
    let room = input.held + input.available - input.floor;
    match input.previous {
        Some(previous) if room < previous => {
            room.max(previous.min(input.held) - input.held.scale(FALL))
        }
        Some(_) | None => room,
    }
}

/// Splits a node's limit over the pods bound to it: each gets what it uses while that fits; otherwise everyone shrinks towards its part by request.
pub fn split(limit: Bytes, pods: &[(Bytes, Bytes)]) -> Vec<Option<Bytes>> {
    let used: Bytes = pods.iter().map(|(_, used)| *used).sum();
    if used <= limit {
        return vec![None; pods.len()];
    }
    let wants: Vec<f64> = pods.iter().map(|(_, used)| used.get() as f64).collect();
    let weights: Vec<f64> = pods
        .iter()
        .map(|(request, _)| (request.get() as f64).max(1.0))
        .collect();
    crate::hold::share(limit.get() as f64, &weights, &wants)
        .into_iter()
        .map(|part| Some(Bytes::new(part as u64)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn guarded(held: u64, available: u64, floor: u64, previous: Option<u64>) -> u64 {
        limit(&Guarded {
            held: Bytes::new(held),
            available: Bytes::new(available),
            floor: Bytes::new(floor),
            previous: previous.map(Bytes::new),
        })
        .get()
    }

    #[test]
    fn up_at_once_and_down_in_steps() {
        assert_eq!(guarded(100, 50, 20, None), 130);
        assert_eq!(guarded(100, 500, 20, Some(130)), 580);
        assert_eq!(
            guarded(100, 0, 90, Some(580)),
            75,
            "a quarter of what is held"
        );
        assert_eq!(guarded(80, 0, 90, Some(75)), 55);
    }

    #[test]
    fn who_uses_little_is_not_squeezed() {
        let bytes = |bytes| Bytes::new(bytes);
        let pods = [(bytes(100), bytes(10)), (bytes(100), bytes(200))];
        assert_eq!(split(bytes(300), &pods), [None, None]);
        assert_eq!(
            split(bytes(110), &pods),
            [Some(bytes(10)), Some(bytes(100))]
        );
    }

    proptest! {
        #[test]
        fn parts_are_no_more_than_the_limit(limit in 0..10_000_u64, pods in prop::collection::vec((0..5_000_u64, 0..5_000_u64), 1..20)) {
            let pods: Vec<_> = pods.into_iter().map(|(request, used)| (Bytes::new(request), Bytes::new(used))).collect();
            let parts = split(Bytes::new(limit), &pods);
            let sum: u64 = parts.iter().zip(&pods).map(|(part, (_, used))| part.unwrap_or(*used).get()).sum();
            prop_assert!(sum <= limit.max(pods.iter().map(|(_, used)| used.get()).sum::<u64>().min(limit)));
        }
    }
}
