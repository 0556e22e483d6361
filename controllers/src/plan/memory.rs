//! What a planner remembers of one node.

use katalyst_core::capacity::Published;
use katalyst_runtime::backoff::Attempts;
use rand::Rng;
use serde_json::Value;

use super::{REPAIR, REPAIR_FORGIVEN_SECONDS, RETRY};
use crate::capacity::{Decision, Pace, Standing, StatusReason, due, holds, read_standing};

/// One node's memory. Times are in Unix seconds.
#[derive(Debug)]
pub struct Memory {
    /// The last estimate, written or not: the slope goes on from here, so that raises too small to be written add up.
    pub estimate: Option<Published>,
    /// The last decision, for people.
    pub decision: Option<Decision>,
    /// What stands in the status, by our knowledge.
    pub standing: Option<Standing>,
    /// The status as we wrote it. Where another reads in the CNR, another hand was there.
    pub written: Option<Value>,
    /// The node is left alone until then.
    pub not_before: f64,
    /// Why the last write failed.
    pub failure: Option<String>,
    /// What was last complained about.
    pub complaint: Option<String>,
    pub(super) retry: Attempts,
    /// Why what stood at first sight could not be taken over.
    pub(super) unreadable: Option<String>,
    repairs: Attempts,
    last_repair: f64,
    next_repair: f64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            estimate: None,
            decision: None,
            standing: None,
            written: None,
            not_before: 0.0,
            failure: None,
            complaint: None,
            retry: RETRY.start(),
            unreadable: None,
            repairs: REPAIR.start(),
            last_repair: 0.0,
            next_repair: 0.0,
        }
    }
}

impl Memory {
    /// Takes over what a predecessor wrote. The slope starts at its offer, *now*: the time since that write was not watched and
    /// gives no right to a raise.
    pub(super) fn adopt(&mut self, live: &Value, now: f64) {
        match read_standing(live) {
            Ok(Some(standing)) => {
                self.estimate.get_or_insert(Published {
                    offer: standing.offered,
                    at_seconds: now,
                });
                self.standing = Some(standing);
                self.written = Some(live.clone());
                self.unreadable = None;
            }
            Ok(None) => self.unreadable = None,
            Err(error) => self.unreadable = Some(error.to_string()),
        }
    }

    /// Why `decision` has to be written now, if it has to.
    pub(super) fn reason(
        &self,
        live: &Value,
        decision: &Decision,
        pace: Pace,
        now: f64,
    ) -> Option<StatusReason> {
        let Some(standing) = &self.standing else {
            return Some(if self.unreadable.is_some() {
                StatusReason::Unreadable
            } else {
                StatusReason::First
            });
        };
        let foreign = self
            .written
            .as_ref()
            .is_some_and(|written| !holds(live, written));
        if foreign && now >= self.next_repair {
            return Some(StatusReason::Repaired);
        }
        due(standing, decision, pace, now)
    }

    pub(super) fn repaired(&mut self, now: f64, rng: &mut impl Rng) {
        if now - self.last_repair > REPAIR_FORGIVEN_SECONDS {
            self.repairs.reset();
        }
        self.last_repair = now;
        self.next_repair = now + self.repairs.next_delay(rng).as_secs_f64();
    }
}
