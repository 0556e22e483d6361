//! Metrics of the pools. Labels are fixed words only.

use katalyst_core::pools::{PoolPlan, RefusalReason};
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

use crate::rebind::RebindMetrics;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Handles; clones share them.
#[derive(Clone, Debug)]
pub struct PoolMetrics {
    cpus: Family<Kind, Gauge>,
    pods: Family<Kind, Gauge>,
    refused: Family<Reason, Gauge>,
    writes: Counter,
    moved: Counter,
    plan: Histogram,
    pass: Histogram,
    memory: Histogram,
    /// Of the memset binder.
    pub rebind: RebindMetrics,
}

impl PoolMetrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> Self {
        let metrics = Self {
            cpus: Family::default(),
            pods: Family::default(),
            refused: Family::default(),
            writes: Counter::default(),
            moved: Counter::default(),
            // 10 us to 0.3 s.
            plan: Histogram::new(exponential_buckets(0.000_01, 2.0, 15)),
            pass: Histogram::new(exponential_buckets(0.000_1, 2.0, 15)),
            // 1 ms to 16 s.
            memory: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            rebind: RebindMetrics::register(registry),
        };
        let of = metrics.clone();
        registry.register(move |r| {
            r.register("agent_pool_cpus", "CPUs of the pools, by kind", of.cpus);
            r.register("agent_pool_pods", "Pods in the pools, by kind", of.pods);
            r.register(
                "agent_pool_refused_pods",
                "Pods whose wish was refused, by reason",
                of.refused,
            );
            r.register(
                "agent_cpuset_writes",
                "Files written for pools: CPUs, memory nodes, weights",
                of.writes,
            );
            r.register(
                "agent_moved_cpus",
                "CPUs that running pods gained or lost by plans",
                of.moved,
            );
            r.register("agent_pool_plan_seconds", "Computing one plan", of.plan);
            r.register(
                "agent_pool_pass_seconds",
                "From the first read of a pass to its last write",
                of.pass,
            );
            r.register(
                "agent_memory_nodes_write_seconds",
                "Writing memory nodes of pods, the moving of their pages included",
                of.memory,
            );
        });
        metrics
    }

    /// A plan was computed in `seconds`.
    pub(super) fn planned(&self, plan: &PoolPlan, seconds: f64, moved: u64) {
        self.plan.observe(seconds);
        self.moved.inc_by(moved);
        self.cpus.clear();
        self.pods.clear();
        for pool in plan.pools.values() {
            let kind = Kind {
                kind: pool.kind.as_str(),
            };
            let cpus = i64::try_from(pool.cpus.len()).unwrap_or(i64::MAX);
            self.cpus.get_or_create(&kind).inc_by(cpus);
            self.pods.get_or_create(&kind).inc_by(i64::from(pool.pods));
        }
        self.refused.clear();
        for refusal in &plan.refused {
            self.refused(refusal.reason);
        }
    }

    fn refused(&self, reason: RefusalReason) {
        let reason = Reason {
            reason: reason.as_str(),
        };
        self.refused.get_or_create(&reason).inc();
    }

    /// Memory nodes were written in `seconds`, and the pages are moved.
    pub fn wrote_memory(&self, seconds: f64) {
        self.memory.observe(seconds);
    }

    /// A pass took `seconds` and wrote so many files.
    pub(super) fn passed(&self, seconds: f64, written: u64) {
        self.pass.observe(seconds);
        self.writes.inc_by(written);
    }
}
