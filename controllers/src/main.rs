//! `katalyst-controllers`: see the library.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    katalyst_controllers::run(katalyst_controllers::Args::parse())
}
