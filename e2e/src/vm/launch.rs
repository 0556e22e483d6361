//! Lays out one machine's own files and turns it into a command.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::apt::QEMU;
use super::assets::Assets;
use super::error::{VmError, at};
use super::machine::Machine;
use super::qemu::{self, Files};
use super::seed::{self, Role};
use crate::program;

/// TCP port on which a node machine takes an image archive; it answers after the sender closed its side.
pub const IMPORT_PORT: u16 = 7070;
/// The answer to an archive that was imported; anything else says what went wrong.
pub const IMPORTED: &str = "imported";

/// A machine that can be started, and started again after it was powered off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The emulator's program.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The files it runs with, among them its logs.
    pub files: Files,
}

impl Launch {
    /// The command that runs the machine in the foreground; killing the process powers the machine off.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(&self.arguments);
        command
    }
}

/// Gives `machine` a fresh root disk and its seed disk in `directory`, with its logs in `logs` (`NAME.log` is the console).
///
/// # Errors
/// When a file cannot be written or the machine's description contradicts itself.
pub fn lay_out(
    machine: &Machine,
    role: &Role,
    assets: &Assets,
    directory: &Path,
    logs: &Path,
) -> Result<Launch, VmError> {
    for path in [directory, logs] {
        fs::create_dir_all(path).map_err(at("create", path))?;
    }
    let log = |suffix: &str| logs.join(format!("{}{suffix}.log", machine.name));
    let ports = match role {
        Role::Node(_) => {
            ["containerd", "kubelet"].map(|name| (name.to_owned(), log(&format!("-{name}"))))
        }
        Role::Bare(_) => ["output", "status"].map(|name| (name.to_owned(), directory.join(name))),
    };
    let files = Files {
        kernel: assets.kernel.clone(),
        initramfs: assets.initramfs.clone(),
        root_disk: directory.join("root.img"),
        seed_disk: directory.join("seed.tar"),
        console: log(""),
        ports: ports.into(),
    };
    let arguments = qemu::arguments(machine, &files)?;
    seed::write(&files.seed_disk, machine, role)?;
    // The image is mostly holes; the standard library's copy would fill them.
    program::run(
        Command::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .arg(&assets.root_image)
            .arg(&files.root_disk),
    )?;
    Ok(Launch {
        program: QEMU,
        arguments,
        files,
    })
}
