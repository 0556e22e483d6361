//! What a pod costs at the extender, over HTTP: filter and prioritize, from the first byte of the question to the last byte of the answer, as
//! kube-scheduler asks them.
//!
//! ```text
//! cargo run --release -p katalyst-scheduler-extender --example http_cost -- [--report FILE] [--rounds N] [--nodes N ...] [--only MIX]
//! ```
//! The extender's own server runs on one thread and loopback. Filter gets the names of all nodes, prioritize those that filter returned; then the pod is bound
//! over HTTP, the watch shows it, another pod ends and a node's agent reports: for the next pod some nodes are not what they were. Pods are replicas of eight
//! workloads of each kind (40 in the mix of all). "Of a new kind" are pods like no other before: nothing that was found earlier helps with them.
//!
//! Beside it, in the same run, the baseline: usage of all nodes added up anew for each request. Memory is that of the whole process.
//! `--report` writes a JSON list of `{id, shows, value, unit, bar, holds, where}`. The exit status does not depend on the bars.

mod cluster;
mod connection;
mod counting;
mod figures;
mod nodes;
mod pods;
mod recomputed;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use serde_json::{Value, json};

use cluster::{Cluster, Server};
use connection::{Connection, best_of, bound, names_of};
use figures::{Figures, Times};
use pods::{Mix, question};

/// Pods of all nodes together, at most.
const PODS: usize = 100_000;
/// Pods of a node, at most.
const PODS_OF_A_NODE: usize = 20;
/// Nodes at which memory has its bar.
const MEMORY_AT: usize = 5000;
const MEMORY_BAR: f64 = 150.0;

/// Measures filter, prioritize and bind.
#[derive(Parser)]
struct Args {
    /// Where to write the figures.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Pods of each mix.
    #[arg(long, default_value_t = 400)]
    rounds: usize,
    /// Pods of a new kind, of each mix.
    #[arg(long, default_value_t = 20)]
    new: usize,
    /// Numbers of nodes. 5,000 come first: what other sizes leave behind would count as their memory.
    #[arg(long, value_delimiter = ',', default_values_t = [5000, 500, 15_000])]
    nodes: Vec<usize>,
    /// One mix only.
    #[arg(long)]
    only: Option<String>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http_cost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let mut figures = Figures::default();
    for nodes in &args.nodes {
        measure(&mut figures, *nodes, args)?;
    }
    figures.print();
    if let Some(path) = &args.report {
        figures.write(path)?;
    }
    Ok(())
}

/// Bar for the median of filter and prioritize together, milliseconds.
fn bar(nodes: usize) -> Option<f64> {
    match nodes {
        5000 => Some(1.0),
        15_000 => Some(3.0),
        _ => None,
    }
}

fn measure(figures: &mut Figures, nodes: usize, args: &Args) -> Result<()> {
    let pods = (PODS / nodes.max(1)).min(PODS_OF_A_NODE);
    println!("{nodes} nodes, {} pods", pods * nodes);
    let before = counting::resident()?;
    let mut cluster = Cluster::new(nodes, pods)?;
    let filled = counting::resident()?;
    let server = cluster.serve()?;
    let mut asker = Asker {
        connection: Connection::open(server.address)?,
        names: (0..nodes).map(nodes::name).collect(),
        number: 0,
        odd: 0,
    };
    let only = |mix: &Mix| args.only.as_ref().is_none_or(|only| only == mix.id());
    for mix in Mix::ALL.into_iter().filter(only) {
        println!("  {}", mix.shows());
        replicas(figures, &mut cluster, &server, &mut asker, mix, args)?;
    }
    for mix in Mix::ALL.into_iter().filter(only) {
        let mut new = Times::default();
        for _ in 0..args.new {
            asker.odd += 1;
            new.add(asker.place(&mut cluster, mix)?.decided);
        }
        let shows = format!("{nodes} names, {}, each pod of a new kind", mix.shows());
        let id = format!("http-{nodes}-{}-new", mix.id());
        figures.add(
            &format!("{id}-p50"),
            &format!("{shows}, p50"),
            new.milliseconds(0.5),
            "ms",
            None,
        );
        figures.add(
            &format!("{id}-max"),
            &format!("{shows}, highest"),
            new.milliseconds(1.0),
            "ms",
            None,
        );
    }
    if nodes == MEMORY_AT {
        let shows = "resident memory, 5,000 nodes with 8 GPUs each, 100,000 pods";
        figures.add(
            "http-memory-empty",
            "resident memory before",
            before,
            "MiB",
            None,
        );
        figures.add(
            "http-memory-filled",
            &format!("{shows}, before the first question"),
            filled,
            "MiB",
            None,
        );
        figures.add(
            "http-memory",
            &format!("{shows}, after all questions"),
            counting::resident()?,
            "MiB",
            Some(MEMORY_BAR),
        );
    }
    baseline(figures, &cluster, nodes)
}

/// kube-scheduler.
struct Asker {
    connection: Connection,
    names: Vec<String>,
    number: usize,
    odd: usize,
}

/// What one pod took.
struct Cost {
    /// Filter and prioritize.
    decided: Duration,
    bind: Duration,
    allocations: u64,
    busy: Duration,
}

