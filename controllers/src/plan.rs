//! From a view of a node to the write it needs, if any: the plan as data.
//!
//! A [`Planner`] holds what one period of leadership remembers of each node: the estimate that stands, what was written, and
//! when a failed write may be tried again. It never talks to the API server; [`crate::apply`] does, or in dry-run nobody does.

mod memory;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use katalyst_core::capacity::{Params, Published};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_runtime::backoff::Backoff;
use rand::Rng;
use serde_json::Value;

pub use memory::Memory;

use crate::capacity::{self, Agent, Decision, Pace, Standing, StatusReason};
use crate::index::NodeView;
use crate::lifecycle::{self, ObjectReason};

/// Waits between attempts of a failing write, for each node.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// Waits between repairs of the same node, so that another writer who insists costs a few writes a minute and no more.
const REPAIR: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));

/// A node left alone for this long starts its series of repairs anew, in seconds.
const REPAIR_FORGIVEN_SECONDS: f64 = 600.0;

/// What the planner works by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Knobs of the estimator.
    pub params: Params,
    /// How long changes that can wait do wait.
    pub pace: Pace,
    /// After the start of leadership, how long an agent that this process never saw report has to do so before it is called
    /// silent, in seconds. An outage of the API server must not cost a node its offer.
    pub grace_seconds: f64,
}

/// One write to a CNR.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Name of the CNR.
    pub name: String,
    /// What is written, and why.
    pub target: Target,
    /// The object to apply.
    pub body: Value,
}

/// Which part of a CNR is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The object itself: metadata.
    Object(ObjectReason),
    /// The status subresource.
    Status(StatusReason, Box<Decision>),
}

impl Target {
    /// Name of the part, for logs and metric labels.
    pub const fn part(&self) -> &'static str {
        match self {
            Self::Object(_) => "object",
            Self::Status(..) => "status",
        }
    }

    /// Name of the reason, for logs and metric labels.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Object(reason) => reason.as_str(),
            Self::Status(reason, _) => reason.as_str(),
        }
    }
}

/// Sums over all nodes, for the metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// What is offered.
    pub offered: Reclaimed,
    /// What is allocated.
    pub allocated: Reclaimed,
    /// Nodes whose agent reports.
    pub ready: usize,
    /// Nodes whose agent fell silent.
    pub silent: usize,
    /// Nodes on which no agent ever reported.
    pub never_reported: usize,
    /// Nodes whose report can't be read.
    pub malformed: usize,
}

/// Plans the writes of one period of leadership.
#[derive(Debug)]
pub struct Planner {
    rules: Rules,
    /// Unix seconds.
    started_at: f64,
    nodes: BTreeMap<String, Memory>,
}

impl Planner {
    /// A planner that remembers nothing, whose leadership begins at `now` (Unix seconds).
    pub fn new(rules: Rules, now: f64) -> Self {
        Self {
            rules,
            started_at: now,
            nodes: BTreeMap::new(),
        }
    }

    /// What a node needs at `now` (Unix seconds): nothing, or one write. Its CNR comes first; its status follows once that exists.
    pub fn plan(&mut self, view: &NodeView, now: f64) -> Option<Write> {
        if view.node.is_none() {
            self.nodes.remove(&view.name);
            return None;
        }
        let memory = self.nodes.entry(view.name.clone()).or_default();
        if now < memory.not_before {
            return None;
        }
        if let Some((reason, body)) = lifecycle::plan(view) {
            return Some(Write {
                name: view.name.clone(),
                target: Target::Object(reason),
                body,
            });
        }
        let cnr = view.cnr.as_deref().filter(|cnr| !cnr.terminating)?;

        if memory.standing.is_none() {
            memory.adopt(&cnr.ours, now);
        }
        let known = memory
            .standing
            .as_ref()
            .map_or(Reclaimed::ZERO, |standing| standing.capacity);
        let decision = capacity::decide(
            view,
            &self.rules.params,
            memory.estimate.as_ref(),
            known,
            now,
        );
        if matches!(decision.agent, Agent::Silent { .. })
            && !view.report_witnessed
            && now < self.started_at + self.rules.grace_seconds
        {
            return None;
        }
        memory.estimate = Some(Published {
            offer: decision.estimate.offer,
            at_seconds: now,
        });
        let reason = memory.reason(&cnr.ours, &decision, self.rules.pace, now);
        memory.decision = Some(decision.clone());
        let reason = reason?;
        let body = capacity::patch(&view.name, &decision, &cnr.ours, timestamp(now));
        Some(Write {
            name: view.name.clone(),
            target: Target::Status(reason, Box::new(decision)),
            body,
        })
    }

