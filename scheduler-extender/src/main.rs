//! The scheduler extender's program.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = katalyst_scheduler_extender::Args::parse();
    let runtime = args.runtime.clone();
    katalyst_runtime::main_with(
        katalyst_scheduler_extender::COMPONENT,
        &runtime,
        |process| katalyst_scheduler_extender::start(process, args),
    )
}
