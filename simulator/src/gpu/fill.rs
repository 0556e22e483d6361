//! The filling benchmark: pods arrive one by one, none leaves, one that does not fit is dropped.

use katalyst_core::packing::{Arrivals, Capacity, ClassTable, PackingPolicy, fragment};

use super::choose::Chooser;
use super::cluster::{Cluster, Numbered};
use super::curve::{After, Curve, kind};
use super::trace::{TraceNode, TracePod};
use super::workload::Workload;

/// Where a policy's table comes from.
pub enum Learning {
    /// The whole trace, known beforehand: the published benchmark.
    Oracle,
    /// What arrived, from nothing.
    Online(Arrivals),
}

/// What a run showed.
#[derive(Debug, Clone)]
pub struct Filled {
    /// At each point of arrival.
    pub curve: Curve,
    /// Compute placed at the end, milli.
    pub used: u64,
    /// CPU placed at the end, milli.
    pub cpu: u64,
    /// Pods that arrived.
    pub pods: usize,
    /// Pods that failed, by kind and by number of cards (2, 4, 8).
    pub failed: [usize; 4],
    /// Failed pods of two, four and eight cards.
    pub failed_cards: [usize; 3],
}

/// Compute of nodes by model.
pub fn capacity(nodes: &[TraceNode]) -> Capacity {
    let mut capacity = Capacity::default();
    for node in nodes {
        capacity.add(node.state.model, node.state.idle_milli());
    }
    capacity
}

/// A trace with what is the same for all its runs.
pub struct Setting<'a> {
    /// Nodes by name.
    pub nodes: &'a [TraceNode],
    /// Pods by name.
    pub pods: &'a [TracePod],
    /// Their classes' numbers.
    pub classes: &'a [Numbered],
    /// The popularity in the whole trace.
    pub oracle: &'a ClassTable,
}

/// Runs one seed.
pub fn fill(
    setting: &Setting<'_>,
    workload: &Workload,
    policy: &dyn PackingPolicy,
    mut learning: Learning,
    mut chooser: Chooser,
) -> Filled {
    let capacity = capacity(setting.nodes);
    let typical: Vec<_> = setting.oracle.typical().collect();
    let classes = 1 + setting.classes.iter().map(|c| c.number).max().unwrap_or(0);
    let mut cluster = Cluster::new(setting.nodes, classes);
    let mut policy = match learning {
        Learning::Oracle => policy.learned(setting.oracle, &capacity),
        Learning::Online(_) => policy.learned(&ClassTable::default(), &capacity),
    };
    let mut fragmented: f64 = cluster
        .nodes()
        .iter()
        .map(|node| fragment::expected(node, &typical))
        .sum();
    let mut run = Filled {
        curve: Curve::new(capacity.total()),
        used: 0,
        cpu: 0,
        pods: workload.order.len(),
        failed: [0; 4],
        failed_cards: [0; 3],
    };
    let mut arrived = 0;
    for index in &workload.order {
        let (Some(pod), Some(numbered)) = (setting.pods.get(*index), setting.classes.get(*index))
        else {
            continue;
        };
        if let Learning::Online(arrivals) = &mut learning {
            let anew = arrivals.arrived(pod.class);
            if anew {
                policy = policy.learned(&arrivals.table(), &capacity);
                cluster.forget();
            }
            if (anew || arrivals.prices_are_old())
                && let Some(priced) = policy.priced(cluster.nodes())
            {
                policy = priced;
                cluster.forget();
            }
        }
        arrived += pod.class.gpu_milli();
        let chosen = chooser.choose(&mut cluster, *numbered, policy.as_ref());
        if let Some((node, placement)) = chosen {
            let part = |cluster: &Cluster| {
                cluster
                    .nodes()
                    .get(node)
                    .map_or(0.0, |state| fragment::expected(state, &typical))
            };
            let before = part(&cluster);
            cluster.bind(node, &pod.class, placement.cards);
            fragmented += part(&cluster) - before;
            run.used += pod.class.gpu_milli();
            run.cpu += pod.class.cpu_milli;
        } else {
            if let Some(failed) = run.failed.get_mut(kind(&pod.class)) {
                *failed += 1;
            }
            let several = [2, 4, 8].iter().position(|n| *n == pod.class.cards);
            if let Some(failed) = several.and_then(|at| run.failed_cards.get_mut(at)) {
                *failed += 1;
            }
        }
        run.curve.add(After {
            arrived,
            used: run.used,
            fragmented,
        });
    }
    run
}
