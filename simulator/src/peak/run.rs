//! All scenarios, all predictors: the whole table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;

use super::judge::{self, HORIZONS, Judged};
use super::metrics::{Row, horizon_name, row};
use super::reference::{Key, Values};
use super::scenario::{Loaded, SCENARIOS, Scenario, folder, load};
use super::{pooled, references};
use crate::parallel;

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
    let mut entries = Vec::new();
    for scenario in &SCENARIOS {
        let wanted = |only: &String| scenario.short.contains(only.as_str());
        if options.only.is_empty() || options.only.iter().any(wanted) {
            entries.extend(one(&folder, scenario, options)?);
        }
    }
    Ok(entries)
}

fn one(folder: &Path, scenario: &Scenario, options: &Options) -> anyhow::Result<Vec<Entry>> {
    let started = Instant::now();
    let loaded = load(folder, scenario).with_context(|| scenario.short.to_owned())?;
    let total = loaded.machines.len();
    let threads = parallel::threads(options.threads);
    let judged = parallel::map(
        &loaded.machines,
        threads,
        |machine| judge::references(&loaded, machine),
        |done| {
            eprint!("\r  {}: {done} of {total} machines", scenario.short);
        },
    );
    let entries = table(&loaded, &judged, threads);
    eprintln!(", {:.0} s", started.elapsed().as_secs_f64());
    Ok(entries)
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
