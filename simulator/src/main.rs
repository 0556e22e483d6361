//! `katalyst-simulator`: what the product's decisions would have done on recorded load and recorded clusters.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use katalyst_core::capacity::Params;
use katalyst_core::packing::PolicyName;
use katalyst_core::prediction::conformal::Horizon;
use katalyst_simulator::cluster;
use katalyst_simulator::gpu::report;
use katalyst_simulator::gpu::run::{Harness, Options, Which};
use katalyst_simulator::peak;
use katalyst_simulator::replay::{Outcome, Setting, combine, replay};
use katalyst_simulator::trace::{self, Traces};
use serde_json::json;

/// Replays recorded load through the product's own decisions.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What the capacity estimator would have offered, and how often services would have needed it back.
    Replay {
        /// Folder of traces; without it (or where it is missing) a synthetic load stands in.
        #[arg(long, env = "TRACES", default_value = "../shared/data")]
        traces: PathBuf,
        /// Windows of the service peak to compare, in seconds.
        #[arg(long, value_delimiter = ',', default_values_t = [300.0, 3600.0, 86_400.0])]
        windows: Vec<f64>,
        /// Margins on top of the peak to compare.
        #[arg(long, value_delimiter = ',', default_values_t = [0.0, 0.1, 0.25])]
        margins: Vec<f64>,
        /// Write the figures as JSON too.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// How much the peak predictors save on recorded load, and how often, how far and where more was needed than they said.
    Peak(PeakCommand),
    /// A whole cluster through a week: services from recorded load, a batch backlog, and every decision about a batch pod.
    Cluster(ClusterCommand),
    /// How well packing policies fill a cluster with GPUs: the published benchmark, kube-scheduler's rules, and pods that leave.
    Gpu {
        /// Folder with `openb_node_list_gpu_node.csv` and `openb_pod_list_*.csv`, or its parent.
        #[arg(long, env = "OPENB", default_value = "../shared/data/openb")]
        openb: PathBuf,
        /// Seeds, 42 and on.
        #[arg(long, default_value_t = 10)]
        seeds: u16,
        /// Only these traces (`default,cpu250`).
        #[arg(long, value_delimiter = ',')]
        traces: Vec<String>,
        /// The policy that is judged against BestFit and FGD.
        #[arg(long, default_value_t)]
        packing_policy: PolicyName,
        /// Compute asked for over the cluster's, where pods leave.
        #[arg(long, default_value_t = 1.0)]
        load: f64,
        /// Only these rules, after the published results of the references (`kube,departures`).
        #[arg(long, value_delimiter = ',')]
        rules: Vec<Harness>,
        /// Threads; 0 for one a processor.
        #[arg(long, default_value_t = 0)]
        threads: usize,
        /// Write every curve, in the columns of the published results.
        #[arg(long, value_name = "FILE")]
        csv: Option<PathBuf>,
        /// Write the claims as JSON.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
}

/// Options of `peak`.
#[derive(Debug, Args)]
struct PeakCommand {
    /// Folder of traces, or its parent.
    #[arg(long, env = "TRACES", default_value = "../shared/data")]
    traces: PathBuf,
    /// Published rows of the reference predictors, which must be reproduced first.
    #[arg(long, env = "REFERENCE", value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Only scenarios whose name contains one of these (`bb-sized,g11`).
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Leave the reference predictors out.
    #[arg(long)]
    ours_only: bool,
    /// Threads; 0 for one a processor.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Write the whole table, in the columns of the published one.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the claims as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Options of `cluster`.
#[derive(Debug, Args)]
struct ClusterCommand {
    /// Folder of traces, or its parent.
    #[arg(long, env = "TRACES", default_value = "../shared/data")]
    traces: PathBuf,
    /// Nodes.
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// Days with batch work, after seven without.
    #[arg(long, default_value_t = 7)]
    days: usize,
    /// Seed of the backlog.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of time in which services may go above what was predicted.
    #[arg(long, default_value_t = 0.05)]
    budget: f64,
    /// Predict a day ahead instead of an hour.
    #[arg(long)]
    day: bool,
    /// Threads; 0 for one a processor.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Write a picture.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the claims as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

fn cluster(command: &ClusterCommand) -> anyhow::Result<()> {
    let options = cluster::run::Options {
        traces: command.traces.clone(),
        nodes: command.nodes,
        days: command.days,
        seed: command.seed,
        threads: command.threads,
        alpha: command.budget,
        horizon: if command.day {
            Horizon::Day
        } else {
            Horizon::Hour
        },
    };
    let outcome = cluster::run::run(&options)?;
    println!("{}", cluster::report::table(&outcome));
    let claims = cluster::report::claims(&outcome, &options);
    for claim in &claims {
        println!("{}", peak::report::line(claim));
    }
    if let Some(path) = &command.svg {
        write(path, &cluster::report::picture(&outcome))?;
    }
    if let Some(path) = &command.report {
        write(path, &serde_json::to_string_pretty(&claims)?)?;
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Peak(command) => peak(&command),
        Command::Cluster(command) => cluster(&command),
        Command::Replay {
            traces,
            windows,
            margins,
            report,
        } => replays(&traces, &windows, &margins, report.as_deref()),
        Command::Gpu {
            openb,
            seeds,
            traces,
            packing_policy,
            load,
            rules,
            threads,
            csv,
            report,
        } => {
            let options = Options {
                folder: openb,
                seeds: (42..42 + i64::from(seeds)).collect(),
                traces,
                policy: packing_policy,
                load,
                rules,
                threads,
            };
            gpu(&options, csv.as_deref(), report.as_deref())
        }
    }
}

fn peak(command: &PeakCommand) -> anyhow::Result<()> {
    let options = peak::run::Options {
        traces: command.traces.clone(),
        only: command.only.clone(),
        threads: command.threads,
        references: !command.ours_only,
    };
    let entries = peak::run::run(&options)?;
    let mut claims = Vec::new();
    if let Some(path) = &command.reference {
        let published = peak::reference::read(path)?;
        let found = peak::reference::compare(&peak::run::by_key(&entries), &published);
        let claim = peak::report::reproduced(&found);
        println!("{}", peak::report::line(&claim));
        for key in &found.missing {
            println!("missing: {}", key.join(", "));
        }
        claims.push(claim);
    }
    println!("{}", peak::report::table(&entries));
    claims.extend(peak::report::claims(&entries));
    for claim in &claims {
        println!("{}", peak::report::line(claim));
    }
    if let Some(path) = &command.csv {
        write(path, &peak::report::csv(&entries))?;
        for (name, picture) in peak::picture::all(&entries) {
            write(&path.with_file_name(name), &picture)?;
        }
    }
    if let Some(path) = &command.report {
        write(path, &serde_json::to_string_pretty(&claims)?)?;
    }
    Ok(())
}

fn gpu(options: &Options, csv: Option<&Path>, report: Option<&Path>) -> anyhow::Result<()> {
    let runs = katalyst_simulator::gpu::run::run(options)?;
    let ours = Which::Ours(options.policy);
    println!("{}", report::table(&runs, ours)?);
    let claims = report::claims(&runs, ours);
    for claim in &claims {
        println!(
            "{} {} = {:.2} {} (bar {})",
            match claim.get("holds").and_then(serde_json::Value::as_bool) {
                Some(true) => "holds",
                Some(false) => "FAILS",
                None => "-    ",
            },
            claim
                .get("id")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default(),
            claim
                .get("value")
                .and_then(serde_json::Value::as_f64)
                .unwrap_or(f64::NAN),
            claim
                .get("unit")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default(),
            claim
                .get("bar")
                .map(ToString::to_string)
                .unwrap_or_default(),
        );
    }
    if let Some(path) = csv {
        write(path, &report::csv(&runs, ours))?;
    }
    if let Some(path) = report {
        write(path, &serde_json::to_string_pretty(&claims)?)?;
    }
    Ok(())
}

fn replays(
    traces: &Path,
    windows: &[f64],
    margins: &[f64],
    report: Option<&Path>,
) -> anyhow::Result<()> {
    let sets = load(traces)?;
    println!(
        "{:<42} {:>8} {:>7} {:>7} {:>9} {:>10} {:>8}",
        "load", "window", "margin", "free", "offered", "too much", "by"
    );
    let mut rows = Vec::new();
    for set in &sets {
        for window_seconds in windows {
            for margin in margins {
                let setting = Setting {
                    params: Params {
                        margin: *margin,
                        ..Params::default()
                    },
                    window_seconds: *window_seconds,
                };
                let outcomes: Vec<Outcome> = set
                    .machines
                    .iter()
                    .map(|machine| replay(machine, set.interval_seconds, &setting))
                    .collect();
                let all = combine(&outcomes);
                println!(
                    "{:<42} {window_seconds:>6.0} s {margin:>7.2} {:>6.1}% {:>8.1}% {:>9.2}% {:>7.2}%",
                    set.origin,
                    all.free * 100.0,
                    all.offered * 100.0,
                    all.exceeded * 100.0,
                    all.depth * 100.0
                );
                for (what, value) in [("offered", all.offered), ("exceeded", all.exceeded)] {
                    rows.push(json!({
                        "id": format!("replay-{what}-{window_seconds}-{margin}"),
                        "shows": format!("{what} with a window of {window_seconds} s and a margin of {margin}"),
                        "value": value, "unit": "fraction", "bar": "-", "holds": null,
                        "where": format!("{}, {} machines, {} samples", set.origin, set.machines.len(), all.samples),
                    }));
                }
            }
        }
    }
    println!(
        "free: left by services; offered: by us; too much: samples in which services needed part of the offer back, and how much of the machine that was"
    );
    if let Some(path) = report {
        write(path, &serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(())
}

fn load(folder: &Path) -> anyhow::Result<Vec<Traces>> {
    // The folder itself, or the one that holds it.
    let Some(folder) = [folder.to_owned(), folder.join("traces")]
        .into_iter()
        .find(|f| f.join("placement_static.csv").is_file())
    else {
        println!(
            "no traces in {}: a synthetic load stands in",
            folder.display()
        );
        return Ok(vec![trace::synthetic(1, 40, 11, 14)]);
    };
    // The date in a file's name differs between sets of traces.
    let mut files: Vec<String> = std::fs::read_dir(&folder)?
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    files.sort();
    [
        ("azure2017", "cpu_azure2017_max"),
        ("bitbrains", "cpu_bitbrains"),
    ]
    .into_iter()
    .filter_map(|(dataset, prefix)| {
        files
            .iter()
            .find(|file| file.starts_with(prefix))
            .map(|file| (dataset, file))
    })
    .map(|(dataset, file)| {
        trace::read(&folder, dataset, file).with_context(|| format!("traces of {dataset}"))
    })
    .collect()
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
