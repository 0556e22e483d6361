//! All runs of the command: every trace and seed, through every harness, on all processors.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail};
use katalyst_core::packing::{
    Arrivals, BestFit, ClassTable, Fgd, PackingPolicy, PolicyName, Rounding,
};

use super::choose::Chooser;
use super::cluster::{Numbered, number};
use super::departures::{Lived, live};
use super::fill::{Filled, Learning, Setting, fill};
use super::golden;
use super::trace::{self, BadRow, Models, TraceNode, TracePod};
use super::workload::{Workload, oracle};

/// Pods from which classes are learned where pods leave.
const WINDOW: usize = 2000;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of the traces, or its parent.
    pub folder: PathBuf,
    /// Seeds.
    pub seeds: Vec<i64>,
    /// Names of traces, with or without `openb_pod_list_`; all when empty.
    pub traces: Vec<String>,
    /// The policy that is judged.
    pub policy: PolicyName,
    /// Load where pods leave, in times the cluster's compute.
    pub load: f64,
    /// Rules besides the published ones; all when empty.
    pub rules: Vec<Harness>,
    /// Threads; as many as there are processors when zero.
    pub threads: usize,
}

/// A policy of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The reference of the benchmark.
    BestFit,
    /// The published best.
    Fgd,
    /// The judged one.
    Ours(PolicyName),
}

impl Which {
    /// Name in reports: the benchmark's for the references.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BestFit => "05-BestFit",
            Self::Fgd => "06-FGD",
            Self::Ours(PolicyName::BestFit) => "07-best-fit",
            Self::Ours(PolicyName::Fgd) => "07-fgd",
            Self::Ours(PolicyName::Rollout) => "07-rollout",
        }
    }

    fn policy(self, rounding: Rounding) -> Box<dyn PackingPolicy> {
        match self {
            Self::BestFit => Box::new(BestFit {
                rounding,
                ..BestFit::default()
            }),
            Self::Fgd => Box::new(Fgd::new(rounding)),
            Self::Ours(name) => name.policy(),
        }
    }
}

/// The rules of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Harness {
    /// The published benchmark.
    Published,
    /// Filling, under kube-scheduler's rules.
    Kube,
    /// Pods leave.
    Departures,
}

/// What a run gave.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Filling.
    Filled(Box<Filled>),
    /// Pods left; `None` when the trace has no lifetimes.
    Lived(Option<Lived>),
}

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Name of the trace.
    pub trace: String,
    /// Its seed.
    pub seed: i64,
    /// Its rules.
    pub harness: Harness,
    /// Its policy.
    pub which: Which,
    /// What it gave.
    pub outcome: Outcome,
}

/// A trace that was read.
struct Loaded {
    name: String,
    pods: Vec<TracePod>,
    classes: Vec<Numbered>,
    oracle: ClassTable,
}

/// Everything that ran.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    /// In no order.
    pub runs: Vec<Run>,
    /// Rows that were left out.
    pub bad_rows: Vec<BadRow>,
    /// Published runs that were reproduced.
    pub golden: usize,
    /// Traces about which nothing was published.
    pub without_golden: Vec<String>,
}

fn load(options: &Options) -> anyhow::Result<(Vec<TraceNode>, Vec<Loaded>, Vec<BadRow>)> {
    let folder = trace::find(&options.folder)?;
    let mut models = Models::default();
    let (nodes, mut bad) = trace::nodes(&folder.nodes, &mut models)?;
    let mut loaded = Vec::new();
    for (name, path) in &folder.pods {
        let short = name.trim_start_matches("openb_pod_list_");
        let wanted = options.traces.is_empty()
            || options
                .traces
                .iter()
                .any(|trace| trace == name || trace == short);
        if !wanted {
            continue;
        }
        let (pods, more) = trace::pods(path, &mut models)?;
        bad.extend(more);
        loaded.push(Loaded {
            name: name.clone(),
            classes: number(&pods),
            oracle: oracle(&pods),
            pods,
        });
    }
    if loaded.is_empty() {
        bail!(
            "none of the traces {:?} is in {}",
            options.traces,
            options.folder.display()
        );
    }
    Ok((nodes, loaded, bad))
}

/// One cell of the table, to be run.
struct Job<'a> {
    trace: &'a Loaded,
    seed: i64,
    harness: Harness,
    which: Which,
}

