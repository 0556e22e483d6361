//! What was measured: a table for a person, a file for everything else.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

const PLACE: &str = "loopback, server on one thread, scheduler-extender/examples/http_cost";

/// Durations of many pods.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The time below which that share of them lies.
    pub(crate) fn milliseconds(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
        sorted
            .get(at)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

struct Figure {
    id: String,
    shows: String,
    value: f64,
    unit: &'static str,
    bar: Option<f64>,
}

impl Figure {
    fn holds(&self) -> Option<bool> {
        self.bar.map(|bar| self.value <= bar)
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Figures(Vec<Figure>);

impl Figures {
    pub(crate) fn add(
        &mut self,
        id: &str,
        shows: &str,
        value: f64,
        unit: &'static str,
        bar: Option<f64>,
    ) {
        self.0.push(Figure {
            id: id.to_owned(),
            shows: shows.to_owned(),
            value: (value * 1000.0).round() / 1000.0,
            unit,
            bar,
        });
    }

    pub(crate) fn value(&self, id: &str) -> Option<f64> {
        let found = self.0.iter().find(|figure| figure.id == id);
        found.map(|figure| figure.value)
    }

    pub(crate) fn print(&self) {
        let width = self.0.iter().map(|figure| figure.shows.len()).max();
        let width = width.unwrap_or(0);
        for figure in &self.0 {
            let verdict = match figure.holds() {
                Some(true) => "holds",
                Some(false) => "DOES NOT HOLD",
                None => "",
            };
            let bar = figure.bar.map_or(String::new(), |bar| format!("<= {bar}"));
            println!(
                "{:<width$} {:>11.3} {:<6} {bar:<7} {verdict}",
                figure.shows, figure.value, figure.unit
            );
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let rows: Vec<Value> = self
            .0
            .iter()
            .map(|figure| {
                json!({
                    "id": figure.id, "shows": figure.shows, "value": figure.value, "unit": figure.unit,
                    "bar": figure.bar.map_or("-".to_owned(), |bar| format!("<= {bar}")), "holds": figure.holds(), "where": PLACE,
                })
            })
            .collect();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        std::fs::write(path, serde_json::to_vec_pretty(&rows)?)
            .with_context(|| path.display().to_string())
    }
}
