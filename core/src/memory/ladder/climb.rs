//! Which rung is next. State between steps; the clock is an argument.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    PATIENCE_SECONDS, RELEASE_SECONDS, REOPEN_SECONDS, Rung, Victim, drop_cache, offload,
    soft_limits,
};
use crate::{
    memory::detect::{Place, Severity, board::Short},
    units::Bytes,
};

/// The part of what was missing that must have come back for a rung to have helped.
const HELPED: f64 = 0.25;

/// What this kernel can do. A rung without its means is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Means {
    /// Soft limits that act at once (`memory.high`), or that reclaim looks at first (`memory.soft_limit_in_bytes`).
    pub soft_limits: bool,
    /// A group can be asked for memory (`memory.reclaim`, `memory.force_empty`).
    pub reclaim: bool,
    /// There is swap with room.
    pub swap: bool,
    /// What was asked for before is still under way.
    pub reclaiming: bool,
}

/// What is asked of the eviction ranker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proposal {
    /// Where memory is missing.
    pub place: Place,
    /// How much.
    pub shortage: Bytes,
    /// How badly.
    pub severity: Severity,
    /// Measurements in words.
    pub reason: String,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// New batch pods are to stay away, or may come again.
    StopScheduling {
        /// Stay away.
        on: bool,
    },
    /// Soft limits of these pods.
    SoftLimits(Vec<(String, Bytes)>),
    /// All soft limits are given back.
    Release,
    /// Page cache to take.
    DropCache(Vec<(String, Bytes)>),
    /// Memory to push to swap.
    Offload(Vec<(String, Bytes)>),
    /// Nothing more is to be taken.
    Cancel,
    /// Somebody must leave.
    Propose(Proposal),
}

/// One decision, for the executor and for the audit log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// The rung.
    pub rung: Rung,
    /// What is to be done; `None` where the rung was passed over.
    pub action: Option<Action>,
    /// Measurements and rule in words.
    pub why: String,
}

/// When a rung was taken, and how things stood.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Taken {
    at: f64,
    available: Bytes,
    shortage: Bytes,
}

/// The ladder of one node.
#[derive(Debug, Clone, Default)]
pub struct Ladder {
    at: Option<Rung>,
    taken: BTreeMap<Rung, Taken>,
    passed: Vec<Rung>,
    stopped: bool,
    limited: bool,
    reclaimed: bool,
    short_since: Option<f64>,
    calm_since: Option<f64>,
    proposal: Option<Proposal>,
    limits: BTreeMap<String, Bytes>,
}

impl Ladder {
    /// Where it stands; `None`: on the ground.
    pub fn rung(&self) -> Option<Rung> {
        self.at
    }

    /// Whether new batch pods are to stay away.
    pub fn stops_scheduling(&self) -> bool {
        self.stopped
    }

    /// The standing request for an eviction.
    pub fn proposal(&self) -> Option<&Proposal> {
        self.proposal.as_ref()
    }

    /// Soft limits that stand, by pod.
    pub fn limits(&self) -> &BTreeMap<String, Bytes> {
        &self.limits
    }

