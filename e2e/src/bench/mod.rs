//! First figures of the loop, on a running cluster of this machine: how fast a surge of services lowers the batch ceiling, and what the agent costs.
//!
//! Figures are medians of several rounds; what was measured and where stands in the report. Nothing here decides whether tests pass.

mod agent;
pub(crate) mod node;
pub mod null_extender;
pub mod rate;
mod surge;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cache::Cache;
use crate::kubectl::Kubectl;
use crate::product::Product;
use crate::report;

/// Flags of `katalyst-e2e bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// A running cluster of this machine (`katalyst-e2e cluster up`, with its default name); without it one is started.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// The repository.
    #[arg(long, default_value = ".")]
    pub root: PathBuf,
    /// Rounds of the surge measurement.
    #[arg(long, default_value_t = 7)]
    pub rounds: usize,
    /// Pods on the node while the agent's cost is measured.
    #[arg(long, default_value_t = 100)]
    pub pods: usize,
}

/// Namespace of the pods that are measured.
pub(crate) const NAMESPACE: &str = "katalyst-bench";

/// Measures and writes `target/reports/bench-loop.json`.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let cache = Cache::from_env()?;
    let kubeconfig = args
        .kubeconfig
        .as_ref()
        .ok_or_else(|| anyhow::anyhow!("no kubeconfig"))?;
    let kubectl = Kubectl::new(&cache, kubeconfig);
    let product = Product::new(&kubectl, &args.root, "local");
    product.apply().map_err(anyhow::Error::msg)?;
    product
        .wait_ready(Duration::from_secs(180))
        .map_err(anyhow::Error::msg)?;
    kubectl.apply(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n"
    ))?;
    let rows = surge::measure(&kubectl, &product, args.rounds)
        .and_then(|mut rows| {
            rows.extend(agent::measure(&kubectl, args.pods)?);
            Ok(rows)
        })
        .map_err(anyhow::Error::msg);
    kubectl
        .run(&["delete", "namespace", NAMESPACE, "--wait=false"])
        .ok();
    report::publish("bench-loop", &rows?)?;
    Ok(())
}

/// The middle of the values; the mean of the two middle ones of an even count.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        Some(*upper)
    } else {
        sorted
            .get(middle.checked_sub(1)?)
            .map(|lower| f64::midpoint(*lower, *upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
