//! What is counted. Labels come from fixed sets.

use katalyst_runtime::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// A verb and how its question was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// `filter`, `prioritize`, `preempt` or `bind`.
    pub verb: &'static str,
    /// See [`Outcome::label`].
    pub result: &'static str,
}

/// A verb.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VerbLabels {
    /// `filter`, `prioritize`, `preempt` or `bind`.
    pub verb: &'static str,
}

/// A reason to reject a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// See [`crate::ledger::Rejection::label`].
    pub reason: &'static str,
}

/// How a touch of a node ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WakeupLabels {
    /// `ok` or `error`.
    pub result: &'static str,
}

/// How a question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With what was asked for.
    Ok,
    /// No node can take the pod, or the place was gone at bind.
    Rejected,
    /// The question itself is wrong.
    Invalid,
    /// The API server refused, or did not answer in time.
    ApiError,
    /// Caches are not filled, or this process does not lead.
    NotReady,
}

impl Outcome {
    /// As a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Rejected => "rejected",
            Self::Invalid => "invalid",
            Self::ApiError => "api_error",
            Self::NotReady => "not_ready",
        }
    }
}

/// The extender's metrics.
#[derive(Debug, Clone)]
pub struct ExtenderMetrics {
    /// Questions by verb and result.
    pub requests: Family<RequestLabels, Counter>,
    /// Seconds from a complete question to its answer.
    pub seconds: Family<VerbLabels, Histogram, fn() -> Histogram>,
    /// Nodes rejected, by reason, in questions where no node fitted.
    pub rejections: Family<ReasonLabels, Counter>,
    /// Pods charged to a node that the watch has not shown there yet.
    pub assumed: Gauge,
    /// Bindings whose outcome is not known.
    pub doubts: Gauge,
    /// Nodes known.
    pub nodes: Gauge,
    /// Seconds since a custom resource was last seen to change.
    pub offers_age: Gauge,
    /// Seconds since a pod was last seen to change.
    pub pods_age: Gauge,
    /// Pods that found no room lately.
    pub waiting: Gauge,
    /// Nodes touched to wake waiting pods.
    pub wakeups: Family<WakeupLabels, Counter>,
}

impl ExtenderMetrics {
    /// Registers all of them.
    pub fn new(metrics: &Metrics) -> Self {
        let this = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram),
            rejections: Family::default(),
            assumed: metrics.gauge(
                "extender_assumed_pods",
                "Pods charged to a node that the watch has not shown there yet",
            ),
            doubts: metrics.gauge(
                "extender_doubtful_bindings",
                "Bindings whose outcome is not known",
            ),
            nodes: metrics.gauge(
                "extender_nodes",
                "Nodes with a custom resource or with pods on reclaimed resources",
            ),
            offers_age: metrics.gauge(
                "extender_offers_age_seconds",
                "Time since a CustomNodeResource was last seen to change",
            ),
            pods_age: metrics.gauge(
                "extender_pods_age_seconds",
                "Time since a bound pod was last seen to change",
            ),
            waiting: metrics.gauge("extender_waiting_pods", "Pods that found no room lately"),
            wakeups: Family::default(),
        };
        metrics.register(|registry| {
            registry.register(
                "extender_requests",
                "Questions of kube-scheduler",
                this.requests.clone(),
            );
            registry.register(
                "extender_request_seconds",
                "Time from a complete question to its answer",
                this.seconds.clone(),
            );
            registry.register(
                "extender_rejected_nodes",
                "Nodes rejected in questions where no node fitted",
                this.rejections.clone(),
            );
            registry.register(
                "extender_wakeups",
                "Nodes touched so that kube-scheduler tries rejected pods again",
                this.wakeups.clone(),
            );
        });
        this
    }

    /// Counts an answered question.
    pub fn answered(&self, verb: &'static str, outcome: Outcome, seconds: f64) {
        self.requests
            .get_or_create(&RequestLabels {
                verb,
                result: outcome.label(),
            })
            .inc();
        self.seconds
            .get_or_create(&VerbLabels { verb })
            .observe(seconds);
    }
}

/// 25 microseconds to 6.5 seconds: from a filter over a few nodes to the scheduler's patience.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_025, 2.0, 19))
}