    /// Decides at `now` (seconds). `short`: the place that is worst off; `available`: what can be had there; `victims`: asked only when a rung needs them.
    pub fn step(
        &mut self,
        now: f64,
        short: Option<&Short>,
        available: Bytes,
        means: Means,
        victims: impl FnOnce() -> Vec<Victim>,
    ) -> Vec<Step> {
        let Some(short) = short else {
            return self.calm(now);
        };
        self.calm_since = None;
        let mut steps = Vec::new();
        let measured = Measured { short, available };
        if !self.stopped {
            self.stopped = true;
            steps.push(self.take(
                now,
                Rung::StopScheduling,
                Some(Action::StopScheduling { on: true }),
                &measured,
                "",
            ));
        }
        if short.only_stop {
            self.short_since = None;
            return steps;
        }
        let since = *self.short_since.get_or_insert(now);
        let critical = short.severity == Severity::Critical;
        let pace = if critical { 0.5 } else { 1.0 };
        let at = self.at.unwrap_or(Rung::StopScheduling);
        let Some(last) = self.taken.get(&at).copied() else {
            // Limits of an earlier climb were released; it begins anew.
            self.at = None;
            self.stopped = false;
            return steps;
        };
        // Stopping new pods frees nothing by itself: a critical shortage does not wait for it.
        let waits = if at == Rung::StopScheduling && critical {
            0.0
        } else {
            at.effect_seconds() * pace
        };
        if now - last.at < waits {
            return steps;
        }
        let helped =
            at > Rung::StopScheduling && available >= last.available + last.shortage.scale(HELPED);
        let again = helped && at < Rung::Evict;
        let mut next = if again { Some(at) } else { at.next() };
        let mut offered = None;
        let mut victims = Some(victims);
        while let Some(rung) = next.or_else(|| (at == Rung::Evict).then_some(Rung::Evict)) {
            if let Some(taken) = self.taken.get(&rung)
                && now - taken.at < rung.cool_down_seconds() * pace
            {
                break;
            }
            if rung == Rung::Evict && !critical && now - since < PATIENCE_SECONDS {
                break;
            }
            let pods =
                offered.get_or_insert_with(|| victims.take().map_or_else(Vec::new, |ask| ask()));
            match self.act(rung, &measured, means, pods) {
                Ok(action) => {
                    let how = if again && rung == at {
                        "; it helped before"
                    } else {
                        ""
                    };
                    steps.push(self.take(now, rung, Some(action), &measured, how));
                    break;
                }
                Err(Pass::Wait) => break,
                Err(Pass::Nothing(why)) => {
                    if !self.passed.contains(&rung) {
                        self.passed.push(rung);
                        steps.push(Step {
                            rung,
                            action: None,
                            why: format!("passed over: {why}"),
                        });
                    }
                    next = rung.next();
                    if next.is_none() {
                        break;
                    }
                }
            }
        }
        steps
    }

    fn act(
        &mut self,
        rung: Rung,
        measured: &Measured<'_>,
        means: Means,
        pods: &[Victim],
    ) -> Result<Action, Pass> {
        let shortage = measured.short.shortage;
        let some = |taken: Vec<(String, Bytes)>, why| {
            if taken.is_empty() {
                Err(Pass::Nothing(why))
            } else {
                Ok(taken)
            }
        };
        match rung {
            Rung::StopScheduling => Ok(Action::StopScheduling { on: true }),
            Rung::TuneMemcg if !means.soft_limits => {
                Err(Pass::Nothing("no group has a soft limit"))
            }
            Rung::TuneMemcg => {
                let mut limits = some(
                    soft_limits(shortage, pods),
                    "no reclaimed pod has memory to give",
                )?;
                for (uid, limit) in &mut limits {
                    // Never above what stands: a pod that did not shrink yet is not let go.
                    if let Some(stands) = self.limits.get(uid) {
                        *limit = (*limit).min(*stands);
                    }
                    self.limits.insert(uid.clone(), *limit);
                }
                self.limited = true;
                Ok(Action::SoftLimits(limits))
            }
            Rung::DropCache | Rung::Offload if means.reclaiming => Err(Pass::Wait),
            Rung::DropCache | Rung::Offload if !means.reclaim => Err(Pass::Nothing(
                "the kernel has no file to ask a group for memory",
            )),
            Rung::DropCache => {
                let taken = some(drop_cache(shortage, pods), "no page cache worth the reads")?;
                self.reclaimed = true;
                Ok(Action::DropCache(taken))
            }
            Rung::Offload if !means.swap => Err(Pass::Nothing("no swap with room")),
            Rung::Offload => {
                let taken = some(
                    offload(shortage, pods),
                    "no reclaimed pod has memory to give",
                )?;
                self.reclaimed = true;
                Ok(Action::Offload(taken))
            }
            Rung::Evict => {
                let proposal = Proposal {
                    place: measured.short.place,
                    shortage,
                    severity: measured.short.severity,
                    reason: measured.words(),
                };
                self.proposal = Some(proposal.clone());
                Ok(Action::Propose(proposal))
            }
        }
    }

