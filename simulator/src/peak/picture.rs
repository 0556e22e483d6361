//! One picture a scenario and horizon: every predictor as a point, savings over violations; ours in red, the oracle as a line.
//!
//! Violations are drawn on a logarithmic axis from 0.1 to 100 percent; points below lie on its left edge.

use super::metrics::horizon_name;
use super::ours::ALPHAS;
use super::report::Cell;
use super::run::Entry;

/// Inner size and its margin.
const SIZE: (f64, f64) = (560.0, 320.0);
const MARGIN: f64 = 50.0;

fn x(violations: f64) -> f64 {
    let decades = (violations.max(1e-3).log10() + 3.0) / 3.0;
    MARGIN + decades.min(1.0) * SIZE.0
}

fn y(savings: f64) -> f64 {
    MARGIN + (1.0 - savings.clamp(0.0, 1.0)) * SIZE.1
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// File names and pictures.
pub fn all(entries: &[Entry]) -> Vec<(String, String)> {
    Cell::all(entries)
        .iter()
        .map(|cell| {
            let name = format!("sim-peak-{}-{}.svg", cell.name, horizon_name(cell.horizon));
            (name, picture(cell))
        })
        .collect()
}

fn picture(cell: &Cell<'_>) -> String {
    let (width, height) = (SIZE.0 + 2.0 * MARGIN, SIZE.1 + 2.0 * MARGIN);
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"24\" font-size=\"14\">{}, {} ahead: savings over share of time violated (percent)</text>",
        cell.name,
        horizon_name(cell.horizon)
    );
    let mut lines = vec![head];
    let mut add = |line: String| lines.push(line);
    for percent in [0.1, 1.0, 5.0, 10.0, 100.0] {
        let at = x(percent / 100.0);
        let bottom = MARGIN + SIZE.1;
        add(format!(
            "<line x1=\"{at:.1}\" y1=\"{MARGIN}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{percent}</text>",
            bottom + 16.0
        ));
    }
    for percent in [0.0, 20.0, 40.0, 60.0, 80.0, 100.0] {
        let at = y(percent / 100.0);
        add(format!(
            "<line x1=\"{MARGIN}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\" stroke=\"#eee\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent}</text>",
            MARGIN + SIZE.0,
            MARGIN - 6.0,
            at + 4.0
        ));
    }
    for entry in cell.references() {
        add(format!(
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"#7a8aa0\"><title>{}: {:.1} / {:.2}</title></circle>",
            x(entry.row.viol_mean),
            y(entry.row.savings),
            escape(&entry.predictor),
            100.0 * entry.row.savings,
            100.0 * entry.row.viol_mean
        ));
    }
    for alpha in ALPHAS {
        if let Some(row) = cell.ours(alpha, "") {
            let (at, high) = (x(row.viol_mean), y(row.savings));
            let oracle = y(row.oracle_savings);
            add(format!(
                "<line x1=\"{MARGIN}\" y1=\"{oracle:.1}\" x2=\"{:.1}\" y2=\"{oracle:.1}\" stroke=\"#393\" stroke-dasharray=\"4 3\"/>",
                MARGIN + SIZE.0
            ));
            add(format!(
                "<circle cx=\"{at:.1}\" cy=\"{high:.1}\" r=\"5\" fill=\"#c22\"/><text x=\"{:.1}\" y=\"{:.1}\" fill=\"#c22\">budget {} %</text>",
                at + 7.0,
                high - 5.0,
                100.0 * alpha
            ));
        }
    }
    lines.push("</svg>\n".to_owned());
    lines.join("\n")
}
