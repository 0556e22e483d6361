//! The table as CSV and for people, and the claims with their bars.

use serde_json::{Value, json};

use super::metrics::{Row, horizon_name};
use super::ours::ALPHAS;
use super::reference::Comparison;
use super::run::{Entry, HALVES};
use super::scenario::SCENARIOS;

/// Name of ours in the table.
const OURS: &str = "budgeted conformal";

/// Savings in percent that a horizon of a day must reach at budgets of 1 and 5 %: those of the conformal predictor without accounts on the same machines, less one
/// point. The first number of a pair is at 1 %.
const DAY_BARS: [(&str, [f64; 2]); 9] = [
    ("bb-prov-churn", [52.5, 59.7]),
    ("bb-sized-churn", [13.5, 22.3]),
    ("bb-sized-static", [19.5, 23.9]),
    ("az-prov-churn", [77.3, 79.8]),
    ("az-sized-churn", [59.2, 63.5]),
    ("az-sized-static", [53.0, 56.3]),
    ("g11-sized", [28.1, 29.4]),
    ("ali-machines", [14.4, 15.1]),
    ("bbmem-sized-churn", [32.6, 42.6]),
];

/// The same for a horizon of an hour, where it is known.
const HOUR_BARS: [(&str, [f64; 2]); 2] = [
    ("bb-sized-churn", [29.2, 42.4]),
    ("az-sized-churn", [65.4, 68.9]),
];

/// No machine may be violated more often than this many times the budget.
const WORST_MACHINE: f64 = 5.0;

/// The CSV, in the columns of the published table.
pub fn csv(entries: &[Entry]) -> String {
    let names = "dataset,resource,limits,placement,horizon,predictor";
    let header = format!("{names},{}", Row::COLUMNS.join(","));
    let rows = entries.iter().map(|entry| {
        let quoted = |field: String| {
            if field.contains(',') {
                format!("\"{field}\"")
            } else {
                field
            }
        };
        let fractions = entry.row.fractions().map(|value| format!("{value:.6}"));
        let counts = [entry.row.machines, entry.row.steps].map(|count| count.to_string());
        entry
            .key()
            .map(quoted)
            .into_iter()
            .chain(counts)
            .chain(fractions)
            .collect::<Vec<_>>()
            .join(",")
    });
    let mut lines: Vec<String> = std::iter::once(header).chain(rows).collect();
    lines.push(String::new());
    lines.join("\n")
}

/// One cell: a scenario in a horizon.
pub(super) struct Cell<'a> {
    pub(super) name: &'static str,
    pub(super) horizon: usize,
    entries: Vec<&'a Entry>,
}

impl<'a> Cell<'a> {
    pub(super) fn all(entries: &'a [Entry]) -> Vec<Self> {
        SCENARIOS
            .iter()
            .flat_map(|scenario| [0, 2].map(|horizon| (scenario, horizon)))
            .map(|(scenario, horizon)| Cell {
                name: scenario.short,
                horizon,
                entries: entries
                    .iter()
                    .filter(|e| e.scenario.short == scenario.short && e.horizon == horizon)
                    .collect(),
            })
            .filter(|cell| !cell.entries.is_empty())
            .collect()
    }

    pub(super) fn ours(&self, alpha: f64, suffix: &str) -> Option<&'a Row> {
        let name = format!("{OURS} alpha={alpha}{suffix}");
        self.entries
            .iter()
            .find(|e| e.predictor == name)
            .map(|e| &e.row)
    }

    /// Published predictors: neither the oracle nor experiments nor ours.
    pub(super) fn references(&self) -> impl Iterator<Item = &'a Entry> + '_ {
        self.entries.iter().copied().filter(|e| {
            !(e.predictor.starts_with("exp:")
                || e.predictor.starts_with(OURS)
                || e.predictor == "peak oracle")
        })
    }

    /// The reference that saves most among those that keep the budget, picked with hindsight.
    pub(super) fn best_reference(&self, alpha: f64) -> Option<&'a Entry> {
        self.references()
            .filter(|e| e.row.viol_mean <= alpha)
            .max_by(|a, b| a.row.savings.total_cmp(&b.row.savings))
    }

    fn bar(&self, alpha: f64) -> Option<f64> {
        let bars: &[(&str, [f64; 2])] = if self.horizon == 0 {
            &DAY_BARS
        } else {
            &HOUR_BARS
        };
        let (_, [tight, wide]) = bars.iter().find(|(name, _)| *name == self.name)?;
        Some(if alpha < 0.02 { *tight } else { *wide })
    }
}

