//! Tables of the runs: for people, as CSV in the columns of the published results, and as a list of claims with their bars.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::curve::{KINDS, POINTS};
use super::departures::Lived;
use super::fill::Filled;
use super::run::{Harness, Outcome, Runs, Which};

/// Columns of the CSV.
const HEADER: &str =
    "kind,trace,policy,seed,metric,a50,a60,a70,a80,a85,a90,a95,a100,a105,a110,a120,a130";

/// Highest unallocated compute at 130 % arrived, percent, that our policy may leave under kube-scheduler's rules, for the traces for which one is set. Others are held to
/// what FGD reaches in its own harness.
const BARS: [(&str, f64); 5] = [
    ("default", 3.75),
    ("gpushare100", 11.2),
    ("cpu250", 4.2),
    ("gpuspec33", 4.2),
    ("multigpu50", 2.6),
];

/// Failures of a kind of pods may exceed FGD's by this.
const MORE_FAILURES: f64 = 1.05;

/// Mean and sample deviation.
fn spread(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = if values.len() > 1 {
        (square / (n - 1.0)).sqrt()
    } else {
        0.0
    };
    (mean, deviation)
}

/// Runs of one trace, harness and policy, by seed.
struct Cell<'a> {
    filled: Vec<(i64, &'a Filled)>,
    lived: Vec<(i64, &'a Lived)>,
}

impl<'a> Cell<'a> {
    fn of(runs: &'a Runs, trace: &str, harness: Harness, which: Which) -> Self {
        let mut cell = Self {
            filled: Vec::new(),
            lived: Vec::new(),
        };
        for run in &runs.runs {
            if run.trace != trace || run.harness != harness || run.which != which {
                continue;
            }
            match &run.outcome {
                Outcome::Filled(filled) => cell.filled.push((run.seed, filled)),
                Outcome::Lived(Some(lived)) => cell.lived.push((run.seed, lived)),
                Outcome::Lived(None) => {}
            }
        }
        cell.filled.sort_by_key(|(seed, _)| *seed);
        cell.lived.sort_by_key(|(seed, _)| *seed);
        cell
    }

    fn filled(&self, what: impl Fn(&Filled) -> f64) -> (f64, f64) {
        let values: Vec<f64> = self.filled.iter().map(|(_, run)| what(run)).collect();
        spread(&values)
    }

    fn lived(&self, what: impl Fn(&Lived) -> f64) -> (f64, f64) {
        let values: Vec<f64> = self.lived.iter().map(|(_, run)| what(run)).collect();
        spread(&values)
    }

    /// Unallocated compute at a point, percent.
    fn unallocated(&self, point: u32) -> (f64, f64) {
        self.filled(|run| 100.0 - value_at(&run.curve.allocated(), point))
    }

    fn failed(&self, kind: usize) -> f64 {
        self.filled(|run| run.failed.get(kind).copied().unwrap_or(0) as f64)
            .0
    }
}

fn value_at(values: &[f64; 12], point: u32) -> f64 {
    POINTS
        .iter()
        .zip(values)
        .find(|(at, _)| **at == point)
        .map_or(f64::NAN, |(_, value)| *value)
}

const fn suffix(harness: Harness) -> &'static str {
    match harness {
        Harness::Published => "",
        Harness::Kube => "/kube-scheduler",
        Harness::Departures => "/departures",
    }
}

fn short(trace: &str) -> &str {
    trace.strip_prefix("openb_pod_list_").unwrap_or(trace)
}

fn traces(runs: &Runs) -> BTreeSet<&str> {
    runs.runs.iter().map(|run| run.trace.as_str()).collect()
}

