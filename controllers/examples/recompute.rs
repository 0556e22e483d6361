//! How long the capacity controller needs to recompute N nodes, through index and planner, without an API server.
//!
//! ```text
//! cargo run --release -p katalyst-controllers --example recompute -- --nodes 1000 --report /tmp/recompute.json
//! ```
//!
//! A round is what happens when every agent reports at once: each CNR enters the index as the JSON that a watch delivers, every
//! node is planned, and every write is answered. Rounds come in threes: services calm down and every offer rises, nothing changes,
//! services surge and every offer falls. Medians over the rounds of a kind.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use katalyst_controllers::capacity::Pace;
use katalyst_controllers::index::{CnrFacts, Index, NodeFacts, PodFacts, PodKey};
use katalyst_controllers::plan::{Planner, Rules};
use katalyst_core::capacity::Params;
use katalyst_core::reclaimed::Reclaimed;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

/// Measures the recompute of many nodes.
#[derive(Parser)]
struct Args {
    /// Nodes.
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// Reclaimed pods on each node.
    #[arg(long, default_value_t = 10)]
    pods: usize,
    /// Rounds.
    #[arg(long, default_value_t = 63)]
    rounds: u32,
    /// The bar: a whole round over all nodes in milliseconds.
    #[arg(long, default_value_t = 1000.0)]
    bar_ms: f64,
    /// Where the figures are written as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
}

struct Cluster {
    index: Index,
    planner: Planner,
    statuses: Vec<Value>,
    rng: StdRng,
    version: u64,
}

/// Milliseconds of the parts of one round.
struct Round {
    intake: f64,
    plan: f64,
    writes: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(
        args.nodes > 0 && args.rounds > 0,
        "there is nothing to measure"
    );
    let mut cluster = Cluster::new(&args);
    // The first three create and first write everything.
    for round in 0..3 {
        cluster.round(round);
    }
    let (mut calm, mut quiet, mut surge) = (Vec::new(), Vec::new(), Vec::new());
    for round in 3..3 + args.rounds.next_multiple_of(3) {
        let measured = cluster.round(round);
        match round % 3 {
            0 => calm.push(measured),
            1 => quiet.push(measured),
            _ => surge.push(measured),
        }
    }
    ensure!(
        surge
            .iter()
            .chain(&calm)
            .all(|round| round.writes == args.nodes),
        "every node must be written when its offer moves"
    );
    ensure!(
        quiet.iter().all(|round| round.writes == 0),
        "nothing may be written when nothing changed"
    );