/// Ours against the best reference of each cell.
pub fn table(entries: &[Entry]) -> String {
    let mut lines = vec![format!(
        "{:<18} {:>4} {:>6} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}  best reference within the budget",
        "scenario", "ahead", "budget", "savings", "oracle", "mean", "p90", "worst", "depth"
    )];
    for cell in Cell::all(entries) {
        for alpha in ALPHAS {
            for suffix in ["", HALVES[0], HALVES[1]] {
                let Some(row) = cell.ours(alpha, suffix) else {
                    continue;
                };
                let best = match cell.best_reference(alpha) {
                    Some(best) if suffix.is_empty() => {
                        format!("{:.1} {}", 100.0 * best.row.savings, best.predictor)
                    }
                    _ => suffix.to_owned(),
                };
                lines.push(format!(
                    "{:<18} {:>5} {:>5.0}% {:>7.1} {:>7.1} {:>7.2} {:>7.2} {:>7.2} {:>7.1}  {best}",
                    cell.name,
                    horizon_name(cell.horizon),
                    100.0 * alpha,
                    100.0 * row.savings,
                    100.0 * row.oracle_savings,
                    100.0 * row.viol_mean,
                    100.0 * row.viol_p90,
                    100.0 * row.viol_max,
                    100.0 * row.sev_given_viol,
                ));
            }
        }
    }
    lines.push("all in percent; mean, p90, worst: share of steps in which more came than was predicted, over machines; depth: what was missing then, of what came".to_owned());
    lines.join("\n")
}

/// That the references are the published ones.
pub fn reproduced(found: &Comparison) -> Value {
    let (worst, row) = found
        .worst
        .clone()
        .map_or((f64::NAN, String::new()), |(worst, key)| {
            (worst, key.join(", "))
        });
    let anywhere = found.worst_anywhere.as_ref().map_or(f64::NAN, |w| w.0);
    json!({
        "id": "sim-peak-references",
        "shows": format!("largest difference of {} published rows, mean violations and savings (any column: {anywhere:.5})", found.rows),
        "value": worst, "unit": "points", "bar": "< 0.1",
        "holds": worst < 0.1 && found.missing.is_empty(),
        "where": format!("{} rows missing; worst in {row}", found.missing.len()),
    })
}