    fn take(
        &mut self,
        now: f64,
        rung: Rung,
        action: Option<Action>,
        measured: &Measured<'_>,
        how: &str,
    ) -> Step {
        self.at = self.at.max(Some(rung));
        self.taken.insert(
            rung,
            Taken {
                at: now,
                available: measured.available,
                shortage: measured.short.shortage,
            },
        );
        Step {
            rung,
            action,
            why: measured.words() + how,
        }
    }

    fn calm(&mut self, now: f64) -> Vec<Step> {
        let since = *self.calm_since.get_or_insert(now);
        let calm = now - since;
        let mut steps = Vec::new();
        if self.at.is_none() {
            return steps;
        }
        let over = |rung, action, why: &str| Step {
            rung,
            action: Some(action),
            why: format!("{why}, calm for {calm:.0} s"),
        };
        self.proposal = None;
        self.short_since = None;
        if std::mem::take(&mut self.reclaimed) {
            steps.push(over(
                Rung::DropCache,
                Action::Cancel,
                "the shortage is over",
            ));
        }
        if calm >= RELEASE_SECONDS {
            if std::mem::take(&mut self.limited) {
                self.limits.clear();
                steps.push(over(Rung::TuneMemcg, Action::Release, "limits are back"));
            }
            self.passed.clear();
            self.taken.retain(|rung, _| *rung == Rung::StopScheduling);
            self.at = self.at.min(Some(Rung::StopScheduling));
        }
        if calm >= REOPEN_SECONDS && std::mem::take(&mut self.stopped) {
            self.at = None;
            self.taken.clear();
            steps.push(over(
                Rung::StopScheduling,
                Action::StopScheduling { on: false },
                "batch may come again",
            ));
        }
        steps
    }
}

/// Why a rung is not taken.
enum Pass {
    /// Nothing to take, or no means; the next one is tried.
    Nothing(&'static str),
    /// It is still at work.
    Wait,
}

struct Measured<'a> {
    short: &'a Short,
    available: Bytes,
}