    /// A write succeeded at `now` (Unix seconds).
    pub fn written(&mut self, write: &Write, now: f64, rng: &mut impl Rng) {
        let Some(memory) = self.nodes.get_mut(&write.name) else {
            return;
        };
        memory.retry.reset();
        memory.not_before = 0.0;
        memory.failure = None;
        if let Target::Status(reason, decision) = &write.target {
            memory.unreadable = None;
            memory.standing = Some(Standing::of(decision, now));
            memory.written = write.body.get("status").cloned();
            if *reason == StatusReason::Repaired {
                memory.repaired(now, rng);
            }
        }
    }

    /// A write was only printed, at `now` (Unix seconds).
    pub fn printed(&mut self, write: &Write, now: f64) {
        let Some(memory) = self.nodes.get_mut(&write.name) else {
            return;
        };
        match &write.target {
            Target::Status(_, decision) => memory.standing = Some(Standing::of(decision, now)),
            // Nothing will change, so saying it once is enough.
            Target::Object(_) => memory.not_before = f64::INFINITY,
        }
    }

    /// A write failed at `now` (Unix seconds): the node is left alone for a while. True when this failure is news, that is when
    /// the node's last write did not fail with the same text.
    pub fn failed(&mut self, name: &str, failure: String, now: f64, rng: &mut impl Rng) -> bool {
        let Some(memory) = self.nodes.get_mut(name) else {
            return false;
        };
        memory.not_before = now + memory.retry.next_delay(rng).as_secs_f64();
        let news = memory.failure.as_ref() != Some(&failure);
        memory.failure = Some(failure);
        news
    }

    /// What is wrong with a node's CNR, once for each text.
    pub fn complaint(&mut self, name: &str) -> Option<String> {
        let memory = self.nodes.get_mut(name)?;
        let wrong = match memory.decision.as_ref().map(|decision| &decision.agent) {
            Some(Agent::Malformed { error }) => Some(error.clone()),
            _ => memory.unreadable.clone(),
        };
        let news = wrong
            .as_ref()
            .filter(|wrong| memory.complaint.as_ref() != Some(wrong))
            .cloned();
        memory.complaint = wrong;
        news
    }

    /// Nothing is known about this node any more.
    pub fn forget(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// When the next node that was left alone may be tried again, in Unix seconds.
    pub fn next_due(&self, now: f64) -> Option<f64> {
        self.nodes
            .values()
            .map(|memory| memory.not_before)
            .filter(|due| *due > now && due.is_finite())
            .min_by(f64::total_cmp)
    }

    /// Sums over all nodes.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for Decision { agent, estimate } in self
            .nodes
            .values()
            .filter_map(|memory| memory.decision.as_ref())
        {
            totals.offered = totals.offered + estimate.offer;
            totals.allocated = totals.allocated
                + Reclaimed::new(estimate.cpu.allocated, estimate.memory.allocated);
            match agent {
                Agent::Ready => totals.ready += 1,
                Agent::Silent { .. } => totals.silent += 1,
                Agent::NeverReported => totals.never_reported += 1,
                Agent::Malformed { .. } => totals.malformed += 1,
            }
        }
        totals
    }

    /// What is remembered of each node.
    pub fn nodes(&self) -> impl Iterator<Item = (&String, &Memory)> {
        self.nodes.iter()
    }
}

fn timestamp(now: f64) -> Timestamp {
    Timestamp::from_millisecond((now * 1000.0) as i64).unwrap_or(Timestamp::UNIX_EPOCH)
}
