//! What can go wrong while a machine is prepared or started.

use std::io;
use std::path::{Path, PathBuf};

use super::machine::ACCELERATOR_VARIABLE;
use crate::{program::ProgramError, stamp::StampError};

/// Failure to prepare or start a virtual machine.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// The operation, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The inputs of a prepared file could not be compared or recorded.
    #[error(transparent)]
    Stamp(#[from] StampError),
    /// A program of the system could not be started or failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A kernel image is not what the boot protocol promises.
    #[error("kernel image: {reason}")]
    KernelImage {
        /// What is missing or wrong.
        reason: String,
    },
    /// A kernel module, or one it depends on, is not in the kernel package.
    #[error("kernel module {name} (wanted by {wanted_by}) is neither in {} nor built in", tree.display())]
    ModuleMissing {
        /// The module's name.
        name: String,
        /// The module, or the list, that asked for it.
        wanted_by: String,
        /// The searched directory.
        tree: PathBuf,
    },
    /// No package source of this system can be extended by its backports.
    #[error(
        "no package source in {} offers the suite {codename}; install QEMU {minimum} or newer by hand",
        directory.display()
    )]
    NoPackageSource {
        /// Where source files were looked for.
        directory: PathBuf,
        /// This system's release.
        codename: String,
        /// The oldest QEMU that works.
        minimum: u32,
    },
    /// The package archive has no kernel that fits.
    #[error("the package archive offers no kernel package named like {pattern}")]
    NoKernelPackage {
        /// The pattern that was looked for.
        pattern: String,
    },
    /// A program that the machine needs has not been built.
    #[error("{} is missing; build the toolchain first (katalyst-e2e toolchain)", path.display())]
    ProgramMissing {
        /// Where it was expected.
        path: PathBuf,
    },
    /// The container runtime that imports images into a root disk does not work.
    #[error("the container runtime that imports images failed; the end of its log:\n{log}")]
    ImageStore {
        /// The end of its log.
        log: String,
    },
    /// The environment asks for an unknown way to execute machines.
    #[error("{ACCELERATOR_VARIABLE}={value}: not tcg or kvm")]
    Accelerator {
        /// The variable's value.
        value: String,
    },
    /// A machine's description contradicts itself.
    #[error("machine {name}: {reason}")]
    Machine {
        /// The machine's name.
        name: String,
        /// The contradiction.
        reason: String,
    },
    /// A machine did not do what was awaited in time.
    #[error("machine {name}: no {what} within {seconds} s; its console is {}", console.display())]
    Deadline {
        /// The machine's name.
        name: String,
        /// What was awaited.
        what: &'static str,
        /// The time it had.
        seconds: u64,
        /// The console's log.
        console: PathBuf,
    },
}

/// Adds the operation and the path to an I/O error: `fs::read(p).map_err(at("read", p))`.
pub(crate) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VmError {
    move |source| VmError::File {
        action,
        path: path.to_owned(),
        source,
    }
}