/// The table for people.
pub fn table(runs: &Runs, ours: Which) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for trace in traces(runs) {
        writeln!(
            text,
            "\n{}: unallocated compute, percent of the cluster, when so much had arrived; failed pods",
            short(trace)
        )?;
        writeln!(
            text,
            "  {:<28} {:>13} {:>13} {:>13} {:>13}   {}",
            "policy",
            "95 %",
            "100 %",
            "110 %",
            "130 %",
            KINDS.join(" / ")
        )?;
        for harness in [Harness::Published, Harness::Kube] {
            for which in [Which::BestFit, Which::Fgd, ours] {
                let cell = Cell::of(runs, trace, harness, which);
                if cell.filled.is_empty() {
                    continue;
                }
                write!(
                    text,
                    "  {:<28}",
                    format!("{}{}", which.label(), suffix(harness))
                )?;
                for point in [95, 100, 110, 130] {
                    let (mean, deviation) = cell.unallocated(point);
                    write!(text, " {mean:>6.2} ± {deviation:.2}")?;
                }
                let failed: Vec<String> = (0..KINDS.len())
                    .map(|kind| format!("{:.0}", cell.failed(kind)))
                    .collect();
                writeln!(text, "   {}", failed.join(" / "))?;
            }
        }
        if Cell::of(runs, trace, Harness::Departures, ours)
            .lived
            .is_empty()
        {
            writeln!(
                text,
                "  pods that leave: not run, or the trace has no lifetimes"
            )?;
            continue;
        }
        writeln!(
            text,
            "  {:<28} {:>13} {:>15}   mean wait, s: {}",
            "pods that leave",
            "allocated, %",
            "wait, s",
            KINDS.join(" / ")
        )?;
        for which in [Which::BestFit, Which::Fgd, ours] {
            let cell = Cell::of(runs, trace, Harness::Departures, which);
            let (allocated, deviation) = cell.lived(|run| run.allocated);
            let (waiting, spread) = cell.lived(Lived::waiting_of_all);
            let kinds: Vec<String> = (0..KINDS.len())
                .map(|kind| {
                    let (mean, _) = cell.lived(|run| run.waiting.get(kind).copied().unwrap_or(0.0));
                    format!("{mean:.0}")
                })
                .collect();
            writeln!(
                text,
                "  {:<28} {allocated:>6.2} ± {deviation:.2} {waiting:>7.1} ± {spread:<5.1}   {}",
                which.label(),
                kinds.join(" / ")
            )?;
        }
    }
    Ok(text)
}

fn row(out: &mut String, head: [&str; 5], values: &[f64], digits: usize) {
    let mut fields: Vec<String> = head.iter().map(|text| (*text).to_owned()).collect();
    fields.extend(values.iter().map(|value| format!("{value:.digits$}")));
    fields.resize(17, String::new());
    out.push_str(&fields.join(","));
    out.push('\n');
}

/// The CSV, rows as in the published file; a run under other rules has them after its policy's name.
pub fn csv(runs: &Runs, ours: Which) -> String {
    let mut out = format!("{HEADER}\n");
    for trace in traces(runs) {
        for harness in [Harness::Published, Harness::Kube] {
            for which in [Which::BestFit, Which::Fgd, ours] {
                let cell = Cell::of(runs, trace, harness, which);
                if cell.filled.is_empty() {
                    continue;
                }
                let policy = format!("{}{}", which.label(), suffix(harness));
                filled_rows(&mut out, trace, &policy, &cell);
            }
        }
        for which in [Which::BestFit, Which::Fgd, ours] {
            let cell = Cell::of(runs, trace, Harness::Departures, which);
            let policy = format!("{}{}", which.label(), suffix(Harness::Departures));
            for (seed, run) in &cell.lived {
                let seed = seed.to_string();
                let mut waiting = vec![run.waiting_of_all()];
                waiting.extend(run.waiting);
                let head = |metric| ["seed", trace, policy.as_str(), seed.as_str(), metric];
                row(
                    &mut out,
                    head("gpu_hours_allocated_pct"),
                    &[run.allocated],
                    3,
                );
                row(
                    &mut out,
                    head("waiting_s_total_cpu_share_1gpu_multi"),
                    &waiting,
                    1,
                );
            }
        }
    }
    out
}

