//! A reference of the published table that no estimator of one machine can give: one factor for all machines on their day's maximum.
//!
//! `P = q * maximum of 24 h`, q the (1 - alpha) quantile of (what came) / (maximum), over all machines, known a horizon later, window of seven days, renewed each hour.

use katalyst_core::prediction::window::percentile_of;

use super::judge::{Judged, judged_steps};
use super::scenario::{DAY, Loaded};

/// The budgets of the table.
pub const ALPHAS: [f64; 5] = [0.10, 0.05, 0.02, 0.01, 0.005];

/// Scores that are too few.
const FEWEST: usize = 50;

/// Predictions for each machine at each judged step, or nothing where the trace is too short to calibrate on.
pub fn predictions(loaded: &Loaded, machines: &[Judged], alpha: f64) -> Option<Vec<Vec<f64>>> {
    let (steps, warm_up) = (loaded.steps, loaded.scenario.warm_up);
    let end = steps.saturating_sub(DAY);
    let first = DAY.min(warm_up);
    // Score of each step of each machine; NaN where there is none.
    let scores: Vec<Vec<f64>> = machines
        .iter()
        .map(|machine| {
            let mut row = vec![f64::NAN; steps];
            for (step, maximum, came) in &machine.day {
                if let Some(score) = row.get_mut(*step)
                    && *maximum > 0.0
                {
                    *score = came / maximum;
                }
            }
            row
        })
        .collect();
    let mut factors = vec![f64::NAN; steps];
    for from in (first + DAY + 12..end).step_by(12) {
        let window = first.max(from.saturating_sub(DAY + 2016))..=from - DAY;
        let mut known: Vec<f64> = scores
            .iter()
            .flat_map(|row| row.get(window.clone()).unwrap_or_default())
            .step_by(5)
            .copied()
            .filter(|score| !score.is_nan())
            .collect();
        if known.len() < FEWEST {
            continue;
        }
        if let Some(q) = percentile_of(&mut known, 100.0 * (1.0 - alpha)) {
            factors.iter_mut().skip(from).take(12).for_each(|f| *f = q);
        }
    }
    let judged = factors.get(warm_up..end).unwrap_or_default();
    let unknown = judged.iter().filter(|factor| factor.is_nan()).count();
    if unknown * 2 > judged.len() {
        return None;
    }
    let predictions = machines
        .iter()
        .map(|machine| {
            let days = machine.day.iter().filter(|(step, ..)| *step >= warm_up);
            judged_steps(loaded)
                .zip(days)
                .zip(&machine.limit)
                .map(|((step, (_, maximum, _)), limit)| {
                    let factor = factors.get(step).copied().unwrap_or(f64::NAN);
                    if factor.is_nan() {
                        *limit
                    } else {
                        limit.min(factor * maximum)
                    }
                })
                .collect()
        })
        .collect();
    Some(predictions)
}
