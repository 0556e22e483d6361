//! The week: nodes in step, the pools' calibration, the scheduler, and what is counted.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use katalyst_core::placement::reclaimed::{ReclaimedNode, Strategy, fit, score};
use katalyst_core::prediction::conformal::{Budget, EVERY, Horizon, Pool};
use katalyst_core::reclaimed::Reclaimed;

use super::batch::Backlog;
use super::node::{CAPACITY, Did, Node};
use crate::parallel;
use crate::peak::judge::Player;
use crate::peak::scenario::{DAY, Loaded, Machine, SCENARIOS, folder, load};

/// Recorded fleets that make up the cluster, half of the nodes each.
const FLEETS: [&str; 2] = ["bb-sized-churn", "az-sized-churn"];

/// Days before batch work comes: histories and scores fill.
const WARM_UP_DAYS: usize = 7;

/// Nodes that the scheduler looks at for a pod, as kube-scheduler samples nodes of a large cluster.
const SAMPLED: usize = 100;

/// The queue is left for this step after so many pods in a row that fit nowhere.
const UNFIT_IN_A_ROW: usize = 20;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of traces, or its parent.
    pub traces: PathBuf,
    /// Nodes.
    pub nodes: usize,
    /// Days with batch work.
    pub days: usize,
    /// Of the backlog.
    pub seed: u64,
    /// Threads; as many as there are processors when zero.
    pub threads: usize,
    /// Budget of violations.
    pub alpha: f64,
    /// Horizon of the offers.
    pub horizon: Horizon,
}

/// Sums of an hour of the whole cluster, fractions of its CPU.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hour {
    /// Used by services.
    pub services: f64,
    /// Used by batch.
    pub batch: f64,
    /// Offered.
    pub offered: f64,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Nodes.
    pub nodes: usize,
    /// Hour by hour.
    pub hours: Vec<Hour>,
    /// Batch pods finished.
    pub finished: u64,
    /// CPU hours of finished pods.
    pub finished_cpu_hours: f64,
    /// CPU hours lost with evicted pods.
    pub lost_cpu_hours: f64,
    /// Evicted pods.
    pub evicted: u64,
    /// Share of steps of batch pods in which they got less than they asked for.
    pub throttled: f64,
    /// Fleet, promises made, promises broken in the days that count.
    pub kept: Vec<(&'static str, u64, u64)>,
    /// Seconds that the run took.
    pub seconds: f64,
}

impl Outcome {
    /// Mean over time.
    pub fn mean(&self, what: impl Fn(&Hour) -> f64) -> f64 {
        self.hours.iter().map(what).sum::<f64>() / self.hours.len().max(1) as f64
    }
}

/// The most that the limits of a machine's pods add up to: the machine's size.
fn size(machine: &Machine, steps: usize) -> f64 {
    let mut changes = vec![0.0; steps + 1];
    for task in &machine.tasks {
        for (at, amount) in [(task.start, task.limit), (task.end(), -task.limit)] {
            if let Some(change) = changes.get_mut(at.min(steps)) {
                *change += amount;
            }
        }
    }
    let mut sum = 0.0;
    changes.iter().fold(0.0, |most: f64, change| {
        sum += change;
        most.max(sum)
    })
}

/// Nodes from the machines of the fleets; a machine that is used again begins a day later in its trace.
fn nodes<'a>(fleets: &'a [Loaded], options: &Options) -> Vec<Node<'a>> {
    let length = (WARM_UP_DAYS + options.days) * DAY;
    (0..options.nodes)
        .filter_map(|index| {
            let pool = index % fleets.len().max(1);
            let fleet = fleets.get(pool)?;
            let place = index / fleets.len();
            let machine = fleet.machines.get(place % fleet.machines.len())?;
            let shifts = (fleet.steps.saturating_sub(length) / DAY).max(1);
            let first = place / fleet.machines.len() % shifts * DAY;
            let scale = CAPACITY.get() as f64 / size(machine, fleet.steps).max(1e-9);
            Some(Node::new(pool, Player::new(machine), first, scale))
        })
        .collect()
}