    let whole = |round: &Round| round.intake + round.plan;
    let figures = [
        (
            "recompute-surge",
            "all nodes report and every offer falls: intake and plan of every write",
            median(&surge, whole),
        ),
        (
            "recompute-surge-plan",
            "of that, the plan alone",
            median(&surge, |round| round.plan),
        ),
        (
            "recompute-quiet",
            "all nodes report and nothing has to be written",
            median(&quiet, whole),
        ),
    ];
    println!(
        "{} nodes with {} reclaimed pods each, median of {} rounds:",
        args.nodes, args.pods, args.rounds
    );
    for (id, shows, value) in figures {
        println!("  {id:<22} {value:>9.2} ms   {shows}");
    }
    println!("  resident memory        {:>9.1} MiB", resident_mib());
    if let Some(path) = &args.report {
        let list: Vec<Value> = figures
            .iter()
            .map(|(id, shows, value)| {
                json!({
                    "id": format!("controllers-{id}-{}", args.nodes),
                    "shows": format!("{} nodes: {shows}", args.nodes),
                    "value": value,
                    "unit": "ms",
                    "bar": args.bar_ms,
                    "holds": *value <= args.bar_ms,
                    "where": "controllers/examples/recompute.rs",
                })
            })
            .collect();
        std::fs::write(path, serde_json::to_vec_pretty(&list)?)
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

impl Cluster {
    fn new(args: &Args) -> Self {
        let rules = Rules {
            params: Params::default(),
            pace: Pace::default(),
            grace_seconds: 0.0,
        };
        let mut index = Index::default();
        for number in 0..args.nodes {
            index.apply_node(NodeFacts {
                name: name(number),
                uid: format!("uid-{number}"),
                labels: [("kubernetes.io/hostname".to_owned(), name(number))].into(),
                terminating: false,
            });
            for pod in 0..args.pods {
                let facts = PodFacts {
                    node: name(number),
                    request: Reclaimed::new(10, 1 << 20),
                };
                index.apply_pod(
                    PodKey::new("batch", &format!("pod-{number}-{pod}")),
                    Some(facts),
                );
            }
        }
        Self {
            index,
            planner: Planner::new(rules, 0.0),
            statuses: vec![json!({}); args.nodes],
            rng: StdRng::seed_from_u64(1),
            version: 0,
        }
    }

    fn round(&mut self, round: u32) -> Round {
        let now = 1_800_000_000.0 + f64::from(round) * 600.0;
        // Services take 10 of 64 CPUs, in every third round 40.
        let peak = if round % 3 == 2 { "40" } else { "10" };
        let watched: Vec<Vec<u8>> = (0..self.statuses.len())
            .map(|number| self.cnr(number, now, peak))
            .filter_map(|cnr| serde_json::to_vec(&cnr).ok())
            .collect();

        let started = Instant::now();
        for bytes in &watched {
            if let Some(facts) = serde_json::from_slice(bytes).ok().and_then(CnrFacts::read) {
                self.index.apply_cnr(facts, now);
            }
        }
        let intake = milliseconds(started);

        let started = Instant::now();
        let dirty = self.index.take_dirty();
        let views: Vec<_> = dirty
            .iter()
            .filter_map(|name| self.index.view(name, now))
            .collect();
        let writes: Vec<_> = views
            .iter()
            .filter_map(|view| self.planner.plan(view, now))
            .collect();
        for write in &writes {
            self.planner.written(write, now, &mut self.rng);
        }
        let plan = milliseconds(started);

        for write in &writes {
            let number = write
                .name
                .strip_prefix("node-")
                .and_then(|number| number.parse::<usize>().ok());
            if let (Some(number), Some(status)) = (number, write.body.get("status"))
                && let Some(held) = self.statuses.get_mut(number)
            {
                *held = status.clone();
            }
        }
        Round {
            intake,
            plan,
            writes: writes.len(),
        }
    }

    fn cnr(&mut self, number: usize, now: f64, peak: &str) -> Value {
        self.version += 1;
        let mut status = self.statuses.get(number).cloned().unwrap_or_default();
        let stamp = jiff::Timestamp::from_second(now as i64).unwrap_or_default();
        if let Some(status) = status.as_object_mut() {
            status.insert(
                "nodeMetricStatus".to_owned(),
                json!({
                    "updateTime": stamp.to_string(),
                    "capacity": {"cpu": "64", "memory": "256Gi"},
                    "servicePeak": {
                        "windowSeconds": 300, "filledSeconds": 300, "samples": 300, "usage": {"cpu": peak, "memory": "64Gi"},
                    },
                    "nodeMetric": {"genericUsage": {"cpu": peak, "memory": "64Gi"}},
                    "agent": {"version": "0.1.0", "cgroup": "v2"},
                }),
            );
        }
        json!({
            "apiVersion": "node.katalyst.kubewharf.io/v1alpha1",
            "kind": "CustomNodeResource",
            "metadata": {
                "name": name(number),
                "uid": format!("cnr-{number}"),
                "resourceVersion": self.version.to_string(),
                "labels": {"kubernetes.io/hostname": name(number)},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name(number), "uid": format!("uid-{number}")}],
            },
            "spec": {},
            "status": status,
        })
    }
}

fn name(number: usize) -> String {
    format!("node-{number}")
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn median(rounds: &[Round], pick: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(pick).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Resident memory of this process in MiB, zero where `/proc` does not say.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<f64>()
            .ok()
    });
    kib.unwrap_or_default() / 1024.0
}
