//! Scenarios of one node on a real kernel: one static file with the scenarios, the processes they start, and the agent.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use katalyst_e2e::{
    node::{
        agent::AgentArgs,
        host::{self, HostArgs},
        suite::{self, ROWS, RunArgs},
        work::WorkArgs,
    },
    report,
};

/// Scenarios of one node on a real kernel.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the scenarios on this machine, in groups of their own, and leave nothing behind.
    Host(HostArgs),
    /// Run the scenarios on this machine; whoever starts this cleans up.
    Run {
        #[command(flatten)]
        args: RunArgs,
        /// Write `NAME.json` to the reports; otherwise the rows are printed in one line.
        #[arg(long, value_name = "NAME")]
        report: Option<String>,
    },
    /// A process of a container.
    #[command(hide = true)]
    Work(WorkArgs),
    /// The agent.
    #[command(hide = true)]
    Agent(AgentArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Host(args) => host::run(&args).map(ExitCode::from),
        Command::Run { args, report } => {
            let (rows, good) = suite::run(&args).map_err(anyhow::Error::msg)?;
            match report {
                _ if rows.is_empty() => {}
                Some(name) => report::publish(&name, &rows)?,
                None => println!("{ROWS}{}", serde_json::to_string(&rows)?),
            }
            Ok(if good {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Work(args) => args.run().map(|()| ExitCode::SUCCESS),
        Command::Agent(args) => Ok(args.run()),
    }
}
