//! Metrics of devices. Labels are fixed words only.

use katalyst_runtime::Metrics as Registry;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Handles; clones share them.
#[derive(Clone, Debug, Default)]
pub struct DeviceMetrics {
    holders: Gauge,
    refused: Family<Reason, Counter>,
}

impl DeviceMetrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> Self {
        let metrics = Self::default();
        let of = metrics.clone();
        registry.register(move |r| {
            r.register(
                "agent_device_pods",
                "Pods that hold cards by their record",
                of.holders,
            );
            r.register(
                "agent_device_refusals",
                "Containers that were not created because of their record, and running pods that hold what others hold too, by reason",
                of.refused,
            );
        });
        metrics
    }

    pub(super) fn holders(&self, pods: usize) {
        self.holders.set(i64::try_from(pods).unwrap_or(i64::MAX));
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    #[cfg(test)]
    pub(super) fn refusals(&self, reason: &'static str) -> u64 {
        self.refused.get_or_create(&Reason { reason }).get()
    }
}