/// Runs the cluster.
pub fn run(options: &Options) -> anyhow::Result<Outcome> {
    let folder = folder(&options.traces)
        .with_context(|| format!("no placement_static.csv in {}", options.traces.display()))?;
    let fleets: Vec<Loaded> = SCENARIOS
        .iter()
        .filter(|scenario| FLEETS.contains(&scenario.short))
        .map(|scenario| load(&folder, scenario).with_context(|| scenario.short.to_owned()))
        .collect::<Result<_, _>>()?;
    Ok(simulate(&fleets, options))
}

/// The cluster on fleets that were read.
fn simulate(fleets: &[Loaded], options: &Options) -> Outcome {
    let started = Instant::now();
    let mut nodes = nodes(fleets, options);
    let mut pools: Vec<Pool> = fleets.iter().map(|_| Pool::new(options.horizon)).collect();
    let mut backlog = Backlog::new(options.seed);
    let budget = Budget::new(options.alpha);
    let threads = parallel::threads(options.threads);
    let mut outcome = Outcome {
        nodes: nodes.len(),
        ..Outcome::default()
    };
    let capacity = CAPACITY.get() as f64 * nodes.len() as f64;
    let (mut batch_steps, mut throttled_steps) = (0u64, 0u64);
    let from = WARM_UP_DAYS * DAY;
    for step in 0..from + options.days * DAY {
        let dids = all_step(&mut nodes, &pools, step, &budget, options.horizon, threads);
        let mut sum = Hour::default();
        for (node, did) in nodes.iter_mut().zip(dids) {
            settle(node, &mut pools, step as u64, &did, options.horizon);
            sum.services += did.services as f64 / capacity;
            sum.batch += did.batch as f64 / capacity;
            let offer = node.published.map_or(0, |p| p.offer.cpu.get());
            sum.offered += offer as f64 / capacity;
            outcome.finished += did.finished;
            outcome.finished_cpu_hours += did.finished_work / 3600.0;
            outcome.lost_cpu_hours += did.lost_work / 3600.0;
            outcome.evicted += did.evicted.len() as u64;
            batch_steps += did.pods.0;
            throttled_steps += did.pods.1;
            for pod in did.evicted {
                backlog.put_back(pod);
            }
        }
        if step >= from {
            count(&mut outcome.hours, (step - from) / 12, &sum);
        }
        if step + 1 >= from {
            schedule(&mut nodes, &mut backlog);
        }
        if (step + 1).is_multiple_of(DAY) {
            let day = (step + 1) / DAY;
            let seconds = started.elapsed().as_secs_f64();
            let used = 100.0 * (sum.services + sum.batch);
            eprintln!(
                "  day {day} of {}, {used:.0} % used now, {seconds:.0} s",
                WARM_UP_DAYS + options.days
            );
        }
    }
    let last = (from + options.days * DAY) as u64 / DAY as u64;
    outcome.kept = fleets
        .iter()
        .zip(&pools)
        .map(|(fleet, pool)| {
            let (made, broken) = pool.kept().last(options.days as u64 + 1, last);
            (fleet.scenario.short, made, broken)
        })
        .collect();
    outcome.throttled = throttled_steps as f64 / batch_steps.max(1) as f64;
    outcome.seconds = started.elapsed().as_secs_f64();
    outcome
}

fn count(hours: &mut Vec<Hour>, hour: usize, step: &Hour) {
    if hours.len() <= hour {
        hours.push(Hour::default());
    }
    if let Some(hour) = hours.last_mut() {
        hour.services += step.services / 12.0;
        hour.batch += step.batch / 12.0;
        hour.offered += step.offered / 12.0;
    }
}

