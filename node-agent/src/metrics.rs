//! The agent's metrics. Labels are fixed words only.

use std::sync::atomic::AtomicU64;

use katalyst_core::reclaimed::Reclaimed;
use katalyst_runtime::Metrics as Registry;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};

use crate::{devices::DeviceMetrics, pools::PoolMetrics};

type Float = Gauge<f64, AtomicU64>;

/// Whose use.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Usage {
    group: &'static str,
    resource: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Resource {
    resource: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Handles of all metrics; clones share them.
#[derive(Clone, Debug)]
pub struct AgentMetrics {
    usage: Family<Usage, Float>,
    ceiling: Family<Resource, Float>,
    held_pods: Gauge,
    writes: Counter,
    errors: Family<Reason, Counter>,
    reflex: Histogram,
    missed_ticks: Counter,
    surges: Counter,
    pressed: Counter,
    reports: Family<ResultLabel, Counter>,
    evictions: Family<ResultLabel, Counter>,
    /// Of the pools.
    pub pools: PoolMetrics,
    /// Of devices.
    pub devices: DeviceMetrics,
}

impl AgentMetrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> Self {
        let metrics = Self {
            usage: Family::default(),
            ceiling: Family::default(),
            held_pods: Gauge::default(),
            writes: Counter::default(),
            errors: Family::default(),
            // 0.5 ms to 8 s.
            reflex: Histogram::new(exponential_buckets(0.000_5, 2.0, 15)),
            missed_ticks: Counter::default(),
            surges: Counter::default(),
            pressed: Counter::default(),
            reports: Family::default(),
            evictions: Family::default(),
            pools: PoolMetrics::register(registry),
            devices: DeviceMetrics::register(registry),
        };
        let of = metrics.clone();
        registry.register(move |r| {
            r.register(
                "agent_usage",
                "Use in the last sample: CPU in cores, memory in bytes",
                of.usage,
            );
            r.register(
                "agent_reclaimed_ceiling",
                "What reclaimed pods together may use: cores, bytes",
                of.ceiling,
            );
            r.register(
                "agent_held_pods",
                "Reclaimed pods under the ceiling",
                of.held_pods,
            );
            r.register("agent_cgroup_writes", "Files written", of.writes);
            r.register(
                "agent_errors",
                "Failed reads and writes of kernel files, by reason",
                of.errors,
            );
            r.register(
                "agent_reflex_seconds",
                "From the start of a sample to its last write",
                of.reflex,
            );
            r.register(
                "agent_missed_ticks",
                "Samples left out because the one before took too long",
                of.missed_ticks,
            );
            r.register(
                "agent_surges",
                "Surges of services that lowered the ceiling between two samples",
                of.surges,
            );
            r.register(
                "agent_pressure_events",
                "Times a pressure trigger of services woke the agent",
                of.pressed,
            );
            r.register(
                "agent_reports",
                "Reports to the CustomNodeResource, by result",
                of.reports,
            );
            r.register("agent_evictions", "Evictions, by result", of.evictions);
        });
        metrics
    }

    /// The use of a group: `machine`, `service` or `reclaimed`.
    pub fn set_usage(&self, group: &'static str, usage: Reclaimed) {
        let set = |resource, value| {
            self.usage
                .get_or_create(&Usage { group, resource })
                .set(value);
        };
        set("cpu", usage.cpu.get() as f64 / 1_000.0);
        set("memory", usage.memory.get() as f64);
    }

    /// The ceiling and how many pods are under it.
    pub fn set_ceiling(&self, ceiling: Reclaimed, pods: usize) {
        self.ceiling
            .get_or_create(&Resource { resource: "cpu" })
            .set(ceiling.cpu.get() as f64 / 1_000.0);
        self.ceiling
            .get_or_create(&Resource { resource: "memory" })
            .set(ceiling.memory.get() as f64);
        self.held_pods.set(i64::try_from(pods).unwrap_or(i64::MAX));
    }

    /// Files written.
    pub fn wrote(&self, files: u64) {
        self.writes.inc_by(files);
    }

    /// A kernel file that failed; `reason` is a fixed word.
    pub fn error(&self, reason: &'static str) {
        self.errors.get_or_create(&Reason { reason }).inc();
    }

    /// A tick was done in `seconds`.
    pub fn tick(&self, seconds: f64) {
        self.reflex.observe(seconds);
    }

    /// Ticks left out.
    pub fn missed(&self, ticks: u64) {
        self.missed_ticks.inc_by(ticks);
    }

    /// A surge between two samples.
    pub fn surge(&self) {
        self.surges.inc();
    }

    /// A pressure trigger fired.
    pub fn pressed(&self) {
        self.pressed.inc();
    }

    /// A report; `result` is a fixed word.
    pub fn report(&self, result: &'static str) {
        self.reports.get_or_create(&ResultLabel { result }).inc();
    }

    /// An eviction; `result` is a fixed word.
    pub fn eviction(&self, result: &'static str) {
        self.evictions.get_or_create(&ResultLabel { result }).inc();
    }
}
