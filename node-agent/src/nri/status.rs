//! What `/debug/state`, the notices and the metrics say about the connection to the runtime.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use katalyst_runtime::Metrics as Registry;
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};
use serde::Serialize;

use super::features::Features;
use crate::notices::Notices;

/// Subject of the notice about the connection.
const CONNECTION: &str = "nri";
/// Subject of the notice about late answers.
const LATE: &str = "nri answers";
/// Subject of the notice about values that could not be sent.
const LEFT_OUT: &str = "nri adjustments";

/// Where the plugin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Not connected; the next attempt comes.
    Disconnected,
    /// Another process of this node is the plugin.
    Excluded,
    /// Registered, and waiting for the runtime's list of pods.
    Registered,
    /// New containers are asked for.
    Synchronized,
}

/// What `/debug/state` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Where the plugin stands.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// The runtime and its version.
    pub runtime: Option<String>,
    /// NRI version that it announced.
    pub nri_version: Option<String>,
    /// What it has beyond the first versions.
    pub features: Features,
    /// Answers that changed something since the agent started.
    pub adjusted: u64,
    /// Answers given without the placement, because it took too long.
    pub late: u64,
    /// How the last connection ended.
    pub last_end: Option<String>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabel {
    event: &'static str,
}

/// Handles; clones share them.
#[derive(Debug, Clone)]
pub struct Status {
    state: Arc<Mutex<State>>,
    notices: Notices,
    connected: Gauge,
    connections: Counter,
    answers: Family<EventLabel, Histogram>,
    late: Family<EventLabel, Counter>,
    adjusted: Family<EventLabel, Counter>,
}

impl Status {
    /// Disconnected. Registers the metrics.
    pub fn new(notices: Notices, registry: &Registry) -> Self {
        let status = Self {
            state: Arc::new(Mutex::new(State {
                phase: Phase::Disconnected,
                since: Timestamp::now(),
                runtime: None,
                nri_version: None,
                features: Features::default(),
                adjusted: 0,
                late: 0,
                last_end: None,
            })),
            notices,
            connected: Gauge::default(),
            connections: Counter::default(),
            // 50 µs to 1.6 s: the runtime drops a plugin after 2 s.
            answers: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.000_05, 2.0, 16))
            }),
            late: Family::default(),
            adjusted: Family::default(),
        };
        let of = status.clone();
        registry.register(move |r| {
            r.register(
                "agent_nri_connected",
                "1 while the runtime asks before it creates containers",
                of.connected,
            );
            r.register(
                "agent_nri_connections",
                "Connections to the runtime that were synchronized",
                of.connections,
            );
            r.register(
                "agent_nri_answer_seconds",
                "From a question of the runtime to the answer, by event",
                of.answers,
            );
            r.register(
                "agent_nri_late_answers",
                "Answers without the placement, because it took too long, by event",
                of.late,
            );
            r.register(
                "agent_nri_adjustments",
                "Answers that changed a container, by event",
                of.adjusted,
            );
        });
        status
    }

    /// For `/debug/state`.
    pub fn state(&self) -> State {
        self.state.lock().clone()
    }

    fn phase(&self, phase: Phase) {
        let mut state = self.state.lock();
        if state.phase != phase {
            state.phase = phase;
            state.since = Timestamp::now();
        }
        self.connected.set(i64::from(phase == Phase::Synchronized));
    }

    /// No connection; `why` is for a person.
    pub fn disconnected(&self, why: &str) {
        self.phase(Phase::Disconnected);
        self.state.lock().last_end = Some(why.to_owned());
        self.notices.set(
            CONNECTION,
            format!("off: {why}; placement is applied by the reconciler within one interval"),
        );
    }

    /// Another process holds the lock.
    pub fn excluded(&self, who: &str) {
        self.phase(Phase::Excluded);
        self.notices.set(
            CONNECTION,
            format!("off: {who} is this node's plugin; two would contradict each other"),
        );
    }

    /// The runtime took the registration and said what it is.
    pub fn configured(&self, runtime: String, nri_version: String, features: Features) {
        self.phase(Phase::Registered);
        let mut state = self.state.lock();
        state.runtime = Some(runtime);
        state.nri_version = Some(nri_version).filter(|version| !version.is_empty());
        state.features = features;
    }

    /// The runtime's pods are known.
    pub fn synchronized(&self) {
        self.phase(Phase::Synchronized);
        self.connections.inc();
        self.notices.clear(CONNECTION);
    }

    /// An answer left after `seconds`.
    pub fn answered(&self, event: &'static str, seconds: f64) {
        self.answers
            .get_or_create(&EventLabel { event })
            .observe(seconds);
    }

    /// An answer was given without the placement.
    pub fn late(&self, event: &'static str, budget: Duration) {
        self.late.get_or_create(&EventLabel { event }).inc();
        self.state.lock().late += 1;
        self.notices.set(
            LATE,
            format!("the placement took more than {budget:?} for {event}; the reconciler makes up for it"),
        );
    }

    /// A container was asked for in time.
    pub fn in_time(&self) {
        self.notices.clear(LATE);
    }

    /// An answer changed something.
    pub fn adjusted(&self, event: &'static str, containers: u64) {
        self.adjusted
            .get_or_create(&EventLabel { event })
            .inc_by(containers);
        self.state.lock().adjusted += containers;
    }

    /// Values of a container that could not be sent; none ends the notice about an earlier one.
    pub fn left_out(&self, container: &str, problems: &[String]) {
        if problems.is_empty() {
            self.notices.clear(LEFT_OUT);
        }
        if let Some(first) = problems.first() {
            let more = problems.len().saturating_sub(1);
            self.notices.set(
                LEFT_OUT,
                format!("container {container}: {first} (and {more} more)"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_follow_the_connection() {
        let notices = Notices::new();
        let status = Status::new(notices.clone(), &Registry::new("agent", "0"));
        status.disconnected("no socket at /run/x");
        assert!(
            notices.texts()[0].starts_with("nri: off: no socket at /run/x; placement is applied")
        );
        status.configured(
            "containerd v2.4.2".to_owned(),
            String::new(),
            Features::default(),
        );
        assert_eq!(status.state().phase, Phase::Registered);
        status.synchronized();
        status.late("CreateContainer", Duration::from_millis(200));
        assert_eq!(notices.texts().len(), 1, "{:?}", notices.texts());
        status.in_time();
        assert!(notices.texts().is_empty());
        assert_eq!(
            (status.state().phase, status.state().late),
            (Phase::Synchronized, 1)
        );
    }
}
