//! The single worker: takes what changed, plans, writes, and remembers how that went.
//!
//! One loop decides for all nodes, so there is no order between nodes to get wrong. It wakes when something changed, when a failed
//! write is due again, and every resync period, in which it looks at every node: time alone makes a report stale.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use katalyst_runtime::{BoxError, Heartbeat, Leader};
use parking_lot::Mutex;
use rand::Rng;
use tokio_util::sync::CancellationToken;

use crate::apply::{Outcome, Writer};
use crate::capacity::StatusReason;
use crate::complaints::{Complaint, Complaints};
use crate::index::CnrFacts;
use crate::plan::{Planner, Rules, Target, Write};
use crate::watch::Shared;

/// Changes are gathered for this long before a round, so that a burst of pods costs one.
const GATHER: Duration = Duration::from_millis(100);

/// Name of the writes among the sources of an outage.
const SOURCE: &str = "writes";

/// Where writes go.
#[derive(Debug)]
pub enum Output {
    /// To the API server.
    Api(Box<Writer>),
    /// To the log only.
    DryRun,
}

/// The worker's parts.
#[derive(Debug)]
pub struct Worker<R> {
    /// State and clock.
    pub shared: Shared,
    /// Who leads.
    pub leader: Leader,
    /// How it plans.
    pub rules: Rules,
    /// How often it looks at every node.
    pub resync: Duration,
    /// Where its writes go.
    pub output: Output,
    /// Where it complains about CNRs.
    pub complaints: Complaints,
    /// What it remembers, shared with `/debug/state`. `None` until this process leads.
    pub planner: Arc<Mutex<Option<Planner>>>,
    /// Randomness for backoff.
    pub rng: R,
}