fn filled_rows(out: &mut String, trace: &str, policy: &str, cell: &Cell<'_>) {
    type Metric = (&'static str, fn(&Filled) -> [f64; 12]);
    let metrics: [Metric; 3] = [
        ("alloc_pct", |run| run.curve.allocated()),
        ("frag_pct_of_cluster", |run| run.curve.fragmented()),
        ("frag_pct_of_idle", |run| run.curve.of_idle()),
    ];
    for (metric, values) in metrics {
        let curves: Vec<[f64; 12]> = cell.filled.iter().map(|(_, run)| values(run)).collect();
        let column = |point: usize| -> Vec<f64> {
            curves
                .iter()
                .filter_map(|curve| curve.get(point).copied())
                .collect()
        };
        let fold = |what: fn(&[f64]) -> f64| -> Vec<f64> {
            (0..POINTS.len())
                .map(|point| what(&column(point)))
                .collect()
        };
        let mean = fold(|values| spread(values).0);
        row(out, ["agg", trace, policy, "mean", metric], &mean, 3);
        row(
            out,
            ["agg", trace, policy, "stdev", metric],
            &fold(|values| spread(values).1),
            3,
        );
        let min = fold(|values| values.iter().copied().fold(f64::INFINITY, f64::min));
        row(out, ["agg", trace, policy, "min", metric], &min, 3);
        let max = fold(|values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        row(out, ["agg", trace, policy, "max", metric], &max, 3);
        if metric == "alloc_pct" {
            let left: Vec<f64> = mean.iter().map(|mean| 100.0 - mean).collect();
            row(out, ["agg", trace, policy, "mean", "unalloc_pct"], &left, 3);
        }
    }
    for (seed, run) in &cell.filled {
        let seed = seed.to_string();
        row(
            out,
            ["seed", trace, policy, &seed, "alloc_pct"],
            &run.curve.allocated(),
            2,
        );
        row(
            out,
            ["seed", trace, policy, &seed, "frag_pct_of_cluster"],
            &run.curve.fragmented(),
            2,
        );
    }
    let total = cell.filled(|run| run.failed.iter().sum::<usize>() as f64).0;
    let mut failed = vec![total, cell.failed(0), cell.failed(1), cell.failed(2)];
    for cards in 0..3 {
        failed.push(
            cell.filled(|run| run.failed_cards.get(cards).copied().unwrap_or(0) as f64)
                .0,
        );
    }
    row(
        out,
        [
            "derived",
            trace,
            policy,
            "mean",
            "failed_pods_total_cpu_share_1gpu_2gpu_4gpu_8gpu",
        ],
        &failed,
        1,
    );
    let pods = cell.filled(|run| run.pods as f64).0;
    row(
        out,
        ["derived", trace, policy, "mean", "pods_submitted"],
        &[pods],
        1,
    );
}

/// The claims, with what they are held to.
pub fn claims(runs: &Runs, ours: Which) -> Vec<Value> {
    let mut list = vec![json!({
        "id": "sim-gpu-golden",
        "shows": "runs of BestFit and FGD that equal the published results",
        "value": runs.golden, "unit": "runs", "bar": runs.golden, "holds": runs.golden > 0,
        "where": format!("{} traces without published results, {} rows left out", runs.without_golden.len(), runs.bad_rows.len()),
    })];
    for trace in traces(runs) {
        let name = short(trace);
        let published = Cell::of(runs, trace, Harness::Published, Which::Fgd);
        let cell = Cell::of(runs, trace, Harness::Kube, ours);
        if cell.filled.is_empty() {
            list.extend(departures(runs, trace, ours));
            continue;
        }
        let place = format!("{trace}, {} seeds", cell.filled.len());
        let bar = BARS
            .iter()
            .find(|(trace, _)| *trace == name)
            .map_or_else(|| published.unallocated(130).0, |(_, bar)| *bar);
        for (label, cell, bar) in [
            (ours.label(), &cell, Some(bar)),
            (
                "06-FGD",
                &Cell::of(runs, trace, Harness::Kube, Which::Fgd),
                None,
            ),
            (
                "05-BestFit",
                &Cell::of(runs, trace, Harness::Kube, Which::BestFit),
                None,
            ),
        ] {
            let (value, deviation) = cell.unallocated(130);
            list.push(json!({
                "id": format!("sim-gpu-unallocated-{name}-{label}"),
                "shows": format!("{label}: unallocated compute at 130 % arrived under kube-scheduler's rules, deviation {deviation:.2}"),
                "value": value, "unit": "percent", "bar": bar.map_or_else(|| json!("-"), |bar| json!(format!("<= {bar:.2}"))),
                "holds": bar.map(|bar| value <= bar + 0.005), "where": place,
            }));
        }
        for (kind, label) in KINDS.iter().enumerate() {
            let (value, bar) = (cell.failed(kind), published.failed(kind) * MORE_FAILURES);
            list.push(json!({
                "id": format!("sim-gpu-failed-{name}-{}", label.replace(' ', "-")),
                "shows": format!("{label} pods that failed under kube-scheduler's rules, against FGD in its own harness"),
                "value": value, "unit": "pods", "bar": format!("<= {bar:.1}"), "holds": value <= bar, "where": place,
            }));
        }
        list.extend(departures(runs, trace, ours));
    }
    list
}

fn departures(runs: &Runs, trace: &str, ours: Which) -> Vec<Value> {
    let [best_fit, fgd, cell] = [Which::BestFit, Which::Fgd, ours]
        .map(|which| Cell::of(runs, trace, Harness::Departures, which));
    if cell.lived.is_empty() {
        return Vec::new();
    }
    let place = format!("{trace}, {} seeds", cell.lived.len());
    let name = short(trace);
    let allocated = |cell: &Cell<'_>| cell.lived(|run| run.allocated).0;
    let waiting = |cell: &Cell<'_>| cell.lived(Lived::waiting_of_all).0;
    let most = allocated(&best_fit).max(allocated(&fgd));
    let least = waiting(&best_fit).min(waiting(&fgd));
    vec![
        json!({
            "id": format!("sim-gpu-hours-{name}"),
            "shows": "compute allocated over time where pods leave, against the better of FGD and BestFit",
            "value": allocated(&cell), "unit": "percent", "bar": format!(">= {most:.2}"), "holds": allocated(&cell) >= most, "where": place,
        }),
        json!({
            "id": format!("sim-gpu-waiting-{name}"),
            "shows": "mean waiting time where pods leave, against the better of FGD and BestFit",
            "value": waiting(&cell), "unit": "seconds", "bar": format!("<= {least:.1}"), "holds": waiting(&cell) <= least, "where": place,
        }),
    ]
}
