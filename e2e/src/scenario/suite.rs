//! Runs the scenarios one after the other and tells how many passed, failed and were skipped, and why.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::{
    Scenario, Verdict, World, cards, control_plane, crowd, devices, faults, lifecycle, machine,
    node, numa, placement, preemption, second_scheduler, taints, tls,
};
use crate::cache::Cache;
use crate::kubectl::Kubectl;
use crate::probe::Probe;
use crate::product::Product;
use crate::report::{self, Row};

/// Flags of `katalyst-e2e test`.
#[derive(Debug, Clone, Args)]
pub struct SuiteArgs {
    /// The cluster to run on.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: PathBuf,
    /// The overlay of `manifests/overlays` to install.
    #[arg(long, default_value = "local")]
    pub overlay: String,
    /// The repository.
    #[arg(long, default_value = ".")]
    pub root: PathBuf,
    /// Name of the cluster, when it was started by `katalyst-e2e cluster up` and parts of it may be stopped.
    #[arg(long, value_name = "NAME")]
    pub breakable: Option<String>,
    /// Run only scenarios whose name contains this text (may be given several times).
    #[arg(long)]
    pub only: Vec<String>,
    /// Run a scenario that failed once more; both tries are shown.
    #[arg(long)]
    pub second_try: bool,
    /// Leave the product installed at the end.
    #[arg(long)]
    pub keep: bool,
    /// Print the scenarios and their claims, run nothing.
    #[arg(long)]
    pub list: bool,
}

fn scenarios() -> Vec<Scenario> {
    let mut all = lifecycle::first();
    all.extend(node::scenarios());
    all.extend(machine::scenarios());
    all.extend(placement::scenarios());
    all.extend(devices::scenarios());
    all.extend(cards::scenarios());
    all.extend(numa::scenarios());
    all.extend(crowd::scenarios());
    all.extend(taints::scenarios());
    all.extend(preemption::scenarios());
    all.extend(tls::scenarios());
    all.extend(second_scheduler::scenarios());
    all.extend(control_plane::scenarios());
    all.extend(faults::scenarios());
    all.extend(lifecycle::last());
    all
}

/// Runs the suite; an error when a scenario failed.
pub fn run(args: &SuiteArgs) -> anyhow::Result<()> {
    let chosen: Vec<Scenario> = scenarios()
        .into_iter()
        .filter(|s| {
            args.only.is_empty() || args.only.iter().any(|part| s.name.contains(part.as_str()))
        })
        .collect();
    if args.list {
        for scenario in &chosen {
            println!("{:<28} {}", scenario.name, scenario.claim);
        }
        return Ok(());
    }
    let world = prepare(args).map_err(anyhow::Error::msg)?;
    let place = format!("{} cluster", args.overlay);
    let (mut passed, mut failed, mut skipped, mut second) = (0, 0, 0, 0);
    let mut rows = Vec::new();
    for (index, scenario) in chosen.iter().enumerate() {
        println!(
            "[{}/{}] {}: {}",
            index + 1,
            chosen.len(),
            scenario.name,
            scenario.claim
        );
        let began = Instant::now();
        let mut outcome = (scenario.run)(&world);
        let mut again = String::new();
        if let Err(first) = &outcome
            && args.second_try
        {
            // Said aloud and written into the report: a machine of two CPUs that runs a whole cluster stumbles at times, a defect does so twice.
            println!("    FAILED at the first try, once more: {first}");
            print_evidence(&world);
            world.clear();
            again = format!("second try; the first: {first}");
            outcome = world
                .product
                .apply()
                .and_then(|_| world.product.wait_ready(Duration::from_secs(180)))
                .and_then(|()| (scenario.run)(&world));
        }
        let seconds = began.elapsed().as_secs_f64();
        let mut row = Row::figure(scenario.name, scenario.claim, seconds, "s", &place);
        match outcome {
            Ok(Verdict::Shown(seen)) => {
                passed += 1;
                row.holds = Some(true);
                if !again.is_empty() {
                    second += 1;
                    row.bar = again;
                }
                println!("    passed in {seconds:.1} s: {seen}");
            }
            Ok(Verdict::Skipped(reason)) => {
                skipped += 1;
                row.bar = format!("SKIPPED: {reason}");
                println!("    SKIPPED: {reason}");
            }
            Err(complaint) => {
                failed += 1;
                row.holds = Some(false);
                println!("    FAILED after {seconds:.1} s: {complaint}");
                print_evidence(&world);
                // What it left must not fail the next one.
                world.clear();
            }
        }
        rows.push(row);
    }
    if !args.keep {
        // Left-overs of the suite itself; the product's removal is a scenario.
        world
            .kubectl
            .run(&[
                "delete",
                "namespace",
                super::world::NAMESPACE,
                "--ignore-not-found",
                "--wait=false",
            ])
            .ok();
        world.probe.stop().ok();
    }
    report::publish(&format!("e2e-{}", args.overlay), &rows)?;
    if second > 0 {
        println!("{second} of the passed ones needed a second try (see above)");
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    anyhow::ensure!(failed == 0, "{failed} scenarios failed");
    Ok(())
}

fn prepare(args: &SuiteArgs) -> Result<World, String> {
    let cache = Cache::from_env().map_err(|e| e.to_string())?;
    let kubectl = Kubectl::new(&cache, &args.kubeconfig);
    let nodes = kubectl
        .run(&["get", "nodes"])
        .map_err(|e| format!("no cluster: {e}"))?;
    println!("{nodes}");
    kubectl
        .apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {}}}\n",
            super::world::NAMESPACE
        ))
        .map_err(|e| e.to_string())?;
    let product = Product::new(&kubectl, &args.root, &args.overlay);
    product.apply()?;
    let probe = Probe::start(&kubectl)?;
    product.wait_ready(Duration::from_secs(180))?;
    println!("product installed and ready");
    Ok(World {
        kubectl,
        product,
        probe,
        breakable: args.breakable.clone(),
        kind: args.overlay == "kind",
        root: args.root.clone(),
    })
}

/// What a person would look at first after a failure.
fn print_evidence(world: &World) {
    for arguments in [
        &["get", "cnr", "-o", "wide"][..],
        &["get", "pods", "-A", "-o", "wide"][..],
        &[
            "-n",
            super::world::NAMESPACE,
            "get",
            "events",
            "--sort-by=.lastTimestamp",
        ][..],
        &[
            "-n",
            crate::product::NAMESPACE,
            "logs",
            "-l",
            "app.kubernetes.io/part-of=katalyst",
            "--tail=15",
            "--prefix",
        ][..],
        &[
            "-n",
            crate::product::NAMESPACE,
            "logs",
            "-l",
            "app.kubernetes.io/name=katalyst-node-agent",
            "--tail=15",
            "--prefix",
        ][..],
        &[
            "-n",
            crate::product::NAMESPACE,
            "logs",
            "-l",
            "app.kubernetes.io/name=katalyst-scheduler-extender",
            "--tail=10",
            "--prefix",
        ][..],
        &[
            "-n",
            crate::product::NAMESPACE,
            "logs",
            "-l",
            "app.kubernetes.io/name=katalyst-controllers",
            "--tail=10",
            "--prefix",
        ][..],
    ] {
        match world.kubectl.run(arguments) {
            Ok(text) => {
                println!("    $ kubectl {}", arguments.join(" "));
                for line in text.lines() {
                    println!("      {line}");
                }
            }
            Err(error) => println!("    $ kubectl {}: {error}", arguments.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_claims_are_sentences() {
        let all = scenarios();
        let mut names: Vec<_> = all.iter().map(|s| s.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|s| s.claim.len() > 20));
    }
}
