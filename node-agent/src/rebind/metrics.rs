//! Metrics of the binder. Labels are fixed words only.

use katalyst_core::rebind::{RebindKind, RebindPlan};
use katalyst_runtime::Metrics as Registry;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Handles; clones share them.
#[derive(Clone, Debug, Default)]
pub struct RebindMetrics {
    changes: Family<Kind, Counter>,
    moved: Counter,
    hot: Gauge,
    stay: Family<Reason, Gauge>,
    away: Gauge,
}

impl RebindMetrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> Self {
        let metrics = Self::default();
        let of = metrics.clone();
        registry.register(move |r| {
            r.register(
                "agent_memory_rebinds",
                "Pods whose memory nodes the binder changed: leave a hot node, or release to all nodes",
                of.changes,
            );
            r.register(
                "agent_memory_rebind_moved_bytes",
                "Bytes that left hot NUMA nodes with their pods, measured",
                of.moved,
            );
            r.register("agent_memory_hot_nodes", "NUMA nodes that run out of memory", of.hot);
            r.register(
                "agent_memory_rebind_refused_pods",
                "Pods on hot NUMA nodes that stay, by reason",
                of.stay,
            );
            r.register(
                "agent_memory_rebound_pods",
                "Pods that are kept away from a NUMA node",
                of.away,
            );
        });
        metrics
    }

    pub(super) fn decided(&self, plan: &RebindPlan, away: usize) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.hot.set(count(plan.hot.len()));
        self.away.set(count(away));
        self.stay.clear();
        for skip in &plan.skipped {
            let reason = Reason {
                reason: skip.reason.as_str(),
            };
            self.stay.get_or_create(&reason).inc();
        }
    }

    pub(super) fn changed(&self, kind: RebindKind) {
        let kind = match kind {
            RebindKind::Leave => "leave",
            RebindKind::Release => "release",
        };
        self.changes.get_or_create(&Kind { kind }).inc();
    }

    pub(super) fn moved(&self, bytes: u64) {
        self.moved.inc_by(bytes);
    }
}