impl Asker {
    /// Places one pod, and lets the cluster go on.
    fn place(&mut self, cluster: &mut Cluster, mix: Mix) -> Result<Cost> {
        self.place_counted(cluster, mix, None)
    }

    fn place_counted(
        &mut self,
        cluster: &mut Cluster,
        mix: Mix,
        server: Option<&Server>,
    ) -> Result<Cost> {
        let pod = mix.pod(self.number, self.odd);
        self.number += 1;
        let asked = question(&pod, &self.names);
        let busy = || {
            server.map_or(Ok(Duration::ZERO), |server| {
                counting::cpu_time(server.thread)
            })
        };
        let (busy_before, allocated) = (busy()?, counting::allocations());
        let started = Instant::now();
        let filtered = self.connection.ask("filter", &asked)?;
        let mut decided = started.elapsed();
        let kept = names_of(&filtered)?;
        ensure!(!kept.is_empty(), "{}: no node fits {pod}", mix.shows());
        let asked = question(&pod, &kept);
        let started = Instant::now();
        let scores = self.connection.ask("prioritize", &asked)?;
        decided += started.elapsed();
        let allocations = counting::allocations() - allocated;
        let busy = busy()?.saturating_sub(busy_before);
        let binding = binding(&pod, &best_of(&scores)?);
        let started = Instant::now();
        let answer = self.connection.ask("bind", &binding)?;
        let bind = started.elapsed();
        bound(&answer)?;
        cluster.came(&pod)?;
        cluster.next_report()?;
        Ok(Cost {
            decided,
            bind,
            allocations,
            busy,
        })
    }
}

fn binding(pod: &Value, node: &str) -> Vec<u8> {
    let metadata = pod.get("metadata");
    let of = |field: &str| metadata.and_then(|metadata| metadata.get(field));
    json!({"PodName": of("name"), "PodNamespace": of("namespace"), "PodUID": of("uid"), "Node": node})
        .to_string()
        .into_bytes()
}

fn replicas(
    figures: &mut Figures,
    cluster: &mut Cluster,
    server: &Server,
    asker: &mut Asker,
    mix: Mix,
    args: &Args,
) -> Result<()> {
    let nodes = asker.names.len();
    asker.odd = 0;
    let mut first = Times::default();
    for _ in 0..mix.workloads() {
        first.add(asker.place(cluster, mix)?.decided);
    }
    let (mut decided, mut binds) = (Times::default(), Times::default());
    let (mut allocations, mut busy) = (0, Duration::ZERO);
    for _ in 0..args.rounds {
        let cost = asker.place_counted(cluster, mix, Some(server))?;
        decided.add(cost.decided);
        binds.add(cost.bind);
        allocations += cost.allocations;
        busy += cost.busy;
    }
    let shows = |what: &str| format!("{nodes} names, {}, {what}", mix.shows());
    let id = |what: &str| format!("http-{nodes}-{}-{what}", mix.id());
    let rounds = args.rounds.max(1) as f64;
    figures.add(
        &id("p50"),
        &shows("filter + prioritize, p50"),
        decided.milliseconds(0.5),
        "ms",
        bar(nodes),
    );
    figures.add(
        &id("p99"),
        &shows("filter + prioritize, p99"),
        decided.milliseconds(0.99),
        "ms",
        None,
    );
    figures.add(
        &id("allocations"),
        &shows("allocations a pod"),
        allocations as f64 / rounds,
        "count",
        None,
    );
    figures.add(
        &id("rate"),
        &shows("decisions a second on one core"),
        rounds / busy.as_secs_f64(),
        "1/s",
        None,
    );
    figures.add(
        &id("bind"),
        &shows("bind, p50"),
        binds.milliseconds(0.5),
        "ms",
        None,
    );
    if mix != Mix::All {
        figures.add(
            &id("first"),
            &shows("first of each workload, highest"),
            first.milliseconds(1.0),
            "ms",
            None,
        );
    }
    Ok(())
}

/// The same question, answered from usage that is added up for it.
fn baseline(figures: &mut Figures, cluster: &Cluster, nodes: usize) -> Result<()> {
    let server = recomputed::start(cluster, nodes)?;
    let mut connection = Connection::open(server.address)?;
    let names: Vec<String> = (0..nodes).map(nodes::name).collect();
    let mut times = Times::default();
    for number in 0..40 {
        let asked = question(&Mix::Share.pod(number, 0), &names);
        let started = Instant::now();
        let answer = connection.ask("filter", &asked)?;
        times.add(started.elapsed());
        ensure!(names_of(&answer)?.len() == 1, "the baseline found nothing");
    }
    drop(connection);
    let shows =
        format!("{nodes} names, part of a GPU, usage of all nodes added up for each pod, p50");
    figures.add(
        &format!("http-{nodes}-recomputed-p50"),
        &shows,
        times.milliseconds(0.5),
        "ms",
        None,
    );
    let ours = figures.value(&format!("http-{nodes}-share-p50"));
    if let Some(ours) = ours.filter(|ours| *ours > 0.0) {
        let shows = format!("{nodes} names, part of a GPU, how much longer that takes");
        figures.add(
            &format!("http-{nodes}-recomputed-ratio"),
            &shows,
            times.milliseconds(0.5) / ours,
            "times",
            None,
        );
    }
    Ok(())
}
