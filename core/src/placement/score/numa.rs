//! The NUMA nodes of a bound pod, or of one whose nodes kubelet will choose.
//!
//! The strategies are those of the scheduler-plugins' `NodeResourceTopologyMatch` and of Katalyst. Of several NUMA nodes the worst counts, since the pod is as fast as its
//! slowest part.

use crate::placement::{allocation::NumaShare, fit::Placement, machine::Mask, node::NodePlacement};

/// Which NUMA nodes are best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NumaStrategy {
    /// The fullest: idle ones stay idle for pods that want them to themselves.
    #[default]
    MostAllocated,
    /// The emptiest.
    LeastAllocated,
    /// Those whose CPU and memory run out together.
    BalancedAllocation,
    /// As few as possible, and near to each other.
    LeastNumaNodes,
}

/// Distance at which NUMA nodes are as far as the firmware can say.
const FARTHEST: f64 = 255.0;

pub(super) fn term(
    node: &NodePlacement,
    placement: &Placement,
    strategy: NumaStrategy,
) -> Option<f64> {
    if placement.numa.is_empty() {
        return None;
    }
    let machine = node.machine();
    if strategy == NumaStrategy::LeastNumaNodes {
        let zones: Mask = placement
            .numa
            .iter()
            .filter_map(|share| machine.zone_position(share.id))
            .collect();
        let count = zones.count() as f64;
        let pairs = (count * (count - 1.0)).max(1.0);
        // At most half of what one node more would cost.
        let far = f64::from(machine.spread(zones)) / pairs / FARTHEST / 2.0;
        return Some(1.0 - (count - 1.0 + far) / machine.zones().len().max(1) as f64);
    }
    placement
        .numa
        .iter()
        .filter_map(|share| of_zone(node, share, strategy))
        .reduce(f64::min)
}

fn of_zone(node: &NodePlacement, share: &NumaShare, strategy: NumaStrategy) -> Option<f64> {
    let machine = node.machine();
    let at = machine.zone_position(share.id)?;
    let (zone, used) = (machine.zones().get(at)?, node.used().zones.get(at)?);
    let part = |of: u64, all: u64| (all > 0).then(|| (of as f64 / all as f64).min(1.0));
    let (cpu, memory) = if share.reclaimed.is_zero() {
        (
            part((used.cpu + share.cpu).get(), zone.cpu.get()),
            part((used.memory + share.memory).get(), zone.memory.get()),
        )
    } else {
        let offer = zone.reclaimed?;
        let after = used.reclaimed + share.reclaimed;
        (
            part(after.cpu.get(), offer.cpu.get()),
            part(after.memory.get(), offer.memory.get()),
        )
    };
    let both = [cpu, memory];
    let known = both.iter().flatten().count();
    if known == 0 {
        return None;
    }
    let mean = both.iter().flatten().sum::<f64>() / known as f64;
    Some(match strategy {
        NumaStrategy::MostAllocated => mean,
        NumaStrategy::LeastAllocated | NumaStrategy::LeastNumaNodes => 1.0 - mean,
        NumaStrategy::BalancedAllocation => 1.0 - (cpu? - memory?).abs(),
    })
}
