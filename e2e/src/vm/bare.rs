//! Runs a script in a machine of its own, without Kubernetes: for what needs a real kernel but no cluster.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::assets::Assets;
use super::error::{VmError, at};
use super::launch;
use super::machine::Machine;
use super::seed::{BareRun, Role};
use crate::program::ProgramError;

/// How often the emulator is asked whether it has ended.
const POLL: Duration = Duration::from_millis(50);

/// What a script left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The script's exit status; `None` when the machine ended without reporting one.
    pub status: Option<i32>,
    /// The script's output, both streams.
    pub output: String,
    /// The machine's console.
    pub console: String,
}

/// Boots `machine` in `directory`, runs the script and powers off.
///
/// # Errors
/// When the machine cannot be prepared or started, or has not powered off within `limit`.
pub fn run(
    machine: &Machine,
    work: BareRun,
    assets: &Assets,
    directory: &Path,
    limit: Duration,
) -> Result<Outcome, VmError> {
    let launch = launch::lay_out(machine, &Role::Bare(work), assets, directory, directory)?;
    let mut command = launch.command();
    let mut emulator = match command.stdin(Stdio::null()).spawn() {
        Ok(emulator) => emulator,
        Err(source) => {
            return Err(ProgramError::Start {
                command: launch.program.to_owned(),
                source,
            }
            .into());
        }
    };
    let console = &launch.files.console;
    if !wait(&mut emulator, limit).map_err(at("wait for the emulator of", console))? {
        emulator
            .kill()
            .and_then(|()| emulator.wait())
            .map_err(at("end the emulator of", console))?;
        return Err(VmError::Deadline {
            name: machine.name.clone(),
            what: "power-off",
            seconds: limit.as_secs(),
            console: console.clone(),
        });
    }
    let read = |path: &Path| {
        fs::read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(at("read", path))
    };
    Ok(Outcome {
        status: read(&directory.join("status"))?.trim().parse().ok(),
        output: read(&directory.join("output"))?,
        console: read(console)?,
    })
}

/// Whether `child` ended within `limit`.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<bool> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(POLL);
    }
    Ok(false)
}
