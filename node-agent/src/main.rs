//! The node agent's program: flags in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;
use katalyst_node_agent::{Args, COMPONENT, Command, restore_command, start};

fn main() -> ExitCode {
    let args = Args::parse();
    match args.command {
        Some(Command::Restore) => restore_command(&args),
        None => katalyst_runtime::main_with(COMPONENT, &args.runtime.clone(), |process| {
            start(process, args)
        }),
    }
}
