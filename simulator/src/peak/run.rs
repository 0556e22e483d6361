//! All scenarios, all predictors: the whole table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;

use super::judge::{self, HORIZONS, Judged};
use super::metrics::{Row, horizon_name, row};
use super::reference::{Key, Values};
use super::scenario::{Loaded, SCENARIOS, Scenario, folder, load};
use super::{ours, pooled, references};
use crate::parallel;
use katalyst_core::prediction::conformal::Horizon;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of the traces, or its parent.
    pub traces: PathBuf,
    /// Only scenarios whose short name contains one of these; all when empty.
    pub only: Vec<String>,
    /// Threads; as many as there are processors when zero.
    pub threads: usize,
    /// Whether the reference predictors are run.
    pub references: bool,
}

/// A row of the table and what it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Which scenario.
    pub scenario: Scenario,
    /// Position in [`HORIZONS`].
    pub horizon: usize,
    /// Name of the predictor.
    pub predictor: String,
    /// Its figures.
    pub row: Row,
}

impl Entry {
    /// The six names of the published table.
    pub fn key(&self) -> Key {
        [
            self.scenario.dataset.to_owned(),
            self.scenario.resource().to_owned(),
            self.scenario.limits.as_str().to_owned(),
            self.scenario.placement.as_str().to_owned(),
            horizon_name(self.horizon).to_owned(),
            self.predictor.clone(),
        ]
    }
}

/// The table by its names.
pub fn by_key(entries: &[Entry]) -> BTreeMap<Key, Values> {
    entries
        .iter()
        .map(|entry| (entry.key(), entry.row.fractions().to_vec()))
        .collect()
}

/// A predictor's name and its predictions: one vector a machine, one value a judged step.
type Column = (String, Vec<Vec<f64>>);

/// Runs every scenario.
pub fn run(options: &Options) -> anyhow::Result<Vec<Entry>> {
    let folder = folder(&options.traces)
        .with_context(|| format!("no placement_static.csv in {}", options.traces.display()))?;
    let scenarios: Vec<Scenario> = SCENARIOS
        .into_iter()
        .filter(|scenario| {
            let wanted = |only: &String| scenario.short.contains(only.as_str());
            options.only.is_empty() || options.only.iter().any(wanted)
        })
        .collect();
    let mut entries = Vec::new();
    for scenario in scenarios.iter().filter(|_| options.references) {
        entries.extend(references_of(&folder, scenario, options)?);
    }
    // The machines of a scenario are one pool and go in step: so scenarios are what runs side by side.
    let total = scenarios.len();
    let started = Instant::now();
    let threads = parallel::threads(options.threads);
    let results = parallel::map(
        &scenarios,
        threads,
        |scenario| -> anyhow::Result<Vec<Entry>> {
            let loaded = load(&folder, scenario).with_context(|| scenario.short.to_owned())?;
            Ok(ours_of(&loaded))
        },
        |done| {
            let seconds = started.elapsed().as_secs_f64();
            eprintln!("  ours: {done} of {total} scenarios, {seconds:.0} s");
        },
    );
    for result in results {
        entries.extend(result?);
    }
    Ok(entries)
}

/// Suffixes of the rows over half of the machines: every second one.
pub const HALVES: [&str; 2] = [" [even machines]", " [odd machines]"];

/// Rows of our settings: all machines, and each half.
fn ours_of(loaded: &Loaded) -> Vec<Entry> {
    let (judged, settings) = ours::replay(loaded);
    let mut entries = Vec::new();
    for setting in &settings {
        let horizon = match setting.horizon {
            Horizon::Day => 0,
            Horizon::Hour => HORIZONS.len() - 1,
        };
        let groups = std::iter::once(("", None)).chain(
            HALVES
                .into_iter()
                .zip(0..)
                .map(|(name, half)| (name, Some(half))),
        );
        for (suffix, half) in groups {
            let mine = |index: usize| half.is_none_or(|half| index % 2 == half);
            let machines: Vec<&Judged> = judged
                .iter()
                .enumerate()
                .filter_map(|(index, machine)| mine(index).then_some(machine))
                .collect();
            let predictions: Vec<&[f64]> = setting
                .predictions
                .iter()
                .enumerate()
                .filter_map(|(index, values)| mine(index).then_some(values.as_slice()))
                .collect();
            entries.push(Entry {
                scenario: loaded.scenario,
                horizon,
                predictor: format!("{}{suffix}", setting.name()),
                row: row(&machines, &predictions, horizon),
            });
        }
    }
    entries
}

fn references_of(
    folder: &Path,
    scenario: &Scenario,
    options: &Options,
) -> anyhow::Result<Vec<Entry>> {
    let started = Instant::now();
    let loaded = load(folder, scenario).with_context(|| scenario.short.to_owned())?;
    let total = loaded.machines.len();
    let threads = parallel::threads(options.threads);
    let judged = parallel::map(
        &loaded.machines,
        threads,
        |machine| judge::references(&loaded, machine),
        |done| {
            if done.is_multiple_of(10) || done == total {
                let seconds = started.elapsed().as_secs_f64();
                let name = scenario.short;
                eprintln!("  references, {name}: {done} of {total} machines, {seconds:.0} s");
            }
        },
    );
    Ok(table(&loaded, &judged, threads))
}

/// Rows of the references in one scenario.
fn table(loaded: &Loaded, judged: &[Judged], threads: usize) -> Vec<Entry> {
    let mut columns: Vec<Column> = references::all(loaded)
        .into_iter()
        .enumerate()
        .map(|(at, (name, _))| {
            let values = judged
                .iter()
                .map(|machine| machine.predictions.get(at).cloned().unwrap_or_default())
                .collect();
            (name, values)
        })
        .collect();
    for alpha in pooled::ALPHAS {
        if let Some(values) = pooled::predictions(loaded, judged, alpha) {
            let name = format!("exp: conformal(machine max 24h) alpha={alpha}");
            columns.push((name, values));
        }
    }
    let machines: Vec<&Judged> = judged.iter().collect();
    let cells: Vec<(usize, Option<&Column>)> = (0..HORIZONS.len())
        .flat_map(|horizon| {
            std::iter::once((horizon, None))
                .chain(columns.iter().map(move |column| (horizon, Some(column))))
        })
        .collect();
    parallel::map(
        &cells,
        threads,
        |(horizon, column)| {
            let (name, values): (&str, Vec<&[f64]>) = match column {
                Some((name, values)) => (name, values.iter().map(Vec::as_slice).collect()),
                None => (
                    "peak oracle",
                    judged
                        .iter()
                        .map(|m| m.oracle.get(*horizon).map_or(&[][..], Vec::as_slice))
                        .collect(),
                ),
            };
            Entry {
                scenario: loaded.scenario,
                horizon: *horizon,
                predictor: name.to_owned(),
                row: row(&machines, &values, *horizon),
            }
        },
        |_| {},
    )
}