/// All nodes a step further, on all threads; what a node does depends on itself and on its pool before the step only.
fn all_step(
    nodes: &mut [Node<'_>],
    pools: &[Pool],
    step: usize,
    budget: &Budget,
    horizon: Horizon,
    threads: usize,
) -> Vec<Did> {
    let size = nodes.len().div_ceil(threads.max(1)).max(1);
    let work = |nodes: &mut [Node<'_>]| -> Vec<Did> {
        nodes
            .iter_mut()
            .map(|node| {
                let pool = pools.get(node.pool);
                pool.map_or_else(Did::default, |pool| node.step(step, pool, budget, horizon))
            })
            .collect()
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = nodes
            .chunks_mut(size)
            .map(|chunk| scope.spawn(move || work(chunk)))
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| match handle.join() {
                Ok(dids) => dids,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

/// Tells the pool what came of a node's promises, and what it promises now.
fn settle(node: &mut Node<'_>, pools: &mut [Pool], step: u64, did: &Did, horizon: Horizon) {
    let Some(pool) = pools.get_mut(node.pool) else {
        return;
    };
    let learned = |score: u64| score >= DAY as u64;
    for score in did.over.iter().filter(|score| score.horizon == horizon) {
        if learned(score.step) {
            pool.over(&mut node.account, step, score);
        }
    }
    let pending: Vec<_> = node.pending(horizon).collect();
    for score in &pending {
        pool.came(&mut node.account, step, score);
    }
    if step.is_multiple_of(EVERY) && learned(step) {
        pool.promise(&mut node.account, step, did.factor);
    }
}

/// Binds pods of the backlog until none fits any more.
fn schedule(nodes: &mut [Node<'_>], backlog: &mut Backlog) {
    let mut views: Vec<ReclaimedNode> = nodes
        .iter()
        .map(|node| ReclaimedNode {
            allocatable: node.published.map_or(Reclaimed::ZERO, |p| p.offer),
            allocated: node.allocated(),
            fresh: true,
        })
        .collect();
    let mut unfit = 0;
    let mut back = Vec::new();
    while unfit < UNFIT_IN_A_ROW {
        let pod = backlog.draw();
        let first = backlog.pick(views.len());
        let best = (0..SAMPLED.min(views.len()))
            .map(|offset| (first + offset) % views.len().max(1))
            .filter_map(|at| views.get(at).map(|view| (at, view)))
            .filter(|(_, view)| fit(view, &pod.request).is_ok())
            .max_by_key(|(at, view)| {
                let rank = score(view, &pod.request, Strategy::Spread);
                (rank, std::cmp::Reverse(*at))
            })
            .map(|(at, _)| at);
        if let Some((node, view)) = best.and_then(|at| nodes.get_mut(at).zip(views.get_mut(at))) {
            view.allocated = view.allocated + pod.request;
            node.pods.push(pod);
            unfit = 0;
        } else {
            back.push(pod);
            unfit += 1;
        }
    }
    for pod in back.into_iter().rev() {
        backlog.put_back(pod);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peak::scenario::Task;

    fn fleet() -> Loaded {
        let scenario = *SCENARIOS.first().unwrap();
        let days = WARM_UP_DAYS + 2;
        let machines = (0..4u32)
            .map(|index| Machine {
                name: index.to_string(),
                tasks: (0..3u32)
                    .map(|task| Task {
                        start: 0,
                        limit: 10.0,
                        usage: (0..days * DAY)
                            .map(|at| 2.0 + f64::from(index + task) * 0.1 + (at % 7) as f64 * 0.1)
                            .collect(),
                    })
                    .collect(),
            })
            .collect();
        Loaded {
            scenario,
            machines,
            steps: days * DAY,
        }
    }

    fn options(threads: usize) -> Options {
        Options {
            traces: PathBuf::new(),
            nodes: 8,
            days: 1,
            seed: 3,
            threads,
            alpha: 0.05,
            horizon: Horizon::Hour,
        }
    }

    #[test]
    fn steady_services_leave_room_that_batch_fills_without_an_eviction() {
        let fleets = [fleet()];
        let one = simulate(&fleets, &options(1));
        let used = one.mean(|h| h.services + h.batch);
        assert!(one.mean(|h| h.services) < 0.3, "{one:?}");
        assert!(used > 0.6 && used <= 1.0, "{used}");
        assert_eq!(one.evicted, 0);
        assert!(one.finished > 0);
        // The number of threads changes nothing.
        let two = simulate(&fleets, &options(2));
        assert_eq!(one.finished, two.finished);
        assert!((used - two.mean(|h| h.services + h.batch)).abs() < 1e-12);
    }
}
