//! The FGD benchmark's workload of one seed: order and number of pods, and the rank of each node (Weng et al., USENIX ATC 2023, and its
//! simulator's published runs).
//!
//! The pods are shuffled; copies are appended, or pods removed, until they ask for 1.3 times the cluster's compute; nodes get a random rank, by
//! which the benchmark breaks ties. All draws are Go's ([`GoRandom`]), in the original's order.

use std::collections::HashMap;

use katalyst_core::packing::{ClassTable, PodClass};

use super::go_random::GoRandom;
use super::trace::{TraceNode, TracePod};

/// Compute asked for over the cluster's, when all pods have arrived.
const ARRIVAL: f64 = 1.3;
/// Draws that the original's informers take between the pods and the nodes.
const INFORMER_DRAWS: usize = 10;

/// What one seed makes of a trace.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Positions in the list of pods, in order of arrival.
    pub order: Vec<usize>,
    /// Rank of each node: position in the list of nodes by rank.
    pub by_rank: Vec<usize>,
}

impl Workload {
    /// Draws it. Both lists are sorted by name.
    pub fn draw(pods: &[TracePod], nodes: &[TraceNode], seed: i64) -> Self {
        let capacity: u64 = nodes.iter().map(|node| node.state.idle_milli()).sum();
        let mut random = GoRandom::new(seed);
        random.int63();
        let mut order: Vec<usize> = (0..pods.len()).collect();
        random.shuffle(&mut order);
        let milli = |index: usize| pods.get(index).map_or(0, |pod| pod.class.gpu_milli());
        let target = (ARRIVAL * capacity as f64) as u64;
        let mut total: u64 = order.iter().map(|index| milli(*index)).sum();
        if total < target && total > 0 {
            loop {
                let index = random.below(pods.len());
                // One card's part only, as the original compares.
                let part = pods
                    .get(index)
                    .map_or(0, |pod| u64::from(pod.class.card_milli));
                if total + part > target {
                    break;
                }
                order.push(index);
                total += milli(index);
            }
        } else {
            while total > target {
                let at = random.below(order.len());
                total -= milli(order.remove(at));
            }
        }
        for _ in 0..INFORMER_DRAWS {
            random.int63();
        }
        let mut ranks: Vec<(usize, usize)> = random
            .permutation(nodes.len())
            .into_iter()
            .enumerate()
            .map(|(node, rank)| (rank, node))
            .collect();
        ranks.sort_unstable();
        Self {
            order,
            by_rank: ranks.into_iter().map(|(_, node)| node).collect(),
        }
    }
}

/// The benchmark's typical pods: popularity in the whole trace, known beforehand. Selectors count as written.
pub fn oracle(pods: &[TracePod]) -> ClassTable {
    let mut counts: HashMap<(PodClass, &str), u64> = HashMap::new();
    for pod in pods {
        let class = PodClass {
            memory_mib: 0,
            ..pod.class
        };
        *counts.entry((class, &pod.selector)).or_default() += 1;
    }
    let mut classes: Vec<_> = counts.into_iter().collect();
    classes.sort_unstable_by_key(|((class, selector), count)| {
        std::cmp::Reverse((
            *count,
            class.cpu_milli,
            class.card_milli,
            class.cards,
            *selector,
        ))
    });
    ClassTable::new(
        classes
            .into_iter()
            .map(|((class, _), count)| (class, count))
            .collect(),
    )
}