fn one(job: &Job<'_>, nodes: &[TraceNode], load: f64) -> Outcome {
    let setting = Setting {
        nodes,
        pods: &job.trace.pods,
        classes: &job.trace.classes,
        oracle: &job.trace.oracle,
    };
    let dice = job.seed as u64;
    match job.harness {
        Harness::Published => {
            let workload = Workload::draw(setting.pods, nodes, job.seed);
            let chooser = Chooser::LowestRank(workload.by_rank.clone());
            let policy = job.which.policy(Rounding::Down(100));
            Outcome::Filled(Box::new(fill(
                &setting,
                &workload,
                policy.as_ref(),
                Learning::Oracle,
                chooser,
            )))
        }
        Harness::Kube => {
            let workload = Workload::draw(setting.pods, nodes, job.seed);
            let chooser = Chooser::sampled(workload.by_rank.clone(), dice);
            let policy = job.which.policy(Rounding::None);
            Outcome::Filled(Box::new(fill(
                &setting,
                &workload,
                policy.as_ref(),
                Learning::Online(Arrivals::cumulative()),
                chooser,
            )))
        }
        Harness::Departures => {
            let policy = job.which.policy(Rounding::None);
            let arrivals = Arrivals::sliding(WINDOW);
            Outcome::Lived(live(&setting, dice, load, policy.as_ref(), arrivals))
        }
    }
}

fn work(jobs: &[Job<'_>], nodes: &[TraceNode], options: &Options) -> Vec<Run> {
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs.len()));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = one(job, nodes, options.load);
                    let mut done = done
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                    done.push(Run {
                        trace: job.trace.name.clone(),
                        seed: job.seed,
                        harness: job.harness,
                        which: job.which,
                        outcome,
                    });
                    if done.len().is_multiple_of(10) || done.len() == jobs.len() {
                        eprintln!(
                            "  {} of {} runs, {:.0} s",
                            done.len(),
                            jobs.len(),
                            started.elapsed().as_secs_f64()
                        );
                    }
                }
            });
        }
    });
    done.into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs everything. Fails when a published result is not reproduced.
pub fn run(options: &Options) -> anyhow::Result<Runs> {
    let (nodes, traces, bad_rows) =
        load(options).with_context(|| format!("traces in {}", options.folder.display()))?;
    for row in &bad_rows {
        eprintln!("left out: {row}");
    }
    let jobs = |cells: &[(Harness, Which)]| -> Vec<Job<'_>> {
        traces
            .iter()
            .flat_map(|trace| {
                cells.iter().flat_map(move |(harness, which)| {
                    options.seeds.iter().map(move |seed| Job {
                        trace,
                        seed: *seed,
                        harness: *harness,
                        which: *which,
                    })
                })
            })
            .collect()
    };
    eprintln!("published results first:");
    let references = jobs(&[
        (Harness::Published, Which::BestFit),
        (Harness::Published, Which::Fgd),
    ]);
    let mut runs = work(&references, &nodes, options);
    let mut golden = 0;
    let mut without_golden = Vec::new();
    for run in &runs {
        if let Outcome::Filled(filled) = &run.outcome {
            let known = golden::check(&run.trace, run.which.label(), run.seed, filled)
                .map_err(anyhow::Error::msg)
                .context("a published result is not reproduced")?;
            if known {
                golden += 1;
            } else if !without_golden.contains(&run.trace) {
                without_golden.push(run.trace.clone());
            }
        }
    }
    println!(
        "golden: {golden} of {} runs of BestFit and FGD equal what was published",
        runs.len()
    );
    for trace in &without_golden {
        println!("golden: nothing was published about {trace}");
    }
    let ours = Which::Ours(options.policy);
    let cells: Vec<(Harness, Which)> = [
        (Harness::Kube, Which::BestFit),
        (Harness::Kube, Which::Fgd),
        (Harness::Kube, ours),
        (Harness::Departures, Which::BestFit),
        (Harness::Departures, Which::Fgd),
        (Harness::Departures, ours),
        (Harness::Published, ours),
    ]
    .into_iter()
    .filter(|(rules, _)| options.rules.is_empty() || options.rules.contains(rules))
    .collect();
    let rest = jobs(&cells);
    runs.extend(work(&rest, &nodes, options));
    Ok(Runs {
        runs,
        bad_rows,
        golden,
        without_golden,
    })
}
