//! Test clusters in one command; everything is in the library.

use std::process::ExitCode;

use clap::Parser as _;
use katalyst_e2e::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
