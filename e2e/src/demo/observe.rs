//! One look at everything: the agent's metrics, the CNR, the load generator, the batch pods and the machine.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use serde_json::Value;

use super::NAMESPACE;
use crate::kubectl::Kubectl;
use crate::product::{self, Product};
use crate::workload::batch::Goodput;
use crate::workload::load::Stats;

/// What one look saw. CPU in thousandths.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight {
    pub service: u64,
    pub offered: u64,
    pub allocated: u64,
    pub ceiling: u64,
    pub batch: u64,
    /// Fraction of the enforcement periods in which batch pods ran out of quota.
    pub throttled: f64,
    pub evictions: u64,
    pub recent_p99_ms: f64,
    pub batch_bytes: u64,
    pub batch_pods: usize,
    pub bound_by_extender: usize,
}

/// Looks through the API server: the pods' own endpoints by its proxy.
pub(super) struct Observer {
    kubectl: Kubectl,
    product: Product,
    node: String,
    agent: String,
    load: String,
}

impl Observer {
    pub(super) fn new(kubectl: &Kubectl, product: &Product) -> Result<Self, String> {
        let pod = |namespace: &str,
                   selector: &str,
                   node: Option<&str>|
         -> Result<(String, String), String> {
            let pods = kubectl
                .json(&["-n", namespace, "get", "pods", "-l", selector])
                .map_err(|e| e.to_string())?;
            pods["items"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|pod| node.is_none_or(|node| pod["spec"]["nodeName"] == node))
                .find_map(|pod| {
                    Some((
                        pod["metadata"]["name"].as_str()?.to_owned(),
                        pod["spec"]["nodeName"].as_str()?.to_owned(),
                    ))
                })
                .ok_or_else(|| format!("no pod {selector} in {namespace}"))
        };
        let (_, node) = pod(NAMESPACE, "app=latency", None)?;
        let (load, _) = pod(NAMESPACE, "app=load", None)?;
        let (agent, _) = pod(
            product::NAMESPACE,
            "app.kubernetes.io/name=katalyst-node-agent",
            Some(&node),
        )?;
        Ok(Self {
            kubectl: kubectl.clone(),
            product: product.clone(),
            node,
            agent,
            load,
        })
    }

    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// Capacity of the node in thousandths of a CPU.
    pub(super) fn capacity_millicpu(&self) -> Result<u64, String> {
        let node = self
            .kubectl
            .json(&["get", "node", &self.node])
            .map_err(|e| e.to_string())?;
        node["status"]["capacity"]["cpu"]
            .as_str()
            .and_then(|cpus| cpus.parse::<u64>().ok())
            .map(|cpus| cpus * 1000)
            .ok_or_else(|| format!("node {} reports no whole number of CPUs", self.node))
    }

    /// Sets the load and begins a new phase; the statistics of the one that ended.
    pub(super) fn set_rate(&self, rps: f64) -> Result<Stats, String> {
        let path = format!(
            "/api/v1/namespaces/{NAMESPACE}/pods/{}:8081/proxy/rate?rps={rps}",
            self.load
        );
        let text = self.kubectl.raw_post(&path).map_err(|e| e.to_string())?;
        serde_json::from_str(&text).map_err(|e| format!("load generator: {e}: {text}"))
    }

