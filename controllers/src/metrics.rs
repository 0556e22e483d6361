//! What the controllers count.

use std::time::Duration;

use katalyst_runtime::Metrics;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::index::{Index, Kind};
use crate::plan::{Target, Totals};

/// Which write, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    part: &'static str,
    reason: &'static str,
    result: &'static str,
}

/// Which watched kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

/// Which resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    resource: &'static str,
}

/// How the agents of nodes do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgentLabels {
    agent: &'static str,
}

/// The controllers' metrics. Clones share the same values.
#[derive(Clone, Debug)]
pub struct Meters {
    offered: Family<ResourceLabels, Gauge>,
    allocated: Family<ResourceLabels, Gauge>,
    nodes: Family<AgentLabels, Gauge>,
    objects: Family<KindLabels, Gauge>,
    malformed: Family<KindLabels, Counter>,
    watch_errors: Family<KindLabels, Counter>,
    writes: Family<WriteLabels, Counter>,
    recompute: Histogram,
    round: Histogram,
}

impl Meters {
    /// Registers the metrics.
    pub fn new(metrics: &Metrics) -> Self {
        let meters = Self {
            offered: Family::default(),
            allocated: Family::default(),
            nodes: Family::default(),
            objects: Family::default(),
            malformed: Family::default(),
            watch_errors: Family::default(),
            writes: Family::default(),
            // 10 us to 10 s: one node to ten thousand.
            recompute: Histogram::new(exponential_buckets(1e-5, 4.0, 11)),
            round: Histogram::new(exponential_buckets(1e-3, 4.0, 9)),
        };
        let Self {
            offered,
            allocated,
            nodes,
            objects,
            malformed,
            watch_errors,
            writes,
            recompute,
            round,
        } = meters.clone();
        metrics.register(|registry| {
            registry.register(
                "capacity_offered",
                "Sum of what nodes offer: thousandths of a CPU, and bytes of memory",
                offered,
            );
            registry.register(
                "capacity_allocated",
                "Sum of the requests of bound reclaimed pods: thousandths of a CPU, and bytes of memory",
                allocated,
            );
            registry.register("capacity_nodes", "Nodes by the state of their agent", nodes);
            registry.register("index_objects", "Objects held in the index", objects);
            registry.register("malformed_objects", "Objects in which something could not be read", malformed);
            registry.register("watch_errors", "Errors of watches", watch_errors);
            registry.register("capacity_writes", "Writes to CNRs", writes);
            registry.register("capacity_recompute_seconds", "Time to plan the nodes of one round", recompute);
            registry.register("capacity_round_seconds", "Time of one round with its writes", round);
        });
        meters
    }

    /// One write ended.
    pub fn wrote(&self, target: &Target, result: &'static str) {
        let labels = WriteLabels {
            part: target.part(),
            reason: target.reason(),
            result,
        };
        self.writes.get_or_create(&labels).inc();
    }

    /// How many writes ended with `result`, for tests.
    #[cfg(test)]
    pub(crate) fn writes(&self, target: &Target, result: &'static str) -> u64 {
        let labels = WriteLabels {
            part: target.part(),
            reason: target.reason(),
            result,
        };
        self.writes.get_or_create(&labels).get()
    }

    /// Something in an object of `kind` could not be read.
    pub fn malformed(&self, kind: Kind) {
        self.malformed
            .get_or_create(&KindLabels {
                kind: kind.as_str(),
            })
            .inc();
    }

    /// A watch on `kind` failed.
    pub fn watch_failed(&self, kind: Kind) {
        self.watch_errors
            .get_or_create(&KindLabels {
                kind: kind.as_str(),
            })
            .inc();
    }

    /// A round was planned, and ended.
    pub fn round(&self, planning: Duration, whole: Duration) {
        self.recompute.observe(planning.as_secs_f64());
        self.round.observe(whole.as_secs_f64());
    }

    /// What the index holds.
    pub fn index(&self, index: &Index) {
        for kind in Kind::ALL {
            self.objects
                .get_or_create(&KindLabels {
                    kind: kind.as_str(),
                })
                .set(gauge(index.count(kind) as u64));
        }
    }

    /// Sums over all nodes.
    pub fn totals(&self, totals: &Totals) {
        let Totals {
            offered,
            allocated,
            ready,
            silent,
            never_reported,
            malformed,
        } = *totals;
        for (family, amounts) in [(&self.offered, offered), (&self.allocated, allocated)] {
            family
                .get_or_create(&ResourceLabels {
                    resource: "millicpu",
                })
                .set(gauge(amounts.cpu.get()));
            family
                .get_or_create(&ResourceLabels {
                    resource: "memory_bytes",
                })
                .set(gauge(amounts.memory.get()));
        }
        for (agent, count) in [
            ("ready", ready),
            ("silent", silent),
            ("never_reported", never_reported),
            ("malformed", malformed),
        ] {
            self.nodes
                .get_or_create(&AgentLabels { agent })
                .set(gauge(count as u64));
        }
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