/// What is claimed of ours.
pub fn claims(entries: &[Entry]) -> Vec<Value> {
    let mut list = Vec::new();
    for cell in Cell::all(entries) {
        for alpha in ALPHAS {
            let Some(row) = cell.ours(alpha, "") else {
                continue;
            };
            let place = format!(
                "{}, horizon {}, {} machines, {} steps each",
                cell.name,
                horizon_name(cell.horizon),
                row.machines,
                row.steps
            );
            let id = |what: &str| {
                format!(
                    "sim-peak-{what}-{}-{}-{}",
                    cell.name,
                    horizon_name(cell.horizon),
                    100.0 * alpha
                )
            };
            let best = cell.best_reference(alpha);
            let best_savings = best.map(|e| 100.0 * e.row.savings);
            let bar = match (best_savings, cell.bar(alpha)) {
                (Some(a), Some(b)) => Some(a.max(b)),
                (a, b) => a.or(b),
            };
            let savings = 100.0 * row.savings;
            list.push(json!({
                "id": id("savings"),
                "shows": format!("savings at a budget of {} %; best reference {}", 100.0 * alpha,
                    best.map_or("not run", |e| e.predictor.as_str())),
                "value": savings, "unit": "percent",
                "bar": bar.map_or_else(|| json!("-"), |bar| json!(format!(">= {bar:.1}"))),
                "holds": bar.map(|bar| savings >= bar - 0.05), "where": place,
            }));
            let mean = row.viol_mean / alpha;
            list.push(json!({
                "id": id("budget"), "shows": "mean violations over the budget",
                "value": mean, "unit": "budgets", "bar": "0.5 to 1", "holds": (0.5..=1.0).contains(&mean), "where": place,
            }));
            let worst = row.viol_max / alpha;
            list.push(json!({
                "id": id("worst"), "shows": "violations of the worst machine over the budget",
                "value": worst, "unit": "budgets", "bar": format!("<= {WORST_MACHINE}"),
                "holds": worst <= WORST_MACHINE, "where": place,
            }));
        }
    }
    for what in ["savings", "budget", "worst"] {
        let prefix = format!("sim-peak-{what}-");
        let mine = list.iter().filter(|claim| {
            let id = claim.get("id").and_then(Value::as_str).unwrap_or_default();
            id.starts_with(&prefix)
        });
        let holds = |claim: &&Value| claim.get("holds").and_then(Value::as_bool);
        let (all, good) = (
            mine.clone().count(),
            mine.filter(|c| holds(c) == Some(true)).count(),
        );
        list.push(json!({
            "id": format!("sim-peak-cells-{what}"),
            "shows": format!("cells in which the bar of {what} holds"),
            "value": good, "unit": "cells", "bar": format!("= {all}"), "holds": good == all,
            "where": "all scenarios, both horizons, both budgets",
        }));
    }
    list
}

/// A claim on one line.
pub fn line(claim: &Value) -> String {
    let text = |key: &str| {
        claim.get(key).map_or_else(String::new, |v| match v {
            Value::String(text) => text.clone(),
            Value::Number(n) => n.as_f64().map_or_else(String::new, |n| format!("{n:.4}")),
            other => other.to_string(),
        })
    };
    let verdict = match claim.get("holds").and_then(Value::as_bool) {
        Some(true) => "holds",
        Some(false) => "FAILS",
        None => "-    ",
    };
    format!(
        "{verdict} {} = {} {} (bar {})",
        text("id"),
        text("value"),
        text("unit"),
        text("bar")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(predictor: &str, savings: f64, violations: f64) -> Entry {
        let scenario = SCENARIOS[0];
        let row = Row {
            savings,
            viol_mean: violations,
            viol_max: violations * 3.0,
            ..Row::default()
        };
        Entry {
            scenario,
            horizon: 0,
            predictor: predictor.to_owned(),
            row,
        }
    }

    #[test]
    fn a_claim_holds_only_within_its_bar() {
        let ours = "budgeted conformal alpha=0.01";
        for (savings, violations, expected) in [
            (0.53, 0.008, [true, true, true]),
            (0.51, 0.011, [false, false, true]),
            (0.60, 0.004, [true, false, true]),
            (0.60, 0.02, [true, false, false]),
        ] {
            let entries = [entry(ours, savings, violations), entry("other", 0.2, 0.0)];
            let claims = claims(&entries);
            let holds: Vec<bool> = claims
                .iter()
                .take(3)
                .map(|c| c["holds"].as_bool().unwrap())
                .collect();
            assert_eq!(holds, expected, "{savings} {violations}");
        }
    }

    #[test]
    fn names_with_commas_are_quoted() {
        let text = csv(&[entry("max(a, b)", 0.1, 0.2)]);
        assert!(text.contains(",24h,\"max(a, b)\",0,0,0.200000,"), "{text}");
    }
}
