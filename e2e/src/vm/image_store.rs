//! Imports container images into a root disk while it is built, with the container runtime that the machine will run.
//!
//! Importing on the host takes a fraction of a second an image; inside an emulated machine it would take several, at every start.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::error::{VmError, at};
use crate::program::{self, ProgramError};

/// How long the runtime may take to answer, and to end.
const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Imports `archives` into the container runtime's state below `tree`, with the programs in `programs`; `scratch` is emptied afterwards.
///
/// # Errors
/// When the runtime does not start or refuses an archive.
pub(super) fn fill(
    tree: &Path,
    archives: &[PathBuf],
    programs: &Path,
    scratch: &Path,
) -> Result<(), VmError> {
    if archives.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(scratch).map_err(at("create", scratch))?;
    let mut runtime = Runtime::start(tree, programs, scratch)?;
    let imported = runtime.wait_until_it_answers().and_then(|()| {
        archives
            .iter()
            .try_for_each(|archive| runtime.import(archive))
    });
    runtime.stop()?;
    imported?;
    fs::remove_dir_all(scratch).map_err(at("remove", scratch))
}

/// A container runtime that only serves this import.
struct Runtime {
    process: Child,
    ctr: PathBuf,
    socket: PathBuf,
    log: PathBuf,
}

impl Runtime {
    fn start(tree: &Path, programs: &Path, scratch: &Path) -> Result<Self, VmError> {
        let socket = scratch.join("containerd.sock");
        let config = scratch.join("containerd.toml");
        let log = scratch.join("containerd.log");
        let text = format!(
            r#"version = 3
root = "{root}"
state = "{state}"
# Only the image store is needed; the rest would look for sockets and networks.
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt",
]
[grpc]
  address = "{socket}"
"#,
            root = tree.join("var/lib/containerd").display(),
            state = scratch.join("state").display(),
            socket = socket.display(),
        );
        fs::write(&config, text).map_err(at("write", &config))?;
        let output = fs::File::create(&log).map_err(at("create", &log))?;
        let errors = output.try_clone().map_err(at("open", &log))?;
        // Its own mount namespace keeps the mounts of an import from this system.
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "--"])
            .arg(programs.join("containerd"))
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let process = match command.spawn() {
            Ok(process) => process,
            Err(source) => {
                let command = program::line(&command);
                return Err(ProgramError::Start { command, source }.into());
            }
        };
        Ok(Self {
            process,
            ctr: programs.join("ctr"),
            socket,
            log,
        })
    }

    fn wait_until_it_answers(&mut self) -> Result<(), VmError> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if program::run(self.ctr().arg("version")).is_ok() {
                return Ok(());
            }
            let ended = self
                .process
                .try_wait()
                .map_err(at("watch the runtime of", &self.log))?;
            if ended.is_some() || Instant::now() >= deadline {
                return Err(VmError::ImageStore {
                    log: program::tail(&self.log, 5),
                });
            }
            thread::sleep(POLL);
        }
    }

    fn import(&self, archive: &Path) -> Result<(), VmError> {
        program::run(self.ctr().args(["image", "import"]).arg(archive))?;
        Ok(())
    }

    /// Ends the runtime in an orderly way, so that its database is complete.
    fn stop(mut self) -> Result<(), VmError> {
        let pid = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw);
        let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
        let deadline = Instant::now() + LIMIT;
        while asked && Instant::now() < deadline {
            if self
                .process
                .try_wait()
                .map_err(at("watch the runtime of", &self.log))?
                .is_some()
            {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        self.process
            .kill()
            .and_then(|()| self.process.wait())
            .map_err(at("end the runtime of", &self.log))?;
        Err(VmError::ImageStore {
            log: program::tail(&self.log, 5),
        })
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new(&self.ctr);
        command
            .arg("--address")
            .arg(&self.socket)
            .args(["--namespace", "k8s.io"]);
        command
    }
}
