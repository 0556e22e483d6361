//! Whether a decision differs enough from what stands to be written, and how soon.
//!
//! The API server should see at most a write a node a minute in steady state, and lowered offers at once. So a change is one of
//! three kinds: *urgent* (an offer falls, a rule that protects services starts or ends, the agent's state flips), *soon* (an offer
//! rises, pods come or go), or *lazy* (the same numbers for another reason).

use katalyst_core::capacity::LimitedBy;
use katalyst_core::reclaimed::Reclaimed;
use serde_json::Value;

use super::Decision;

/// Changes below this fraction of the machine are noise: 1 %.
const NOISE: f64 = 0.01;

/// How long changes that can wait do wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Least time between two writes for a raise or for pods that came or went, in seconds.
    pub soon_seconds: f64,
    /// Least time between two writes when only the explanation changed, in seconds.
    pub lazy_seconds: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            soon_seconds: 10.0,
            lazy_seconds: 60.0,
        }
    }
}

/// Why a status has to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusReason {
    /// Nothing of ours is in the status yet.
    First,
    /// What is in the status is not what we wrote: another hand was there.
    Repaired,
    /// What is in the status can't be read.
    Unreadable,
    /// An offer falls.
    Lowered,
    /// Another rule sets an offer, or the machine has another size.
    Rule,
    /// The agent fell silent, came back, or its report became readable or unreadable.
    Agent,
    /// An offer rises.
    Raised,
    /// Reclaimed pods came or went.
    Allocated,
    /// Only the explanation changed.
    Explanation,
}

impl StatusReason {
    /// Name for logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Repaired => "repaired",
            Self::Unreadable => "unreadable",
            Self::Lowered => "lowered",
            Self::Rule => "rule",
            Self::Agent => "agent",
            Self::Raised => "raised",
            Self::Allocated => "allocated",
            Self::Explanation => "explanation",
        }
    }
}

/// What stands in a CNR's status, as far as it decides about the next write.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The offer.
    pub offered: Reclaimed,
    /// What was allocated when it was computed.
    pub allocated: Reclaimed,
    /// The machine.
    pub capacity: Reclaimed,
    /// The rules that set the CPU and the memory offer; `None` for a name this version does not know.
    pub limited_by: [Option<LimitedBy>; 2],
    /// Reason of the condition `AgentReady`.
    pub agent_reason: String,
    /// When it was written, in Unix seconds.
    pub written_at: f64,
}

impl Standing {
    /// What stands once `decision` is written at `now` (Unix seconds).
    pub fn of(decision: &Decision, now: f64) -> Self {
        let estimate = decision.as_written();
        Self {
            offered: estimate.offer,
            allocated: Reclaimed::new(estimate.cpu.allocated, estimate.memory.allocated),
            capacity: decision.capacity(),
            limited_by: [
                Some(estimate.cpu.limited_by),
                Some(estimate.memory.limited_by),
            ],
            agent_reason: decision.agent.reason().to_owned(),
            written_at: now,
        }
    }
}

/// Whether `decision` has to be written at `now` (Unix seconds) where `standing` stands.
pub fn due(standing: &Standing, decision: &Decision, pace: Pace, now: f64) -> Option<StatusReason> {
    let next = Standing::of(decision, now);
    let since = now - standing.written_at;
    let machine = next.capacity;
    let (old, new) = (standing.offered, next.offered);

    if standing.agent_reason != next.agent_reason {
        return Some(StatusReason::Agent);
    }
    if matters(old.cpu.get(), new.cpu.get(), machine.cpu.get()) && new.cpu < old.cpu
        || matters(old.memory.get(), new.memory.get(), machine.memory.get())
            && new.memory < old.memory
    {
        return Some(StatusReason::Lowered);
    }
    let rules_differ = |same: fn(LimitedBy, LimitedBy) -> bool| {
        standing
            .limited_by
            .iter()
            .zip(next.limited_by)
            .any(|pair| match pair {
                (Some(before), Some(after)) => !same(*before, after),
                _ => true,
            })
    };
    if standing.capacity != next.capacity || rules_differ(same_family) {
        return Some(StatusReason::Rule);
    }
    if since >= pace.soon_seconds {
        if differs(old, new, machine) {
            return Some(StatusReason::Raised);
        }
        if differs(standing.allocated, next.allocated, machine) {
            return Some(StatusReason::Allocated);
        }
    }
    (since >= pace.lazy_seconds && rules_differ(|before, after| before == after))
        .then_some(StatusReason::Explanation)
}

/// Both rules mean that the offer follows the estimate: near it, an offer alternates between them without any consequence.
fn same_family(before: LimitedBy, after: LimitedBy) -> bool {
    let follows = |rule| matches!(rule, LimitedBy::CapacityMinusPeak | LimitedBy::SlopeUp);
    before == after || (follows(before) && follows(after))
}

fn differs(old: Reclaimed, new: Reclaimed, machine: Reclaimed) -> bool {
    matters(old.cpu.get(), new.cpu.get(), machine.cpu.get())
        || matters(old.memory.get(), new.memory.get(), machine.memory.get())
}

fn matters(old: u64, new: u64, machine: u64) -> bool {
    old != new && old.abs_diff(new) as f64 >= machine as f64 * NOISE
}

/// True when everything that `ours` says stands in `live`. What others added to `live` does not count; entries of a list whose
/// entries have a `type` are matched by it, other lists must be equal.
pub fn holds(live: &Value, ours: &Value) -> bool {
    match (live, ours) {
        (Value::Object(live), Value::Object(ours)) => ours
            .iter()
            .all(|(key, value)| live.get(key).is_some_and(|found| holds(found, value))),
        (Value::Array(live), Value::Array(ours))
            if ours.iter().all(|entry| entry.get("type").is_some()) =>
        {
            ours.iter().all(|entry| {
                live.iter()
                    .any(|found| found.get("type") == entry.get("type") && holds(found, entry))
            })
        }
        _ => live == ours,
    }
}
