//! First process of a cluster's process namespace: starts the supervisor inside, reaps every orphan, ends when the supervisor
//! ends, and takes everything with it.

use std::process::Command;

use rustix::process::{Pid, WaitOptions, wait};

use super::{
    error::{ClusterError, at, system},
    run_dir::RunDir,
};

/// Exit status when the supervisor was killed.
const KILLED: u8 = 137;

/// Runs the supervisor of `run` and returns its exit status.
pub fn run(run: &RunDir) -> Result<u8, ClusterError> {
    // The program that is running, even if a new build has replaced its file.
    let program = "/proc/self/exe";
    let child = Command::new(program)
        .args(["cluster", "inside", "--run-dir"])
        .arg(run.root())
        .spawn()
        .map_err(at(program))?;
    let supervisor = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid) == supervisor => {
                let code = status
                    .exit_status()
                    .and_then(|code| u8::try_from(code).ok());
                return Ok(code.unwrap_or(KILLED));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(system("waiting for the supervisor")(error)),
        }
    }
}
