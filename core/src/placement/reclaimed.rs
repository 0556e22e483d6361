//! Reclaimed amounts alone: whether a batch pod fits a node's offer, and how good the node is for it.
//!
//! A node counts with what it offers now, what is allocated on it (bound pods and pods that are being bound) and whether its
//! report is fresh: a node that is silent takes no new pod (invariant 4).

use super::unfit::Unfit;
use crate::reclaimed::Reclaimed;

/// A node as placement sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReclaimedNode {
    /// What the node offers in total.
    pub allocatable: Reclaimed,
    /// Requests of reclaimed pods bound, or assumed to be bound, to it.
    pub allocated: Reclaimed,
    /// True while the node's agent reports.
    pub fresh: bool,
}

impl ReclaimedNode {
    /// What is left to give.
    pub fn free(&self) -> Reclaimed {
        self.allocatable - self.allocated
    }
}

/// Checks a request against a node.
pub fn fit(node: &ReclaimedNode, request: &Reclaimed) -> Result<(), Unfit> {
    if !node.fresh {
        return Err(Unfit::Stale);
    }
    if node.allocatable.is_zero() {
        return Err(Unfit::NothingOffered);
    }
    let free = node.free();
    if request.cpu > free.cpu {
        return Err(Unfit::Cpu);
    }
    if request.memory > free.memory {
        return Err(Unfit::Memory);
    }
    Ok(())
}

/// How nodes that fit are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The emptiest node first: batch pods spread, one node's surge hurts few. Katalyst's `LeastAllocated`.
    #[default]
    Spread,
    /// The fullest node first: empty nodes stay free for large pods. Katalyst's `MostAllocated`.
    Binpack,
}

/// Highest score.
pub const MAX_SCORE: u32 = 100;

/// Rank of a node for a pod, 0 to [`MAX_SCORE`], after the pod would have been placed: the mean over the resources that the node
/// offers of the free (spread) or used (binpack) fraction. A node that does not fit scores zero.
pub fn score(node: &ReclaimedNode, request: &Reclaimed, strategy: Strategy) -> u32 {
    if fit(node, request).is_err() {
        return 0;
    }
    let after = node.allocated + *request;
    let pairs = [
        (after.cpu.get(), node.allocatable.cpu.get()),
        (after.memory.get(), node.allocatable.memory.get()),
    ];
    let fractions: Vec<f64> = pairs
        .iter()
        .filter(|(_, total)| *total > 0)
        .map(|(used, total)| *used as f64 / *total as f64)
        .collect();
    if fractions.is_empty() {
        return 0;
    }
    let used = fractions.iter().sum::<f64>() / fractions.len() as f64;
    let value = match strategy {
        Strategy::Spread => 1.0 - used,
        Strategy::Binpack => used,
    };
    (value.clamp(0.0, 1.0) * f64::from(MAX_SCORE)).round() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    // Named, because proptest's prelude has a trait of this name.
    use super::Strategy;
    use super::*;

    const NODE: ReclaimedNode = ReclaimedNode {
        allocatable: Reclaimed::new(4000, 8000),
        allocated: Reclaimed::new(1000, 2000),
        fresh: true,
    };

    #[rstest]
    #[case(NODE, Reclaimed::new(3000, 6000), Ok(()))]
    #[case(NODE, Reclaimed::new(3001, 0), Err(Unfit::Cpu))]
    #[case(NODE, Reclaimed::new(0, 6001), Err(Unfit::Memory))]
    #[case(ReclaimedNode { fresh: false, ..NODE }, Reclaimed::new(1, 1), Err(Unfit::Stale))]
    #[case(ReclaimedNode { allocatable: Reclaimed::ZERO, ..NODE }, Reclaimed::ZERO, Err(Unfit::NothingOffered))]
    fn fits(
        #[case] node: ReclaimedNode,
        #[case] request: Reclaimed,
        #[case] expected: Result<(), Unfit>,
    ) {
        assert_eq!(fit(&node, &request), expected);
    }

    #[test]
    fn spread_prefers_the_emptier_node_and_binpack_the_fuller() {
        let empty = ReclaimedNode {
            allocated: Reclaimed::ZERO,
            ..NODE
        };
        let request = Reclaimed::new(1000, 1000);
        assert!(
            score(&empty, &request, Strategy::Spread) > score(&NODE, &request, Strategy::Spread)
        );
        assert!(
            score(&empty, &request, Strategy::Binpack) < score(&NODE, &request, Strategy::Binpack)
        );
    }

    proptest! {
        #[test]
        fn what_fits_never_exceeds_the_offer(a in 0..9000u64, m in 0..9000u64, c in 0..9000u64, r in 0..9000u64) {
            let node = ReclaimedNode { allocatable: Reclaimed::new(a, m), allocated: Reclaimed::new(c, c), fresh: true };
            let request = Reclaimed::new(r, r);
            if fit(&node, &request).is_ok() && !request.is_zero() {
                prop_assert!((node.allocated.cpu + request.cpu) <= node.allocatable.cpu || request.cpu.get() == 0);
                prop_assert!(score(&node, &request, Strategy::Spread) <= MAX_SCORE);
            }
        }
    }
}
