//! What a week of the cluster shows: a table, claims, and a picture.

use serde_json::{Value, json};

use super::run::{Options, Outcome};

/// Use of the machines with batch that is aimed at, percent.
const USED: f64 = 60.0;

/// For people.
pub fn table(outcome: &Outcome) -> String {
    let percent = |what: f64| format!("{:.1} %", 100.0 * what);
    let mut rows = vec![
        ("services alone use", percent(outcome.mean(|h| h.services))),
        (
            "with batch",
            percent(outcome.mean(|h| h.services + h.batch)),
        ),
        ("offered", percent(outcome.mean(|h| h.offered))),
        ("batch pods finished", outcome.finished.to_string()),
        (
            "CPU hours finished",
            format!("{:.0}", outcome.finished_cpu_hours),
        ),
        (
            "CPU hours lost with evicted pods",
            format!("{:.0}", outcome.lost_cpu_hours),
        ),
        ("evicted", outcome.evicted.to_string()),
        (
            "batch pod steps held below request",
            percent(outcome.throttled),
        ),
    ];
    for (fleet, made, broken) in &outcome.kept {
        rows.push((
            fleet,
            format!(
                "{} of {made} promises broken",
                percent(*broken as f64 / (*made).max(1) as f64)
            ),
        ));
    }
    rows.push(("computed in", format!("{:.0} s", outcome.seconds)));
    rows.iter()
        .map(|(what, value)| format!("{what:<36} {value:>14}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Claims with their bars.
pub fn claims(outcome: &Outcome, options: &Options) -> Vec<Value> {
    let place = format!(
        "{} nodes, {} days, seed {}, budget {} %, horizon {:?}",
        outcome.nodes,
        options.days,
        options.seed,
        100.0 * options.alpha,
        options.horizon
    );
    let used = 100.0 * outcome.mean(|h| h.services + h.batch);
    let alone = 100.0 * outcome.mean(|h| h.services);
    let mut claims = vec![
        json!({
            "id": "sim-cluster-alone", "shows": "mean use of the machines by services alone",
            "value": alone, "unit": "percent", "bar": "-", "holds": null, "where": place,
        }),
        json!({
            "id": "sim-cluster-used", "shows": "mean use of the machines with batch",
            "value": used, "unit": "percent", "bar": format!(">= {USED}"), "holds": used >= USED, "where": place,
        }),
        json!({
            "id": "sim-cluster-goodput", "shows": "CPU hours of finished batch pods",
            "value": outcome.finished_cpu_hours, "unit": "CPU hours", "bar": "-", "holds": null, "where": place,
        }),
        json!({
            "id": "sim-cluster-lost", "shows": "CPU hours lost with evicted pods, over those finished",
            "value": 100.0 * outcome.lost_cpu_hours / outcome.finished_cpu_hours.max(1.0), "unit": "percent",
            "bar": "-", "holds": null, "where": place,
        }),
        json!({
            "id": "sim-cluster-evicted", "shows": "evictions over finished pods",
            "value": 100.0 * outcome.evicted as f64 / outcome.finished.max(1) as f64, "unit": "percent",
            "bar": "-", "holds": null, "where": place,
        }),
    ];
    for (fleet, made, broken) in &outcome.kept {
        let rate = *broken as f64 / (*made).max(1) as f64;
        claims.push(json!({
            "id": format!("sim-cluster-violations-{fleet}"),
            "shows": format!("share of {made} predictions above which services went within the horizon"),
            "value": 100.0 * rate, "unit": "percent", "bar": format!("<= {}", 100.0 * options.alpha),
            "holds": rate <= options.alpha, "where": place,
        }));
    }
    claims
}

/// Use over time.
pub fn picture(outcome: &Outcome) -> String {
    let (width, height, margin) = (900.0, 300.0, 45.0);
    let count = outcome.hours.len().max(2) as f64 - 1.0;
    let x = |hour: usize| margin + hour as f64 / count * width;
    let y = |part: f64| margin + (1.0 - part.clamp(0.0, 1.0)) * height;
    let line = |what: &dyn Fn(&super::run::Hour) -> f64, colour: &str| {
        let points: Vec<String> = outcome
            .hours
            .iter()
            .enumerate()
            .map(|(hour, sums)| format!("{:.1},{:.1}", x(hour), y(what(sums))))
            .collect();
        format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            points.join(" ")
        )
    };
    let grid = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0].map(|part| {
        format!(
            "<line x1=\"{margin}\" y1=\"{0:.1}\" x2=\"{1}\" y2=\"{0:.1}\" stroke=\"#eee\"/><text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4:.0} %</text>",
            y(part), margin + width, margin - 5.0, y(part) + 4.0, 100.0 * part
        )
    });
    let mut lines = vec![
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"11\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
            width + 2.0 * margin,
            height + 2.0 * margin
        ),
        format!(
            "<text x=\"{margin}\" y=\"24\" font-size=\"14\">{} nodes: CPU used by services (blue), with batch (red); offered on top of services (grey)</text>",
            outcome.nodes
        ),
    ];
    lines.extend(grid);
    lines.push(line(&|h| h.services + h.offered, "#bbb"));
    lines.push(line(&|h| h.services, "#36c"));
    lines.push(line(&|h| h.services + h.batch, "#c22"));
    lines.push("</svg>\n".to_owned());
    lines.join("\n")
}
