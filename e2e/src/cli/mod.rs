//! The command line.

mod checks;
mod cluster;
mod image;
mod toolchain;

use clap::{Parser, Subcommand};

use crate::cache::Cache;

/// Test clusters for Katalyst: real Kubernetes from pinned sources, on this machine, in one command.
///
/// Everything that is built is kept in $KATALYST_CACHE (default ~/.cache/katalyst-e2e); everything that runs is in
/// $KATALYST_RUN (default /var/tmp/katalyst-e2e).
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The programs that clusters run, built from pinned Go modules.
    #[command(subcommand)]
    Toolchain(toolchain::ToolchainCommand),
    /// Container images, written without a container engine.
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// A cluster in private namespaces of this machine.
    Cluster(cluster::ClusterCommand),
    /// A kind cluster, with a container engine or without.
    Kind(crate::kind::KindCommand),
    /// Virtual machines, as nodes or alone.
    #[command(subcommand)]
    Vm(crate::vm::cli::VmCommand),
    /// Run the end-to-end scenarios on a cluster that is given.
    Test(crate::scenario::SuiteArgs),
    /// Start a cluster, run the end-to-end scenarios on it, and stop it.
    Suite(checks::SuiteCommand),
    /// The main job, to look at: a service, and batch work on what it leaves.
    Demo(crate::demo::DemoArgs),
    /// Figures of the loop on a cluster of this machine.
    Bench(crate::bench::BenchArgs),
    /// kube-scheduler's rate on many nodes, with and without the extender, on a cluster of its own.
    BenchRate(crate::bench::rate::RateArgs),
    /// An extender that returns every name: what the protocol alone costs.
    #[command(hide = true)]
    NullExtender(crate::bench::null_extender::NullExtenderArgs),
    /// Every parser of a kernel's file under the fuzzer.
    Fuzz(crate::fuzz::FuzzArgs),
    /// Print every report of `target/reports`.
    Report,
    /// Turn the output of `cargo test` into a report.
    UnitTests {
        /// File with the output.
        file: std::path::PathBuf,
    },
}

impl Cli {
    /// Runs the command and returns the exit status of the process.
    pub fn run(self) -> anyhow::Result<u8> {
        match self.command {
            Command::Toolchain(command) => command.run(),
            Command::Image(command) => command.run(),
            Command::Cluster(command) => command.run(),
            Command::Kind(command) => crate::kind::run(command).map(|()| 0),
            Command::Vm(command) => command.run(&Cache::from_env()?),
            Command::Test(args) => crate::scenario::run(&args).map(|()| 0),
            Command::Suite(command) => command.run(),
            Command::Demo(args) => checks::demo(&args),
            Command::Bench(args) => checks::bench(args),
            Command::BenchRate(args) => checks::bench_rate(&args),
            Command::NullExtender(args) => crate::bench::null_extender::run(&args).map(|()| 0),
            Command::Fuzz(args) => crate::fuzz::run(&args),
            Command::Report => checks::print_reports(),
            Command::UnitTests { file } => checks::unit_tests(&file),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn command_inside_keeps_its_own_flags() {
        Cli::try_parse_from(["x", "cluster", "exec", "--", "ip", "-4", "address"]).unwrap();
        Cli::try_parse_from(["x", "cluster", "up", "--name", "a", "--hollow", "3"]).unwrap();
        Cli::try_parse_from(["x", "cluster", "fault", "stop", "etcd", "--for", "2m"]).unwrap();
    }
}