impl Measured<'_> {
    fn words(&self) -> String {
        let place = match self.short.place {
            Place::Machine => "the machine".to_owned(),
            Place::Node(id) => format!("NUMA node {id}"),
        };
        let foreseen = if self.short.only_stop {
            "foreseen, "
        } else {
            ""
        };
        format!(
            "{place} is short of memory ({foreseen}{}): {} MiB available, {} MiB missing",
            self.short.severity.as_str(),
            self.available.get() >> 20,
            self.short.shortage.get() >> 20
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{memory::ladder::victims::tests::pod, qos::Level};

    const MIB: u64 = 1 << 20;
    const ALL: Means = Means {
        soft_limits: true,
        reclaim: true,
        swap: true,
        reclaiming: false,
    };

    fn short(severity: Severity) -> Short {
        Short {
            severity,
            shortage: Bytes::new(100 * MIB),
            ..Short::default()
        }
    }

    fn pods() -> Vec<Victim> {
        vec![
            pod("a", Level::Reclaimed, 400, 300, 100),
            pod("s", Level::Shared, 100, 100, 100),
        ]
    }

    /// Steps once a second while `short` says so; rungs with whether something was done.
    fn climb(
        ladder: &mut Ladder,
        seconds: std::ops::Range<u32>,
        short: Option<Short>,
        available: impl Fn(u32) -> u64,
        means: Means,
    ) -> Vec<(u32, Rung, bool)> {
        seconds
            .flat_map(|second| {
                let bytes = Bytes::new(available(second) * MIB);
                ladder
                    .step(f64::from(second), short.as_ref(), bytes, means, pods)
                    .into_iter()
                    .map(move |step| (second, step.rung, step.action.is_some()))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn rungs_in_order_each_with_its_time() {
        let mut ladder = Ladder::default();
        let warned = climb(
            &mut ladder,
            0..61,
            Some(short(Severity::Warning)),
            |_| 10,
            ALL,
        );
        assert_eq!(
            warned,
            [
                (0, Rung::StopScheduling, true),
                (2, Rung::TuneMemcg, true),
                (5, Rung::DropCache, true),
                (9, Rung::Offload, true),
                (60, Rung::Evict, true),
            ]
        );
        assert!(ladder.proposal().is_some());
    }

    #[test]
    fn a_critical_shortage_climbs_fast() {
        let mut ladder = Ladder::default();
        let said = climb(
            &mut ladder,
            0..20,
            Some(short(Severity::Critical)),
            |_| 10,
            ALL,
        );
        assert_eq!(
            said,
            [
                (0, Rung::StopScheduling, true),
                (0, Rung::TuneMemcg, true),
                (2, Rung::DropCache, true),
                (4, Rung::Offload, true),
                (7, Rung::Evict, true),
                (15, Rung::Evict, true),
            ]
        );
    }

    #[test]
    fn what_helps_is_taken_again_and_nobody_is_evicted() {
        let mut ladder = Ladder::default();
        // Each second 20 MiB come back.
        let said = climb(
            &mut ladder,
            0..30,
            Some(short(Severity::Critical)),
            |second| 10 + 20 * u64::from(second),
            ALL,
        );
        assert!(
            said.iter().all(|(_, rung, _)| *rung <= Rung::TuneMemcg),
            "{said:?}"
        );
    }

    #[test]
    fn rungs_without_means_are_passed_over_once() {
        let mut ladder = Ladder::default();
        let none = Means {
            soft_limits: false,
            reclaim: false,
            swap: false,
            reclaiming: false,
        };
        let said = climb(
            &mut ladder,
            0..12,
            Some(short(Severity::Critical)),
            |_| 10,
            none,
        );
        assert_eq!(
            said,
            [
                (0, Rung::StopScheduling, true),
                (0, Rung::TuneMemcg, false),
                (0, Rung::DropCache, false),
                (0, Rung::Offload, false),
                (0, Rung::Evict, true),
                (8, Rung::Evict, true),
            ]
        );
    }

    #[test]
    fn a_rung_at_work_is_waited_for() {
        let mut ladder = Ladder::default();
        let busy = Means {
            reclaiming: true,
            ..ALL
        };
        let said = climb(
            &mut ladder,
            0..20,
            Some(short(Severity::Critical)),
            |_| 10,
            busy,
        );
        assert_eq!(said.last().map(|last| last.1), Some(Rung::TuneMemcg));
    }

    #[test]
    fn it_stops_when_the_shortage_is_over_and_gives_back() {
        let mut ladder = Ladder::default();
        climb(
            &mut ladder,
            0..5,
            Some(short(Severity::Critical)),
            |_| 10,
            ALL,
        );
        assert!(!ladder.limits().is_empty());
        let said = climb(&mut ladder, 5..80, None, |_| 500, ALL);
        assert_eq!(
            said,
            [
                (5, Rung::DropCache, true),
                (15, Rung::TuneMemcg, true),
                (65, Rung::StopScheduling, true),
            ]
        );
        assert!(ladder.limits().is_empty() && ladder.rung().is_none());
        assert!(!ladder.stops_scheduling() && ladder.proposal().is_none());
    }

    #[test]
    fn a_second_shortage_soon_after_climbs_from_below() {
        let mut ladder = Ladder::default();
        climb(
            &mut ladder,
            0..8,
            Some(short(Severity::Critical)),
            |_| 10,
            ALL,
        );
        climb(&mut ladder, 8..30, None, |_| 500, ALL);
        let said = climb(
            &mut ladder,
            30..34,
            Some(short(Severity::Critical)),
            |_| 10,
            ALL,
        );
        assert_eq!(
            said,
            [(30, Rung::TuneMemcg, true), (32, Rung::DropCache, true)]
        );
    }

    #[test]
    fn what_is_only_foreseen_goes_no_further() {
        let mut ladder = Ladder::default();
        let foreseen = Short {
            only_stop: true,
            ..short(Severity::Warning)
        };
        let said = climb(&mut ladder, 0..90, Some(foreseen), |_| 10, ALL);
        assert_eq!(said, [(0, Rung::StopScheduling, true)]);
    }
}
