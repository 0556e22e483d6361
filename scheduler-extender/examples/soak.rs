//! Plays many random interleavings of the model in `tests/model`, seed after seed, and stops at the first finding.
//!
//! ```text
//! cargo run --release -p katalyst-scheduler-extender --example soak -- [--interleavings N] [--first SEED] [--report FILE]
//! ```
//! The same seeds give the same interleavings. A finding is printed with its seed and steps, and the exit status is 1.

#[path = "../tests/model/mod.rs"]
mod model;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use model::{Step, World, random_step};

/// Looks for an order of events in which something is given twice.
#[derive(Parser)]
struct Args {
    /// How many interleavings.
    #[arg(long, default_value_t = 1_000_000)]
    interleavings: u64,
    /// Steps of each.
    #[arg(long, default_value_t = 60)]
    steps: usize,
    /// Seed of the first; the others follow it.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Where to write the figures.
    #[arg(long)]
    report: Option<PathBuf>,
}

#[derive(Default)]
struct Counts {
    played: AtomicU64,
    bound: AtomicU64,
    placed: AtomicU64,
    stop: AtomicBool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let (counts, started) = (Counts::default(), Instant::now());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let finding = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let counts = &counts;
                scope.spawn(move || {
                    (args.first..args.first + args.interleavings)
                        .skip(worker as usize)
                        .step_by(threads as usize)
                        .find_map(|seed| play(seed, args.steps, counts))
                })
            })
            .collect();
        let found = workers.into_iter().filter_map(|worker| worker.join().ok()?);
        found.min()
    });
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (played, bound, placed) = (get(&counts.played), get(&counts.bound), get(&counts.placed));
    println!(
        "{played} interleavings of {} steps, {bound} bindings took effect, {placed} of them with devices or NUMA nodes, {:.0} s",
        args.steps,
        started.elapsed().as_secs_f64()
    );
    if let Some((seed, text)) = &finding {
        println!("FOUND with seed {seed}: {text}");
    } else {
        println!("nothing was given twice, nothing was lost");
    }
    if let Some(path) = &args.report {
        let place = "scheduler-extender/examples/soak.rs";
        let figures = json!([
            {"id": "soak-findings", "shows": "interleavings in which something was given twice, lost or miscounted", "value": u8::from(finding.is_some()), "unit": "count", "bar": "<= 0", "holds": finding.is_none(), "where": place},
            {"id": "soak-interleavings", "shows": "interleavings of bindings, watch events, restarts and changes of leader", "value": played, "unit": "count", "bar": ">= 1000000", "holds": played >= 1_000_000, "where": place},
            {"id": "soak-bindings", "shows": "bindings that took effect in them", "value": bound, "unit": "count", "bar": "-", "holds": null, "where": place},
            {"id": "soak-placed", "shows": "of them, bindings with devices or NUMA nodes", "value": placed, "unit": "count", "bar": "> 0", "holds": placed > 0, "where": place},
        ]);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        std::fs::write(path, serde_json::to_vec_pretty(&figures)?)
            .with_context(|| path.display().to_string())?;
    }
    Ok(finding.is_none())
}

fn play(seed: u64, steps: usize, counts: &Counts) -> Option<(u64, String)> {
    if counts.stop.load(Ordering::Relaxed) {
        return None;
    }
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new(None);
    let mut taken: Vec<Step> = Vec::with_capacity(steps);
    let mut found = None;
    for _ in 0..steps {
        let step = random_step(&mut random);
        taken.push(step);
        if let Err(violation) = world.take(step) {
            found = Some(violation);
            break;
        }
    }
    let found = found.or_else(|| world.settle_down().err());
    counts.played.fetch_add(1, Ordering::Relaxed);
    counts.bound.fetch_add(world.bound, Ordering::Relaxed);
    counts.placed.fetch_add(world.placed, Ordering::Relaxed);
    found.map(|violation| {
        counts.stop.store(true, Ordering::Relaxed);
        (seed, format!("{}\n  {taken:?}", violation.0))
    })
}
