//! The reference predictors under the names of the published table: formulas and defaults of their sources, fed with five-minute samples.

use katalyst_core::prediction::Estimator;
use katalyst_core::prediction::highest::Highest;
use katalyst_core::prediction::histogram::{HistogramPercentile, Level, Params};
use katalyst_core::prediction::machine::MachinePercentile;
use katalyst_core::prediction::n_sigma::NSigma;
use katalyst_core::prediction::rc_like::RcLike;
use katalyst_core::prediction::usage::Usage;

use super::crane::{Crane, Kind};
use super::scenario::{DAY, Loaded};

/// The predictor on which the pooled factor rests.
pub const DAY_MAXIMUM: &str = "machine max H=24h";

/// Hours of history and their names.
const HISTORIES: [(usize, &str); 3] = [(24, "2h"), (120, "10h"), (288, "24h")];

/// A predictor and its name.
pub type Named = (String, Box<dyn Estimator>);

/// All of them, in the order of the table.
pub fn all(loaded: &Loaded) -> Vec<Named> {
    let scenario = &loaded.scenario;
    let unit = scenario.unit();
    let (koordinator, vpa) = (unit.koordinator / unit.scale, unit.vpa / unit.scale);
    let mut list: Vec<Named> = Vec::new();
    let mut add = |name: String, estimator: Box<dyn Estimator>| list.push((name, estimator));
    add(
        "limit (no overcommit)".to_owned(),
        Box::new(Usage::share_of_limits(1.0)),
    );
    for share in [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2] {
        let name = format!("borg-default phi={share}");
        add(name, Box::new(Usage::share_of_limits(share)));
    }
    for percent in [80.0, 90.0, 95.0, 99.0] {
        let name = format!("RC-like p{percent} H=10h");
        add(name, Box::new(RcLike::new(percent, 120)));
    }
    add(
        "RC-like max H=10h".to_owned(),
        Box::new(RcLike::new(100.0, 120)),
    );
    for percent in [95.0, 99.0] {
        let name = format!("RC-like p{percent} H=24h");
        add(name, Box::new(RcLike::new(percent, 288)));
    }
    for (history, label) in HISTORIES {
        for n in [2.0, 3.0, 5.0, 10.0] {
            let name = format!("N-sigma N={n} H={label}");
            add(name, Box::new(NSigma::new(n, history)));
        }
    }
    let week = 2016.min(scenario.warm_up.max(DAY)).min(loaded.steps);
    for (history, label) in [(120, "10h"), (288, "24h")] {
        for percent in [95.0, 99.0] {
            let name = format!("machine p{percent} H={label}");
            add(name, Box::new(MachinePercentile::new(percent, history)));
        }
        let name = format!("machine max H={label}");
        add(name, Box::new(MachinePercentile::new(100.0, history)));
    }
    for (percent, label) in [(99.0, "p99"), (100.0, "max")] {
        let name = format!("machine {label} H=7d");
        add(name, Box::new(MachinePercentile::new(percent, week)));
    }
    for (n, percent, history, label, note) in [
        (5.0, 99.0, 120, "10h", " [EuroSys21 sim]"),
        (3.0, 80.0, 120, "10h", ""),
        (3.0, 95.0, 120, "10h", ""),
        (2.0, 95.0, 120, "10h", ""),
        (5.0, 99.0, 288, "24h", ""),
    ] {
        add(
            format!("max(N-sigma {n}, RC p{percent}) H={label}{note}"),
            Box::new(Highest::of(vec![
                Box::new(NSigma::new(n, history)),
                Box::new(RcLike::new(percent, history)),
            ])),
        );
    }
    let (percent, hours) = if scenario.memory {
        (98.0, 24.0)
    } else {
        (95.0, 12.0)
    };
    let pod = Params::koordinator(percent, hours, koordinator);
    let node = Params {
        level: Level::Node,
        warm: 0,
        ..pod
    };
    add(
        "Koordinator pod-level".to_owned(),
        Box::new(HistogramPercentile::new(pod)),
    );
    add(
        "Koordinator priority-level".to_owned(),
        Box::new(HistogramPercentile::new(node)),
    );
    add(
        "Koordinator minPredictor (default)".to_owned(),
        Box::new(Highest::of(vec![
            Box::new(HistogramPercentile::new(pod)),
            Box::new(HistogramPercentile::new(node)),
        ])),
    );
    let (threshold, share) = if scenario.memory {
        ("0.65", 0.35)
    } else {
        ("0.60", 0.40)
    };
    add(
        format!("Koordinator batchAllocatable ({threshold}*cap - used)"),
        Box::new(Usage::new(1.0, share)),
    );
    let target = Params::vpa_target(vpa);
    if !scenario.memory {
        add(
            "Autopilot-like (p95 hl=12h x1.15, 1h hold)".to_owned(),
            Box::new(HistogramPercentile::new(Params {
                percent: 95.0,
                half_life: 144.0,
                first_bucket: koordinator,
                hold: 12,
                ..target
            })),
        );
    }
    let factor = if scenario.memory { 1.1 } else { 1.25 };
    add(
        format!("Katalyst canonical ({factor} x usage)"),
        Box::new(Usage::new(factor, 0.0)),
    );
    add(
        "VPA target sum (p90 x1.15)".to_owned(),
        Box::new(HistogramPercentile::new(target)),
    );
    add(
        "VPA upper-bound sum (p95 x1.15 x conf)".to_owned(),
        Box::new(HistogramPercentile::new(Params {
            percent: 95.0,
            confidence: true,
            ..target
        })),
    );
    let from = DAY.min(scenario.warm_up);
    add(
        "Crane-like maxValue 3d x1.1".to_owned(),
        Box::new(Crane::new(Kind::MaxValue, from)),
    );
    add(
        "Crane-like FFT 3d x1.2".to_owned(),
        Box::new(Crane::new(Kind::Fft, from)),
    );
    for (history, label, day, span) in [(120, "10h", DAY, "24h"), (288, "24h", week, "7d")] {
        add(
            format!("exp: max(N-sigma 3 H={label}, machine max H={span})"),
            Box::new(Highest::of(vec![
                Box::new(NSigma::new(3.0, history)),
                Box::new(MachinePercentile::new(100.0, day)),
            ])),
        );
    }
    list
}
