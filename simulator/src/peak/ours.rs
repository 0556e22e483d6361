//! The budgeted conformal predictor on a scenario: all machines in step, because they are one pool.

use katalyst_core::prediction::conformal::{Account, Budget, EVERY, Horizon, NodeHistory, Pool};

use super::judge::{Judged, Player};
use super::scenario::{DAY, Loaded};

/// The budgets that are shown.
pub const ALPHAS: [f64; 2] = [0.01, 0.05];

/// Predictions of one setting: one vector a machine, one value a judged step.
#[derive(Debug, Clone)]
pub struct Setting {
    /// How far ahead.
    pub horizon: Horizon,
    /// The budget.
    pub budget: Budget,
    /// See above.
    pub predictions: Vec<Vec<f64>>,
    pool: Pool,
    accounts: Vec<Account>,
    factors: Vec<f64>,
}

impl Setting {
    fn new(horizon: Horizon, alpha: f64, machines: usize) -> Self {
        Self {
            horizon,
            budget: Budget::new(alpha),
            predictions: vec![Vec::new(); machines],
            pool: Pool::new(horizon),
            accounts: vec![Account::default(); machines],
            factors: vec![0.0; machines],
        }
    }

    /// Name in the table.
    pub fn name(&self) -> String {
        format!("budgeted conformal alpha={}", self.budget.alpha)
    }
}

/// What a machine's replay gives that does not depend on any predictor, and every setting's predictions. The first day is not learned from: histories are too short.
pub fn replay(loaded: &Loaded) -> (Vec<Judged>, Vec<Setting>) {
    let count = loaded.machines.len();
    let mut settings: Vec<Setting> = Horizon::ALL
        .into_iter()
        .flat_map(|horizon| ALPHAS.map(|alpha| Setting::new(horizon, alpha, count)))
        .collect();
    let mut judged = vec![Judged::default(); count];
    let mut nodes = vec![NodeHistory::default(); count];
    let mut players: Vec<Player<'_>> = loaded.machines.iter().map(Player::new).collect();
    let (warm_up, stride) = (loaded.scenario.warm_up, loaded.scenario.stride());
    let mut future = vec![0.0; DAY];
    for at in 0..loaded.steps.saturating_sub(DAY) {
        let step = at as u64;
        let judge = at >= warm_up && (at - warm_up).is_multiple_of(stride);
        let machines = players.iter_mut().zip(&mut nodes).zip(&mut judged);
        for (index, ((player, node), judged)) in machines.enumerate() {
            let sample = player.sample(at);
            let (limit, usage) = (sample.limit(), sample.usage());
            let over = node.observe(&sample);
            let shapes = (judge || step.is_multiple_of(EVERY))
                .then(|| Horizon::ALL.map(|horizon| (horizon, node.shape(horizon))));
            for setting in &mut settings {
                let mine = setting
                    .accounts
                    .get_mut(index)
                    .zip(setting.factors.get_mut(index))
                    .zip(setting.predictions.get_mut(index));
                let Some(((account, factor), predictions)) = mine else {
                    continue;
                };
                let horizon = setting.horizon;
                for score in over.iter().filter(|s| s.horizon == horizon) {
                    if score.step >= DAY as u64 {
                        setting.pool.over(account, step, score);
                    }
                }
                for score in node.pending(horizon) {
                    setting.pool.came(account, step, &score);
                }
                if step.is_multiple_of(EVERY) {
                    *factor = setting.pool.factor(&setting.budget, account, step).factor;
                    if at >= DAY {
                        setting.pool.promise(account, step, *factor);
                    }
                }
                if judge && let Some(shapes) = &shapes {
                    let shape = shapes.iter().find(|(h, _)| *h == horizon);
                    predictions.push(shape.map_or(limit, |(_, shape)| shape.peak(*factor)));
                }
            }
            if judge {
                player.future(at, &mut future);
                judged.limit.push(limit);
                judged.usage.push(usage);
                judged.next.push(future.first().copied().unwrap_or(0.0));
                for (oracle, (_, horizon)) in judged.oracle.iter_mut().zip(super::judge::HORIZONS) {
                    let highest = future.iter().take(horizon).copied().fold(0.0, f64::max);
                    oracle.push(highest);
                }
            }
        }
    }
    (judged, settings)
}
