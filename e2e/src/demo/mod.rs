//! The main job, to look at: a latency-sensitive service under a changing load, then the same with batch work on what it leaves.
//!
//! Two runs of the same load, one without and one with batch. Every two seconds a line of a live table; at the end a summary. The demo fails when the loop
//! did not close: batch was not placed, not held, or did nothing.

mod load;
mod observe;
mod phases;
mod summary;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::cache::Cache;
use crate::kubectl::{Kubectl, wait_for};
use crate::product::{Product, offered_millicpu};
use crate::report;

/// Namespace of the demo's pods.
pub(crate) const NAMESPACE: &str = "katalyst-demo";

/// Flags of `katalyst-e2e demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// A running cluster; without it the demo starts one of its own and stops it at the end.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// The overlay of `manifests/overlays` to install.
    #[arg(long, default_value = "local")]
    pub overlay: String,
    /// The repository.
    #[arg(long, default_value = ".")]
    pub root: PathBuf,
    /// Seconds of each step of the load (three steps in each run).
    #[arg(long, default_value_t = 20)]
    pub step: u64,
    /// Requests a second of the busy step; without it, as many as keep half of the node's CPUs busy, found by trying.
    #[arg(long)]
    pub busy: Option<f64>,
    /// Requests a second of the quiet steps; without it, a ninth of the busy step's.
    #[arg(long)]
    pub quiet: Option<f64>,
    /// Leave the demo's pods on the cluster.
    #[arg(long)]
    pub keep: bool,
}

/// Runs the demo on the cluster of `kubeconfig`.
pub fn run(args: &DemoArgs, kubeconfig: &Path) -> anyhow::Result<()> {
    let cache = Cache::from_env()?;
    let kubectl = Kubectl::new(&cache, kubeconfig);
    let product = Product::new(&kubectl, &args.root, &args.overlay);
    println!(
        "== install: kubectl apply -k manifests/overlays/{}",
        args.overlay
    );
    product.apply().map_err(anyhow::Error::msg)?;
    product
        .wait_ready(Duration::from_secs(180))
        .map_err(anyhow::Error::msg)?;
    let outcome = show(args, &kubectl, &product);
    if !args.keep {
        kubectl
            .run(&[
                "delete",
                "namespace",
                NAMESPACE,
                "--ignore-not-found",
                "--wait=false",
            ])
            .ok();
    }
    let (rows, closed) = outcome.map_err(anyhow::Error::msg)?;
    report::publish("demo", &rows)?;
    match closed {
        Ok(()) => {
            println!(
                "the loop closed: batch ran on what the service left, and was held back when the service needed it"
            );
            Ok(())
        }
        Err(missing) => anyhow::bail!("the loop did not close: {missing}"),
    }
}

type Shown = (Vec<report::Row>, Result<(), String>);

fn show(args: &DemoArgs, kubectl: &Kubectl, product: &Product) -> Result<Shown, String> {
    let manifest = |name: &str| {
        args.root
            .join("manifests/demo")
            .join(name)
            .display()
            .to_string()
    };
    println!("== service and load generator");
    kubectl
        .run(&["apply", "-k", &manifest("")])
        .map_err(|e| e.to_string())?;
    for name in ["latency", "load"] {
        rollout(kubectl, name)?;
    }
    let observer = observe::Observer::new(kubectl, product)?;
    wait_for("an offer", Duration::from_secs(180), || {
        let offered = offered_millicpu(&product.cnr(observer.node())?);
        if offered >= 400 {
            Ok(())
        } else {
            Err(format!("{offered}m offered; is the machine busy?"))
        }
    })?;
    let load = load::choose(args, &observer)?;
    println!(
        "   on node {}; the load changes: {:.0} - {:.0} - {:.0} requests a second",
        observer.node(),
        load.quiet,
        load.busy,
        load.quiet
    );
    println!("== run 1: the service alone");
    let alone = phases::run(args.step, load, &observer)?;
    println!("== batch: kubectl apply -f manifests/demo/batch.yaml");
    kubectl
        .run(&["apply", "-f", &manifest("batch.yaml")])
        .map_err(|e| e.to_string())?;
    rollout(kubectl, "compress")?;
    println!("== run 2: the same load with batch beside it");
    let together = phases::run(args.step, load, &observer)?;
    println!("{}", kubectl.run(&["get", "cnr"]).unwrap_or_default());
    Ok(summary::summarise(&alone, &together, observer.node()))
}

fn rollout(kubectl: &Kubectl, name: &str) -> Result<(), String> {
    wait_for(
        &format!("deployment {name}"),
        Duration::from_secs(120),
        || {
            let object = kubectl
                .json(&["-n", NAMESPACE, "get", "deployment", name])
                .map_err(|e| e.to_string())?;
            let (ready, wanted) = (
                object["status"]["readyReplicas"].as_u64().unwrap_or(0),
                object["spec"]["replicas"].as_u64().unwrap_or(1),
            );
            if ready == wanted {
                return Ok(());
            }
            let pods = kubectl
                .json(&["-n", NAMESPACE, "get", "pods", "-l", &format!("app={name}")])
                .map_err(|e| e.to_string())?;
            Err(format!(
                "{ready} of {wanted} ready; {}",
                pods["items"][0]["status"]["conditions"]
            ))
        },
    )
}