    pub(super) fn look(&self) -> Result<Sight, String> {
        let agent = format!(
            "/api/v1/namespaces/{}/pods/{}:10261/proxy",
            product::NAMESPACE,
            self.agent
        );
        let metrics = self
            .kubectl
            .run(&["get", "--raw", &format!("{agent}/metrics")])
            .map_err(|e| e.to_string())?;
        let gauge = |name: &str, labels: &[&str]| metric(&metrics, name, labels).unwrap_or(0.0);
        let cores = |value: f64| (value * 1000.0).round() as u64;
        let cnr = self.product.cnr(&self.node)?;
        let stats: Stats = serde_json::from_value(self.raw(&format!(
            "/api/v1/namespaces/{NAMESPACE}/pods/{}:8081/proxy/stats",
            self.load
        ))?)
        .map_err(|e| format!("load generator: {e}"))?;
        let mut sight = Sight {
            service: cores(gauge(
                "katalyst_agent_usage",
                &["group=\"service\"", "resource=\"cpu\""],
            )),
            batch: cores(gauge(
                "katalyst_agent_usage",
                &["group=\"reclaimed\"", "resource=\"cpu\""],
            )),
            ceiling: cores(gauge(
                "katalyst_agent_reclaimed_ceiling",
                &["resource=\"cpu\""],
            )),
            offered: product::offered_millicpu(&cnr),
            evictions: metrics
                .lines()
                .filter(|line| {
                    line.starts_with("katalyst_agent_evictions_total{") && line.contains("evicted")
                })
                .filter_map(last_number)
                .sum::<f64>() as u64,
            recent_p99_ms: stats.recent_p99_ms,
            throttled: throttled(&self.raw(&format!("{agent}/debug/state"))?),
            ..Sight::default()
        };
        let pods = self
            .kubectl
            .json(&["-n", NAMESPACE, "get", "pods", "-l", "app=compress"])
            .map_err(|e| e.to_string())?;
        for pod in pods["items"].as_array().into_iter().flatten() {
            if !pod["spec"]["nodeName"].is_string() {
                continue;
            }
            sight.batch_pods += 1;
            sight.allocated += product::count(
                &pod["spec"]["containers"][0]["resources"]["requests"]["resource.katalyst.kubewharf.io/reclaimed_millicpu"],
            );
            sight.bound_by_extender += usize::from(
                pod["metadata"]["annotations"]["katalyst.kubewharf.io/reclaimed_allocation"]
                    .is_string(),
            );
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            // A pod that is just starting has no figures yet.
            if let Ok(answer) = self.raw(&format!(
                "/api/v1/namespaces/{NAMESPACE}/pods/{name}:8082/proxy/stats"
            )) && let Ok(goodput) = serde_json::from_value::<Goodput>(answer)
            {
                sight.batch_bytes += goodput.bytes;
            }
        }
        Ok(sight)
    }

    fn raw(&self, path: &str) -> Result<Value, String> {
        self.kubectl.raw(path).map_err(|e| e.to_string())
    }
}

/// The first sample of a metric whose labels contain all of `labels`.
fn metric(text: &str, name: &str, labels: &[&str]) -> Option<f64> {
    text.lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        })
        .find(|line| labels.iter().all(|label| line.contains(label)))
        .and_then(last_number)
}

fn last_number(line: &str) -> Option<f64> {
    line.rsplit(' ').next()?.parse().ok()
}

/// The highest `throttled_part` anywhere in the agent's state.
fn throttled(state: &Value) -> f64 {
    match state {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                if key == "throttled_part" {
                    value.as_f64().unwrap_or(0.0)
                } else {
                    throttled(value)
                }
            })
            .fold(0.0, f64::max),
        Value::Array(items) => items.iter().map(throttled).fold(0.0, f64::max),
        _ => 0.0,
    }
}

/// Busy fraction of this machine between two looks, from `/proc/stat`.
pub(super) struct Machine {
    began: Instant,
    busy: u64,
    total: u64,
}

impl Machine {
    pub(super) fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fields: BTreeMap<usize, u64> = text
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .take(8)
            .enumerate()
            .filter_map(|(i, f)| Some((i, f.parse().ok()?)))
            .collect();
        let total: u64 = fields.values().sum();
        // Fields 3 and 4 are idle and iowait.
        let idle: u64 = fields.get(&3).copied().unwrap_or(0) + fields.get(&4).copied().unwrap_or(0);
        Self {
            began: Instant::now(),
            busy: total.saturating_sub(idle),
            total,
        }
    }

    /// Busy fraction since then.
    pub(super) fn busy_since(&self) -> f64 {
        let now = Self::now();
        let total = now.total.saturating_sub(self.total);
        if total == 0 {
            0.0
        } else {
            now.busy.saturating_sub(self.busy) as f64 / total as f64
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metrics_are_found_by_name_and_labels() {
        let text = "# HELP x\nkatalyst_agent_usage{group=\"machine\",resource=\"cpu\"} 1.5\nkatalyst_agent_usage{group=\"service\",resource=\"cpu\"} 0.25\n";
        assert_eq!(
            metric(
                text,
                "katalyst_agent_usage",
                &["group=\"service\"", "resource=\"cpu\""]
            ),
            Some(0.25)
        );
        assert_eq!(metric(text, "katalyst_agent", &[]), None);
    }

    #[test]
    fn the_worst_throttling_is_found_anywhere() {
        assert!(
            (throttled(
                &json!({"a": {"pods": [{"throttled_part": 0.25}, {"throttled_part": 0.5}]}})
            ) - 0.5)
                .abs()
                < 1e-9
        );
    }
}
