//! What one filter question costs, from the bytes of the question to the bytes of the answer, without HTTP.
//!
//! ```text
//! cargo run --release -p katalyst-scheduler-extender --example filter_cost -- [--report FILE] [--rounds N]
//! ```
//! `--report` writes a JSON list of `{id, shows, value, unit, bar, holds, where}`.

use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use katalyst_core::reclaimed::Reclaimed;
use katalyst_runtime::Process;
use katalyst_runtime::logging::LogControl;
use katalyst_scheduler_extender::COMPONENT;
use katalyst_scheduler_extender::extender::Extender;
use katalyst_scheduler_extender::ledger::{Ledger, Offer, Report};
use katalyst_scheduler_extender::metrics::{ExtenderMetrics, Outcome};
use katalyst_scheduler_extender::policy::Policy;
use katalyst_scheduler_extender::verbs::bind::{BindTimeouts, Binder};
use serde_json::{Value, json};

/// kube-scheduler's serial cycle takes 1.2 to 1.5 ms a pod without an extender; a fifth of it is what filter may add.
const BAR_MICROSECONDS: f64 = 300.0;

/// Measures filter over 1,000 and 5,000 nodes.
#[derive(Parser)]
struct Args {
    /// Where to write the figures.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Questions of each kind.
    #[arg(long, default_value_t = 400)]
    rounds: usize,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("filter_cost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let _entered = runtime.enter();
    let mut figures = Vec::new();
    for (nodes, asked) in [(1000, 420), (1000, 1000), (5000, 500), (5000, 5000)] {
        for (case, room, expected) in [("fits", 64, Outcome::Ok), ("full", 0, Outcome::Rejected)] {
            let median = measure(nodes, asked, room, expected, args.rounds)?;
            let microseconds = median.as_secs_f64() * 1e6;
            println!(
                "{asked:>5} of {nodes} nodes, {case}: median {microseconds:>8.1} us a question"
            );
            // The bar is for what kube-scheduler asks in the usual case: up to a thousand names of which some fit.
            let bar = (case == "fits" && asked <= 1000).then_some(BAR_MICROSECONDS);
            figures.push(json!({
                "id": format!("extender-filter-{nodes}-{asked}-{case}"),
                "shows": format!("filter over {asked} of {nodes} nodes, {case}, bytes in to bytes out, median"),
                "value": (microseconds * 10.0).round() / 10.0,
                "unit": "us",
                "bar": bar,
                "holds": bar.is_none_or(|bar| microseconds <= bar),
                "where": "scheduler-extender/examples/filter_cost.rs",
            }));
        }
    }
    if let Some(path) = &args.report {
        std::fs::write(path, serde_json::to_vec_pretty(&Value::Array(figures))?)
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn node(index: usize) -> String {
    format!("cluster-pool-a-node-{index:05}")
}

fn extender(nodes: usize, pods_of_room: u64) -> Extender {
    let now = 1_000_000;
    let ledger = Ledger::new(90_000);
    ledger.begin_offers();
    for index in 0..nodes {
        let spread = pods_of_room * (1 + (index as u64 % 7));
        let allocatable = Reclaimed::new(spread * 1000, spread << 30);
        ledger.offer(
            &node(index),
            Offer::Known(Report {
                allocatable,
                agent_ready: true,
                reported: now,
                ..Report::default()
            }),
            now,
        );
    }
    ledger.finish_offers();
    let process = Process::new(COMPONENT, LogControl::detached());
    let nowhere = tower::service_fn(|_request: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, _>(std::io::Error::other(
            "the benchmark makes no calls",
        ))
    });
    let binder = Binder::new(
        kube::Client::new(nowhere, "default"),
        BindTimeouts::default(),
    );
    Extender::new(
        Arc::new(ledger),
        Policy::default(),
        binder,
        ExtenderMetrics::new(&process.metrics),
        Arc::new(move || now),
    )
}

fn question(asked: usize, pod: usize) -> Vec<u8> {
    let amounts = json!({
        "resource.katalyst.kubewharf.io/reclaimed_millicpu": "1k",
        "resource.katalyst.kubewharf.io/reclaimed_memory": "1Gi",
    });
    let pod = json!({
        "metadata": {
            "name": format!("batch-{pod}"), "namespace": "analytics", "uid": format!("0f4f1f6e-6d52-4a5e-9c42-{pod:012}"),
            "annotations": {"katalyst.kubewharf.io/qos_level": "reclaimed_cores"},
            "labels": {"app": "batch", "pod-template-hash": "7d9c4"},
        },
        "spec": {
            "containers": [{"name": "work", "image": "registry/batch:1", "resources": {"requests": amounts, "limits": amounts}}],
            "schedulerName": "default-scheduler", "priority": 0,
        },
        "status": {"phase": "Pending"},
    });
    let names: Vec<String> = (0..asked).map(node).collect();
    json!({"Pod": pod, "Nodes": null, "NodeNames": names})
        .to_string()
        .into_bytes()
}

fn measure(
    nodes: usize,
    asked: usize,
    room: u64,
    expected: Outcome,
    rounds: usize,
) -> Result<Duration> {
    let extender = extender(nodes, room);
    let questions: Vec<Vec<u8>> = (0..16).map(|pod| question(asked, pod)).collect();
    let mut times = Vec::with_capacity(rounds);
    for body in questions.iter().cycle().take(rounds.max(1)) {
        let started = Instant::now();
        let (outcome, answer) = extender.filter(body);
        black_box(answer?);
        times.push(started.elapsed());
        ensure!(
            outcome == expected,
            "filter answered {outcome:?} instead of {expected:?}"
        );
    }
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .copied()
        .context("no round was run")
}
