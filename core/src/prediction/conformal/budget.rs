//! From a budget of violations to the factor on a node's scale.
//!
//! The budget alpha is the only knob: the share of time in which more may come than was predicted. A plain quantile of the pool's scores at alpha keeps it on the
//! average of fleets that are like those of the past; it breaks it in bursts and on few nodes. So the tail that is asked of the pool is
//!
//! ```text
//! a   = max(s alpha - 0.6 / (n + 1), alpha / 4) g
//! s   = 1.15 clip(2.2 - 1.6 r, 0.5, 1)          r = (broken + 60 * 0.75 alpha) / (promised + 60) / alpha, the pool's last 14 days, in node-horizons
//! g   = clip(1 - u / 4, 0.2, 1)                  u = promises that the node broke in 28 days, over those that its budget allows in 20
//! q   = quantile of the pool's scores above which a lies, + 0.3 max(0, u - 4)
//! ```
//!
//! - 0.6 / (n + 1), n the node-horizons behind the quantile: a quantile of few scores is uncertain, and correlated scores count for less than their number.
//! - s closes the loop over the pool: what quiet times leave is spent, an overrun is answered within hours.
//! - g is the node's own account. A node that had its surprise promises less until it is old: its next one would be the one too many. What it leaves is spent by the others through s.
//! - The last term is for a node that is unlike its pool: no quantile of the others' scores is enough for it, so its factor grows until its promises hold.

use serde::{Deserialize, Serialize};

use super::account::{Account, Kept};
use super::realised::{EVERY, Score};
use super::scores::Scores;
use super::shape::Horizon;
use crate::prediction::STEPS_PER_DAY;

/// The share of time that may be violated, and how it is spent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// The knob: 0.01 is one percent.
    pub alpha: f64,
    /// Highest s. 1.15.
    pub spend: f64,
    /// Budgets of 20 days after which a node gets the least. 4.
    pub node_budgets: f64,
    /// Least g. 0.2.
    pub node_least: f64,
}

impl Budget {
    /// With the defaults.
    pub const fn new(alpha: f64) -> Self {
        Self {
            alpha,
            spend: 1.15,
            node_budgets: 4.0,
            node_least: 0.2,
        }
    }
}

/// Days over which the pool's rate is taken.
const POOL_DAYS: u64 = 14;

/// Days over which a node's account runs, and for how many its budget is meant.
const NODE_DAYS: u64 = 28;
const NODE_BUDGET_DAYS: f64 = 20.0;

/// Growth of the factor for each budget that a node used beyond [`Budget::node_budgets`].
const BEYOND: f64 = 0.3;

/// Node-horizons by which the pool's rate is drawn to three quarters of the budget.
const SHRINK: f64 = 60.0;

/// A factor and why.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// On the scale.
    pub factor: f64,
    /// The tail that was asked of the pool's scores.
    pub tail: f64,
    /// Node-horizons behind them.
    pub horizons: f64,
    /// Share of the pool's promises that were broken, over the budget, drawn to three quarters.
    pub pool_rate: f64,
    /// Broken promises of the node, over what its budget allows in 20 days.
    pub node_used: f64,
}

/// Calibration of one pool of nodes in one horizon.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pool {
    horizon: Horizon,
    scores: Scores,
    kept: Kept,
}

fn day(step: u64) -> u64 {
    step / STEPS_PER_DAY
}

impl Pool {
    /// One that knows only the shipped prior.
    pub fn new(horizon: Horizon) -> Self {
        Self {
            horizon,
            scores: Scores::new(horizon),
            kept: Kept::default(),
        }
    }

    /// The pool's promises of the last weeks, and how many were broken: the achieved rate, to be published.
    pub const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Notes that a node's prediction of this step was published with a factor. One each half hour counts.
    pub fn promise(&mut self, account: &mut Account, step: u64, factor: f64) {
        account.promise(step, factor);
        account.kept.add(day(step), 1, 0);
        self.kept.add(day(step), 1, 0);
    }

    /// Takes what came so far of a node's prediction.
    pub fn came(&mut self, account: &mut Account, step: u64, score: &Score) {
        if account.breaks(score) {
            account.kept.add(day(step), 0, 1);
            self.kept.add(day(step), 0, 1);
        }
    }

    /// Takes a prediction whose horizon is over.
    pub fn over(&mut self, account: &mut Account, step: u64, score: &Score) {
        self.came(account, step, score);
        self.scores.push(day(step), score.value());
        account.settle((step + 1).saturating_sub(self.horizon.steps()));
    }

