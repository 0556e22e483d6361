//! Demo and test workloads: a latency-sensitive service, its load generator, and batch work.

use clap::{Parser, Subcommand};
use katalyst_e2e::workload::{batch, load, seen, serve};

/// Demo and test workloads.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A latency-sensitive HTTP service that costs CPU for each answer.
    Serve(serve::ServeArgs),
    /// An open-loop load generator without coordinated omission.
    Load(load::LoadArgs),
    /// Batch work: compression, with a goodput figure.
    Batch(batch::BatchArgs),
    /// Tells what it sees of its own CPUs, memory nodes, environment and devices, from its start on.
    Seen(seen::SeenArgs),
}

fn main() -> anyhow::Result<()> {
    // Before anything else happens in this process.
    let first = seen::Seen::now();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let work = async {
            match cli.command {
                Command::Serve(args) => serve::run(args).await,
                Command::Load(args) => load::run(args).await,
                Command::Batch(args) => batch::run(args).await,
                Command::Seen(args) => seen::run(&args, first?).await,
            }
        };
        let mut ended = ended;
        tokio::select! {
            result = work => result,
            _ = ended.recv() => Ok(()),
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })?;
    // Batch threads compute for ever; the process ends without waiting for them.
    std::process::exit(0)
}
