//! `katalyst-e2e test`, `suite`, `demo`, `bench` and `report`: what the product is shown with.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use crate::{
    bench::{
        BenchArgs,
        rate::{self, RateArgs},
    },
    demo::DemoArgs,
    report,
    scenario::SuiteArgs,
};

/// Which cluster a suite starts for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// `cluster up`, with virtual machines.
    Local,
    /// `kind up`.
    Kind,
}

/// Flags of `katalyst-e2e suite`.
#[derive(Debug, Args)]
pub(super) struct SuiteCommand {
    /// The cluster to start.
    kind: Kind,
    /// Virtual-machine nodes of a local cluster; the second one runs a kernel without PSI.
    #[arg(long, default_value_t = 2)]
    vms: u8,
    /// Run only scenarios whose name contains this text (may be given several times).
    #[arg(long)]
    only: Vec<String>,
    /// Leave the cluster running at the end.
    #[arg(long)]
    keep: bool,
}

/// Name and port of the cluster that a suite starts, beside one that a person may have running.
const OWN_NAME: &str = "e2e";
const OWN_PORT: &str = "16453";

impl SuiteCommand {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let (words, overlay): (&[&str], &str) = match self.kind {
            Kind::Local => (&["cluster", "--name", OWN_NAME], "local"),
            Kind::Kind => (&["kind"], "kind"),
        };
        let vms = self.vms.to_string();
        let mut up = [words, &["up"]].concat();
        if self.kind == Kind::Local {
            up.extend(["--vms", &vms, "--port", OWN_PORT]);
        }
        let own = OwnCluster::start(words, &up)?;
        let args = SuiteArgs {
            kubeconfig: own.kubeconfig.clone(),
            overlay: overlay.to_owned(),
            root: PathBuf::from("."),
            breakable: (self.kind == Kind::Local).then(|| OWN_NAME.to_owned()),
            only: self.only,
            second_try: true,
            keep: false,
            list: false,
        };
        let outcome = crate::scenario::run(&args);
        if self.keep {
            println!(
                "the cluster keeps running; kubeconfig {}",
                own.kubeconfig.display()
            );
            std::mem::forget(own);
        }
        outcome.map(|()| 0)
    }
}

/// `katalyst-e2e demo`, on a cluster given or on one of its own.
pub(super) fn demo(args: &DemoArgs) -> anyhow::Result<u8> {
    if let Some(kubeconfig) = &args.kubeconfig {
        return crate::demo::run(args, kubeconfig).map(|()| 0);
    }
    let words: &[&str] = if args.overlay == "kind" {
        &["kind"]
    } else {
        &["cluster", "--name", "demo"]
    };
    let mut up = [words, &["up"]].concat();
    if args.overlay != "kind" {
        up.extend(["--port", "16463"]);
    }
    let own = OwnCluster::start(words, &up)?;
    crate::demo::run(args, &own.kubeconfig).map(|()| 0)
}

/// `katalyst-e2e bench`, on a cluster given or on one of its own.
pub(super) fn bench(mut args: BenchArgs) -> anyhow::Result<u8> {
    if args.kubeconfig.is_some() {
        return crate::bench::run(&args).map(|()| 0);
    }
    let own = OwnCluster::start(&["cluster"], &["cluster", "up"])?;
    args.kubeconfig = Some(own.kubeconfig.clone());
    crate::bench::run(&args).map(|()| 0)
}

/// `katalyst-e2e bench-rate`.
pub(super) fn bench_rate(args: &RateArgs) -> anyhow::Result<u8> {
    let nodes = args.nodes.to_string();
    let words = ["cluster", "--name", rate::CLUSTER];
    let up = [&words[..], &["up", "--hollow", &nodes, "--port", "16483"]].concat();
    let own = OwnCluster::start(&words, &up)?;
    rate::run(args, &own.kubeconfig).map(|()| 0)
}

/// `katalyst-e2e report`.
pub(super) fn print_reports() -> anyhow::Result<u8> {
    let count = report::print_all(&report::directory())?;
    println!("{count} reports");
    Ok(0)
}

/// `katalyst-e2e unit-tests`.
pub(super) fn unit_tests(file: &Path) -> anyhow::Result<u8> {
    let output =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let (rows, total) = crate::unit_tests::summarise(&output);
    report::publish("test", &rows)?;
    println!(
        "{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.ignored
    );
    Ok(u8::from(total.failed > 0 || total.passed == 0))
}

/// A cluster that ends with this value.
struct OwnCluster {
    down: Vec<String>,
    kubeconfig: PathBuf,
}

impl OwnCluster {
    fn start(words: &[&str], up: &[&str]) -> anyhow::Result<Self> {
        let down: Vec<String> = [words, &["down"]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let mut own = Self {
            down,
            kubeconfig: PathBuf::new(),
        };
        // What an interrupted run may have left.
        own.end()?;
        let status = this_program()?
            .args(up)
            .status()
            .context("cannot start the cluster")?;
        if !status.success() {
            bail!("the cluster did not start: katalyst-e2e {}", up.join(" "));
        }
        let output = this_program()?
            .args(words)
            .arg("kubeconfig")
            .output()
            .context("cannot ask for the kubeconfig")?;
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        own.kubeconfig = PathBuf::from(path);
        if !Path::new(&own.kubeconfig).is_file() {
            bail!("no kubeconfig at {}", own.kubeconfig.display());
        }
        Ok(own)
    }

    fn end(&self) -> anyhow::Result<()> {
        let output = this_program()?
            .args(&self.down)
            .output()
            .context("cannot stop the cluster")?;
        if output.status.success() {
            return Ok(());
        }
        bail!(
            "katalyst-e2e {}: {}",
            self.down.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}

fn this_program() -> anyhow::Result<Command> {
    Ok(Command::new(
        std::env::current_exe().context("cannot find this program")?,
    ))
}
