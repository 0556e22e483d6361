//! Which of the feasible nodes gets the pod: as the benchmark chooses, and as kube-scheduler does with an extender.

use katalyst_core::packing::{PackingPolicy, Placement, scores};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::cluster::{Cluster, Numbered};

/// Nodes that kube-scheduler looks for at least (`minFeasibleNodesToFind`).
const LEAST_NODES: usize = 100;

/// How a node is chosen.
pub enum Chooser {
    /// The benchmark: all nodes are looked at, the least cost wins, then the lowest rank.
    LowestRank(Vec<usize>),
    /// kube-scheduler: integer scores 0 to 10, a random one of the best. `sampled`: it stops looking when it found enough nodes (`percentageOfNodesToScore` unset) and
    /// starts the next pod where it stopped; otherwise it looks at all.
    KubeScheduler {
        /// Order of the scheduler's node list.
        order: Vec<usize>,
        /// Where it starts.
        start: usize,
        /// Whether it stops early.
        sampled: bool,
        /// Its dice.
        random: Box<StdRng>,
    },
}

/// Nodes that are enough, in percent falling from 50 with the cluster's size, at least 5 (`numFeasibleNodesToFind` of
/// kube-scheduler 1.36).
fn enough(nodes: usize) -> usize {
    if nodes < LEAST_NODES {
        return nodes;
    }
    let percent = 50usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(LEAST_NODES)
}

impl Chooser {
    /// kube-scheduler with `percentageOfNodesToScore: 100`, nodes in the order of their list.
    pub fn all_nodes(nodes: usize, seed: u64) -> Self {
        Self::KubeScheduler {
            order: (0..nodes).collect(),
            start: 0,
            sampled: false,
            random: Box::new(StdRng::seed_from_u64(seed)),
        }
    }

    /// kube-scheduler as it comes: it stops looking when it found enough nodes.
    pub fn sampled(order: Vec<usize>, seed: u64) -> Self {
        Self::KubeScheduler {
            order,
            start: 0,
            sampled: true,
            random: Box::new(StdRng::seed_from_u64(seed)),
        }
    }

    /// A node and its cards for the pod; `None` when none is found that fits.
    pub fn choose(
        &mut self,
        cluster: &mut Cluster,
        pod: Numbered,
        policy: &dyn PackingPolicy,
    ) -> Option<(usize, Placement)> {
        match self {
            Self::LowestRank(by_rank) => {
                let mut best: Option<(usize, Placement)> = None;
                for node in by_rank.iter().copied() {
                    if let Some(placement) = cluster.place(node, pod, policy)
                        && best.is_none_or(|(_, best)| placement.cost < best.cost)
                    {
                        best = Some((node, placement));
                    }
                }
                best
            }
            Self::KubeScheduler {
                order,
                start,
                sampled,
                random,
            } => {
                let wanted = if *sampled {
                    enough(order.len())
                } else {
                    order.len()
                };
                let mut looked_at = 0;
                let mut found: Vec<(usize, Placement)> = Vec::with_capacity(wanted);
                for node in order.iter().cycle().skip(*start).take(order.len()).copied() {
                    if found.len() == wanted {
                        break;
                    }
                    looked_at += 1;
                    if let Some(placement) = cluster.place(node, pod, policy) {
                        found.push((node, placement));
                    }
                }
                *start = (*start + looked_at) % order.len().max(1);
                let costs: Vec<f64> = found.iter().map(|(_, placement)| placement.cost).collect();
                let scores = scores(&costs);
                let best = scores.iter().max()?;
                let ties: Vec<(usize, Placement)> = found
                    .into_iter()
                    .zip(&scores)
                    .filter(|(_, score)| *score == best)
                    .map(|(found, _)| found)
                    .collect();
                ties.get(random.random_range(0..ties.len())).copied()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_nodes_as_kube_scheduler_counts() {
        // From the scheduler's own table test: percentage unset.
        assert_eq!(
            [10, 100, 1000, 5000, 6000].map(enough),
            [10, 100, 420, 500, 300]
        );
    }
}
