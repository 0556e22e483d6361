//! From predictions and what came to a row of the table.

use katalyst_core::prediction::window::percentile_of;

use super::judge::{HORIZONS, Judged};

/// Less than this part of the limits is no violation.
const TOLERANCE: f64 = 1e-6;

/// One predictor in one horizon. All are fractions.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Row {
    /// Machines.
    pub machines: usize,
    /// Judged steps of each.
    pub steps: usize,
    /// Mean over machines of the share of steps in which more came than was predicted.
    pub viol_mean: f64,
    /// Its median.
    pub viol_p50: f64,
    /// Its ninth decile.
    pub viol_p90: f64,
    /// The worst machine's.
    pub viol_max: f64,
    /// Mean of what was missing, over what came; zero where nothing was.
    pub sev_mean: f64,
    /// The same over violated steps only.
    pub sev_given_viol: f64,
    /// Its 99th percentile over all steps.
    pub sev_p99: f64,
    /// Limits less predictions over limits, of all machines together, mean over time.
    pub savings: f64,
    /// The same of what really came.
    pub oracle_savings: f64,
    /// Share of steps whose very next sample was above the prediction.
    pub exceed_next: f64,
    /// Use over limits, mean over time.
    pub mean_util: f64,
}

impl Row {
    /// The columns after the predictor's name.
    pub const COLUMNS: [&'static str; 13] = [
        "machines",
        "steps",
        "viol_mean",
        "viol_p50",
        "viol_p90",
        "viol_max",
        "sev_mean",
        "sev_given_viol",
        "sev_p99",
        "savings",
        "oracle_savings",
        "exceed_next",
        "mean_util",
    ];

    /// The values of the fractions, from the third column on.
    pub const fn fractions(&self) -> [f64; 11] {
        [
            self.viol_mean,
            self.viol_p50,
            self.viol_p90,
            self.viol_max,
            self.sev_mean,
            self.sev_given_viol,
            self.sev_p99,
            self.savings,
            self.oracle_savings,
            self.exceed_next,
            self.mean_util,
        ]
    }
}

/// Mean over time of (limits - amount) / limits, all machines together.
fn saved(machines: &[&Judged], amount: impl Fn(usize, usize) -> f64) -> f64 {
    let steps = machines.first().map_or(0, |m| m.limit.len());
    let sum: f64 = (0..steps)
        .map(|step| {
            let (mut limits, mut left) = (0.0, 0.0);
            for (index, machine) in machines.iter().enumerate() {
                let limit = machine.limit.get(step).copied().unwrap_or(0.0);
                limits += limit;
                left += limit - amount(index, step);
            }
            left / limits
        })
        .sum();
    sum / steps.max(1) as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Judges predictions of machines: one vector a machine, one value a judged step.
pub fn row(machines: &[&Judged], predictions: &[&[f64]], horizon: usize) -> Row {
    let steps = machines.first().map_or(0, |m| m.limit.len());
    let empty = Vec::new();
    let oracle = |machine: &Judged, step: usize| {
        let oracle = machine.oracle.get(horizon).unwrap_or(&empty);
        oracle.get(step).copied().unwrap_or(0.0)
    };
    let mut rates = Vec::with_capacity(machines.len());
    let mut severities = Vec::with_capacity(machines.len() * steps);
    let (mut violated, mut exceeded) = (0usize, 0usize);
    for (machine, values) in machines.iter().zip(predictions) {
        let mut here = 0usize;
        for (step, (predicted, limit)) in values.iter().zip(&machine.limit).enumerate() {
            let came = oracle(machine, step);
            let missing = came - predicted;
            if missing > TOLERANCE * limit {
                here += 1;
                severities.push(missing / came.max(1e-12));
            } else {
                severities.push(0.0);
            }
            let next = machine.next.get(step).copied().unwrap_or(0.0);
            if next > predicted + TOLERANCE * limit {
                exceeded += 1;
            }
        }
        violated += here;
        rates.push(here as f64 / steps.max(1) as f64);
    }
    let all = (machines.len() * steps).max(1) as f64;
    let sum: f64 = severities.iter().sum();
    let at = |index: usize, step: usize| {
        let values = predictions.get(index).copied().unwrap_or_default();
        values.get(step).copied().unwrap_or(0.0)
    };
    Row {
        machines: machines.len(),
        steps,
        viol_mean: mean(&rates),
        viol_p50: percentile_of(&mut rates, 50.0).unwrap_or(0.0),
        viol_p90: percentile_of(&mut rates, 90.0).unwrap_or(0.0),
        viol_max: rates.iter().copied().fold(0.0, f64::max),
        sev_mean: sum / all,
        sev_given_viol: sum / violated.max(1) as f64,
        sev_p99: percentile_of(&mut severities, 99.0).unwrap_or(0.0),
        savings: saved(machines, at),
        oracle_savings: saved(machines, |index, step| {
            machines.get(index).map_or(0.0, |m| oracle(m, step))
        }),
        exceed_next: exceeded as f64 / all,
        mean_util: 1.0
            - saved(machines, |index, step| {
                let machine = machines.get(index);
                machine
                    .and_then(|m| m.usage.get(step))
                    .copied()
                    .unwrap_or(0.0)
            }),
    }
}

/// Name of a horizon.
pub fn horizon_name(horizon: usize) -> &'static str {
    HORIZONS.get(horizon).map_or("?", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_by_hand() {
        let machine = |oracle: [f64; 4]| Judged {
            limit: vec![10.0; 4],
            usage: vec![2.0; 4],
            next: vec![3.0, 3.0, 6.0, 3.0],
            oracle: [oracle.to_vec(), oracle.to_vec(), oracle.to_vec()],
            ..Judged::default()
        };
        let (a, b) = (machine([4.0, 8.0, 8.0, 4.0]), machine([5.0; 4]));
        let row = row(&[&a, &b], &[&[5.0; 4], &[5.0; 4]], 0);
        let close = |got: f64, expected: f64| assert!((got - expected).abs() < 1e-9, "{row:?}");
        close(row.viol_mean, 0.25);
        close(row.viol_max, 0.5);
        close(row.sev_given_viol, 3.0 / 8.0);
        close(row.sev_mean, 0.75 / 8.0);
        close(row.savings, 0.5);
        close(row.oracle_savings, 1.0 - 44.0 / 80.0);
        close(row.exceed_next, 0.25);
        close(row.mean_util, 0.2);
    }
}