    /// The factor for a node now.
    pub fn factor(&self, budget: &Budget, account: &Account, step: u64) -> Factor {
        let alpha = budget.alpha;
        let horizons = self.scores.horizons();
        let in_horizons = |promises: u64| (promises * EVERY) as f64 / self.horizon.steps() as f64;
        let (made, broken) = self.kept.last(POOL_DAYS, day(step));
        let pool_rate =
            (in_horizons(broken) + SHRINK * 0.75 * alpha) / (in_horizons(made) + SHRINK) / alpha;
        let (_, broken) = account.kept.last(NODE_DAYS, day(step));
        let allowed = alpha * NODE_BUDGET_DAYS * (STEPS_PER_DAY / EVERY) as f64;
        let node_used = broken as f64 / allowed;
        let spend = budget.spend * (2.2 - 1.6 * pool_rate).clamp(0.5, 1.0);
        let node = (1.0 - node_used / budget.node_budgets).clamp(budget.node_least, 1.0);
        let tail = (spend * alpha - 0.6 / (horizons + 1.0)).max(alpha / 4.0) * node;
        Factor {
            factor: self.scores.quantile(tail)
                + BEYOND * (node_used - budget.node_budgets).max(0.0),
            tail,
            horizons,
            pool_rate,
            node_used,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::Shape;
    use super::*;

    fn score(step: u64, value: f64) -> Score {
        let shape = Shape {
            base: 0.2,
            scale: 0.1,
            limit: 1.0,
        };
        Score {
            horizon: Horizon::Hour,
            step,
            shape,
            highest: 0.2 + 0.1 * value,
        }
    }

    /// Plays scores of some nodes to a pool; gives the share of promises that were broken on each node in the second half.
    fn play(
        alpha: f64,
        steps: u64,
        value: impl Fn(u64, u64) -> f64,
    ) -> (Vec<f64>, Pool, Vec<Account>) {
        let budget = Budget::new(alpha);
        let mut pool = Pool::new(Horizon::Hour);
        let mut accounts = vec![Account::default(); 20];
        let mut broken = [0u64; 20];
        for step in (0..steps).step_by(EVERY as usize) {
            for (node, account) in (0u64..).zip(&mut accounts) {
                let factor = pool.factor(&budget, account, step).factor;
                pool.promise(account, step, factor);
                if let Some(made) = step.checked_sub(12) {
                    pool.over(account, step, &score(made, value(node, made)));
                }
                if step > steps / 2 && value(node, step) > factor {
                    broken[node as usize] += 1;
                }
            }
        }
        let count = (steps / 2 / EVERY) as f64;
        (
            broken.iter().map(|b| *b as f64 / count).collect(),
            pool,
            accounts,
        )
    }

    /// Scores without structure, between 0 and 1.
    fn noise(node: u64, step: u64) -> f64 {
        let mut x =
            node.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ step.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x ^= x >> 31;
        x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^= x >> 29;
        (x % 100_000) as f64 / 100_000.0
    }

    #[test]
    fn the_budget_is_kept_and_mostly_spent() {
        for alpha in [0.01, 0.05] {
            let (broken, ..) = play(alpha, 20 * 288, noise);
            let mean = broken.iter().sum::<f64>() / 20.0;
            assert!(mean < alpha, "{mean}");
            assert!(mean > alpha / 2.0, "{mean}");
        }
    }

    #[test]
    fn a_bad_node_is_held_and_the_others_are_not_charged_for_it() {
        let bad = |node, step| noise(node, step) * if node == 0 { 1.3 } else { 1.0 };
        let (broken, pool, accounts) = play(0.05, 40 * 288, bad);
        // Without its account it is 5.4 budgets: 1 - 0.95 / 1.3.
        assert!(broken[0] < 4.0 * 0.05, "{broken:?}");
        assert!(broken.iter().skip(1).all(|b| *b < 0.05), "{broken:?}");
        let budget = Budget::new(0.05);
        let held = pool.factor(&budget, &accounts[0], 40 * 288);
        let free = pool.factor(&budget, &accounts[1], 40 * 288);
        assert!(held.factor > free.factor + 0.05, "{held:?} {free:?}");
    }

    #[test]
    fn a_promise_is_broken_once_and_at_once() {
        let mut pool = Pool::new(Horizon::Hour);
        let mut account = Account::default();
        pool.promise(&mut account, 0, 1.0);
        pool.came(&mut account, 3, &score(0, 0.9));
        assert_eq!(account.kept.last(28, 0), (1, 0));
        pool.came(&mut account, 4, &score(0, 1.1));
        pool.over(&mut account, 12, &score(0, 1.5));
        assert_eq!(account.kept.last(28, 0), (1, 1));
    }
}
