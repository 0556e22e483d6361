//! The metrics registry of one process, encoded as OpenMetrics text.

use std::{fmt, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::text,
    metrics::{gauge::Gauge, info::Info},
    registry::{Metric, Registry},
};

use crate::process_metrics::ProcessCollector;

/// Content type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Prefix of all metrics except the standard `process_*` ones.
const PREFIX: &str = "katalyst";

/// The metrics of one process. Clones share the same registry.
///
/// There is no global registry: whoever counts something receives this value, registers its metrics once, and keeps
/// the handles. Labels must come from fixed sets (reasons, kinds); never names, UIDs or error texts.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// A registry with `katalyst_build_info{component,version}` and the `process_*` metrics read from `/proc`.
    pub fn new(component: &'static str, version: &'static str) -> Self {
        Self::with_proc(component, version, PathBuf::from("/proc"))
    }

    /// Like [`Metrics::new`] with another procfs, which must contain `self/` and `stat`.
    pub fn with_proc(component: &'static str, version: &'static str, proc_root: PathBuf) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessCollector::new(proc_root)));
        registry.sub_registry_with_prefix(PREFIX).register(
            "build",
            "Which component this is, and its version",
            Info::new([("component", component), ("version", version)]),
        );
        Self {
            registry: Arc::new(Mutex::new(registry)),
        }
    }

    /// Registers metrics through `register`. Names get the prefix `katalyst_`, counters the suffix `_total`.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(self.registry.lock().sub_registry_with_prefix(PREFIX))
    }

    /// Registers one metric (a counter, gauge, histogram or family) and returns it, to be kept and counted on.
    pub fn add<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.register(|registry| registry.register(name, help, metric.clone()));
        metric
    }

    /// Registers one gauge of whole numbers and returns its handle.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(name, help, Gauge::default())
    }

    /// All metrics as OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry.lock())?;
        Ok(out)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn build_info_and_own_metrics_carry_the_prefix() {
        let metrics = Metrics::with_proc("katalyst-test", "1.2.3", PathBuf::from("/nonexistent"));
        let evictions = metrics.add(
            "evictions",
            "Evictions asked for",
            Counter::<u64>::default(),
        );
        evictions.inc_by(2);
        metrics.gauge("nodes", "Nodes seen").set(7);
        let text = metrics.encode().unwrap();
        assert!(
            text.contains("katalyst_build_info{component=\"katalyst-test\",version=\"1.2.3\"} 1"),
            "{text}"
        );
        assert!(text.contains("katalyst_evictions_total 2"), "{text}");
        assert!(text.contains("katalyst_nodes 7"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