impl<R: Rng + Send> Worker<R> {
    /// Runs until `stopping`.
    pub async fn run(
        mut self,
        heartbeat: Heartbeat,
        stopping: CancellationToken,
    ) -> Result<(), BoxError> {
        let mut election = self.leader.clone();
        let mut resync = tokio::time::interval(self.resync);
        resync.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let everything = tokio::select! {
                biased;
                () = stopping.cancelled() => return Ok(()),
                _ = resync.tick() => true,
                () = election.changed() => true,
                () = self.shared.changed.notified() => false,
                () = self.retry_due() => true,
            };
            heartbeat.beat();
            if !everything {
                tokio::time::sleep(GATHER).await;
            }
            self.round(everything).await;
        }
    }

    /// One round over what changed, or over every node.
    pub async fn round(&mut self, everything: bool) {
        if !self.shared.index.read().is_complete() {
            // An offer would rest on pods that were not seen yet.
            return;
        }
        if !self.leader.is_current() {
            // The names stay dirty only for a leader; the first round as one looks at every node.
            self.shared.index.write().take_dirty();
            self.shared.meters.index(&self.shared.index.read());
            return;
        }
        let started = Instant::now();
        let writes = self.plan(everything);
        let planning = started.elapsed();
        match &self.output {
            Output::Api(writer) => {
                let outcomes = writer.apply(writes).await;
                self.conclude(outcomes);
            }
            Output::DryRun => self.print(&writes),
        }
        self.shared.meters.round(planning, started.elapsed());
    }

    fn plan(&mut self, everything: bool) -> Vec<Write> {
        let now = self.shared.clock.now();
        let mut held = self.planner.lock();
        let everything = everything || held.is_none();
        let planner = held.get_or_insert_with(|| Planner::new(self.rules, now));
        let (views, gone) = {
            let mut index = self.shared.index.write();
            let dirty = index.take_dirty();
            let names = if everything {
                index.names()
            } else {
                dirty.clone()
            };
            let gone: Vec<String> = dirty
                .into_iter()
                .filter(|name| index.view(name, now).is_none())
                .collect();
            let views: Vec<_> = names
                .iter()
                .filter_map(|name| index.view(name, now))
                .collect();
            (views, gone)
        };
        for name in gone {
            planner.forget(&name);
        }
        let mut writes = Vec::new();
        for view in views {
            writes.extend(planner.plan(&view, now));
            if let Some(text) = planner.complaint(&view.name) {
                let uid = view
                    .cnr
                    .as_ref()
                    .map(|cnr| cnr.uid.as_str())
                    .unwrap_or_default();
                self.complaints.add(Complaint::cnr(&view.name, uid, text));
            }
        }
        self.shared.meters.totals(&planner.totals());
        self.shared.meters.index(&self.shared.index.read());
        writes
    }

    fn conclude(&mut self, outcomes: Vec<(Write, Outcome)>) {
        let now = self.shared.clock.now();
        let mut held = self.planner.lock();
        let Some(planner) = held.as_mut() else { return };
        let (mut answered, mut unavailable) = (false, None);
        let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (write, outcome) in outcomes {
            self.shared.meters.wrote(&write.target, outcome.as_str());
            match outcome {
                Outcome::Written(object) => {
                    answered = true;
                    log_written(&write);
                    planner.written(&write, now, &mut self.rng);
                    // The answer is the newest version: planning on from it needs no wait for the watch.
                    if let Some(facts) = CnrFacts::read(*object) {
                        self.shared.index.write().apply_cnr(facts, now);
                        self.shared.changed.notify_one();
                    }
                }
                Outcome::Fenced => {
                    tracing::debug!(cnr = write.name, "not written: not the leader any more");
                }
                Outcome::Postponed => tracing::debug!(cnr = write.name, "not written yet"),
                Outcome::Unavailable(error) => {
                    planner.failed(&write.name, error.clone(), now, &mut self.rng);
                    unavailable.get_or_insert(error);
                }
                Outcome::Refused(error) => {
                    answered = true;
                    if planner.failed(&write.name, error.clone(), now, &mut self.rng) {
                        refused.entry(error).or_default().push(write.name);
                    }
                }
            }
        }
        for (error, names) in refused {
            let first = names.first().map(String::as_str).unwrap_or_default();
            tracing::warn!(
                cnr = first,
                count = names.len(),
                error,
                "the API server refuses a write; trying again with backoff"
            );
        }
        match unavailable {
            Some(error) => self.shared.outage.failed(SOURCE, &error),
            None if answered => {
                self.shared.outage.works(SOURCE);
            }
            None => {}
        }
    }

    fn print(&mut self, writes: &[Write]) {
        let now = self.shared.clock.now();
        let mut held = self.planner.lock();
        let Some(planner) = held.as_mut() else { return };
        for write in writes {
            tracing::info!(
                cnr = write.name,
                part = write.target.part(),
                reason = write.target.reason(),
                body = %write.body,
                "dry run: would apply"
            );
            self.shared.meters.wrote(&write.target, "printed");
            planner.printed(write, now);
        }
    }

    /// Resolves when a write that failed may be tried again; never if none waits.
    async fn retry_due(&self) {
        let now = self.shared.clock.now();
        let due = self
            .planner
            .lock()
            .as_ref()
            .and_then(|planner| planner.next_due(now));
        match due {
            Some(due) => {
                let wait = Duration::try_from_secs_f64(due - now).unwrap_or(self.resync);
                tokio::time::sleep(wait).await;
            }
            None => std::future::pending().await,
        }
    }
}

fn log_written(write: &Write) {
    let (part, reason) = (write.target.part(), write.target.reason());
    match &write.target {
        Target::Status(StatusReason::Repaired | StatusReason::Unreadable, _) => tracing::warn!(
            cnr = write.name,
            reason,
            "the status was not what this controller wrote: restored"
        ),
        Target::Status(_, decision) => {
            let offer = decision.estimate.offer;
            tracing::debug!(cnr = write.name, part, reason, %offer, "written");
        }
        Target::Object(_) => tracing::info!(cnr = write.name, part, reason, "written"),
    }
}

#[cfg(test)]
mod tests;
