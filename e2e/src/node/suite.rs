//! Runs the scenarios one after the other on the machine at hand and prints a line for each.

use std::{path::PathBuf, time::Instant};

use clap::Args;

use super::layout::Driver;
use super::place::Place;
use super::stage::{Stage, where_words};
use super::tree::Tree;
use super::{crash, holding, isolation, layout::Layout, machine, numa, pools, rebind};
use crate::program::last_lines;
use crate::report::Row;
use crate::scenario::{Outcome, Verdict};

/// Starts a line that holds report rows as JSON, for the other side of a serial port.
pub const ROWS: &str = "rows: ";

/// How much of the agent's log a failure shows.
const LOG_LINES: usize = 12;
/// Characters of a line that somebody else wrote.
const LINE_LENGTH: usize = 300;

/// One claim about a node.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Stable name, for `--only`.
    pub name: &'static str,
    /// The claim in words.
    pub claim: &'static str,
    /// Shows it.
    pub run: fn(&Stage<'_>) -> Outcome,
}

/// Flags of `katalyst-node-scenarios run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Name of the machine, for the report.
    #[arg(long, default_value = "this machine")]
    pub place: String,
    /// This machine runs nothing else: its own counters are judged, and groups are at the root as on a node.
    #[arg(long)]
    pub alone: bool,
    /// Its instructions are emulated: time limits are longer.
    #[arg(long)]
    pub emulated: bool,
    /// kubelet's cgroup root: one word without dashes.
    #[arg(long, value_name = "NAME")]
    pub root: Option<String>,
    /// Directory for state and logs.
    #[arg(long, default_value = "/tmp/katalyst-node-scenarios")]
    pub directory: PathBuf,
    /// Only this cgroup driver's layout; both otherwise.
    #[arg(long, value_enum)]
    pub driver: Option<Driver>,
    /// Run only scenarios whose name contains this text (may be given several times).
    #[arg(long)]
    pub only: Vec<String>,
    /// Measure the agent's cost and speed instead of running the scenarios.
    #[arg(long)]
    pub bench: bool,
    /// The agent's program to measure; the agent within this one otherwise, which is larger by all of the scenarios.
    #[arg(long, value_name = "FILE", requires = "bench")]
    pub agent: Option<PathBuf>,
    /// Print the scenarios and their claims, run nothing.
    #[arg(long)]
    pub list: bool,
}

fn scenarios(bench: bool) -> Vec<Scenario> {
    if bench {
        return crate::bench::node::scenarios();
    }
    [
        machine::scenarios(),
        holding::scenarios(),
        crash::scenarios(),
        pools::scenarios(),
        isolation::scenarios(),
        numa::scenarios(),
        rebind::scenarios(),
    ]
    .concat()
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Runs the suite; the rows of its report, and whether nothing failed.
pub fn run(args: &RunArgs) -> Result<(Vec<Row>, bool), String> {
    let chosen: Vec<Scenario> = scenarios(args.bench)
        .into_iter()
        .filter(|scenario| {
            args.only.is_empty()
                || args
                    .only
                    .iter()
                    .any(|part| scenario.name.contains(part.as_str()))
        })
        .collect();
    if args.list {
        for scenario in &chosen {
            println!("{:<24} {}", scenario.name, scenario.claim);
        }
        return Ok((Vec::new(), true));
    }
    let place = Place::look(&args.place, args.alone, args.emulated)?;
    println!("{}: {}", place.name, place.words());
    let drivers: &[Driver] = args
        .driver
        .as_ref()
        .map_or(&Driver::ALL, std::slice::from_ref);
    let mut count = Count::default();
    let mut rows = Vec::new();
    for driver in drivers {
        let layout = Layout {
            driver: *driver,
            root: args.root.clone(),
        };
        let words = where_words(&place, Tree::at(layout)?.version, *driver);
        println!("== {words}");
        for scenario in &chosen {
            let began = Instant::now();
            let mut outcome = show(scenario, &place, *driver, args);
            let mut first = String::new();
            if let Err(complaint) = &outcome
                && (!place.alone || place.emulated)
            {
                // Said aloud and written into the report: a machine that does other work, or is emulated on one that does, stumbles at times; a defect does so twice.
                println!("  once more, after a first try that failed: {complaint}");
                let line = complaint.lines().next().unwrap_or_default();
                first = format!("second try; the first: {}", cut(line));
                outcome = show(scenario, &place, *driver, args);
            }
            let outcome = outcome.map(|(verdict, figures)| {
                rows.extend(figures);
                verdict
            });
            let mut row = tell(scenario, outcome, began, &words, &mut count);
            if !first.is_empty() {
                row.bar = first;
            }
            rows.push(row);
        }
    }
    println!(
        "{} passed, {} failed, {} skipped",
        count.passed, count.failed, count.skipped
    );
    Ok((rows, count.failed == 0))
}

/// Shows one scenario on a stage of its own; a complaint comes with the end of the agent's log.
fn show(
    scenario: &Scenario,
    place: &Place,
    driver: Driver,
    args: &RunArgs,
) -> Result<(Verdict, Vec<Row>), String> {
    let mut stage = Stage::build(place, driver, args.root.as_deref(), &args.directory)?;
    stage.installed.clone_from(&args.agent);
    match (scenario.run)(&stage) {
        Ok(verdict) => Ok((verdict, stage.figures())),
        Err(complaint) => {
            let log = std::fs::read_to_string(args.directory.join("agent.log")).unwrap_or_default();
            Err(format!(
                "{complaint}\n      the agent's last words:\n{}",
                last_lines(&log, LOG_LINES)
                    .lines()
                    .map(cut)
                    .collect::<Vec<_>>()
                    .join("\n")
            ))
        }
    }
}

/// A line of bounded length.
fn cut(line: &str) -> String {
    line.chars().take(LINE_LENGTH).collect()
}

/// Prints a scenario's end and makes its row.
fn tell(
    scenario: &Scenario,
    outcome: Outcome,
    began: Instant,
    words: &str,
    count: &mut Count,
) -> Row {
    let seconds = began.elapsed().as_secs_f64();
    let Scenario { name, claim, .. } = scenario;
    let mut row = Row::figure(name, claim, seconds, "s", words);
    match outcome {
        Ok(Verdict::Shown(seen)) => {
            count.passed += 1;
            row.holds = Some(true);
            println!("  passed  {name}: {claim}: {seen} ({seconds:.1} s)");
        }
        Ok(Verdict::Skipped(reason)) => {
            count.skipped += 1;
            row.bar = format!("SKIPPED: {reason}");
            println!("  SKIPPED {name}: {claim}: {reason}");
        }
        Err(complaint) => {
            count.failed += 1;
            row.holds = Some(false);
            println!("  FAILED  {name}: {claim}: {complaint} ({seconds:.1} s)");
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_claims_are_sentences() {
        let all = [scenarios(false), scenarios(true)].concat();
        let mut names: Vec<_> = all.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|scenario| scenario.claim.len() > 20));
    }
}
