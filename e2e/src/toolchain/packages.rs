//! Debian packages that the clusters need, installed when something is missing.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::program::{self, ProgramError};

/// How to see that a package is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// A program somewhere in `PATH` or in the usual system directories.
    Program(&'static str),
    /// A file at this place.
    File(&'static str),
}

/// Something that must exist, and the package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// What to look for.
    pub probe: Probe,
    /// Debian package.
    pub package: &'static str,
}

const fn needs(probe: Probe, package: &'static str) -> Requirement {
    Requirement { probe, package }
}

/// What building the toolchain and the images needs.
pub const BUILD: &[Requirement] = &[
    needs(Probe::Program("gcc"), "gcc"),
    needs(Probe::File("/usr/include/stdlib.h"), "libc6-dev"),
    needs(Probe::Program("pkg-config"), "pkg-config"),
    needs(Probe::File("/usr/include/seccomp.h"), "libseccomp-dev"),
    needs(Probe::File("/bin/busybox"), "busybox-static"),
];

/// What running the local cluster needs.
pub const CLUSTER: &[Requirement] = &[
    needs(Probe::Program("ip"), "iproute2"),
    needs(Probe::Program("nft"), "nftables"),
    needs(Probe::Program("unshare"), "util-linux"),
    needs(Probe::Program("nsenter"), "util-linux"),
    needs(Probe::Program("mount"), "mount"),
    needs(Probe::Program("mkfs.ext4"), "e2fsprogs"),
];

/// Why packages cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Installing needs root and apt-get; neither can be assumed.
    #[error(
        "missing Debian packages: {packages}; install them with `apt-get install {packages}` ({why})"
    )]
    CannotInstall {
        /// Names, separated by spaces.
        packages: String,
        /// What stands in the way.
        why: &'static str,
    },
    /// apt-get failed.
    #[error("installing Debian packages {packages}: {source}")]
    Install {
        /// Names, separated by spaces.
        packages: String,
        /// What apt-get said.
        source: ProgramError,
    },
}

/// The packages among `requirements` that this machine lacks.
pub fn missing(requirements: &[Requirement]) -> Vec<&'static str> {
    let mut packages: Vec<_> = requirements
        .iter()
        .filter(|requirement| !is_present(requirement.probe))
        .map(|requirement| requirement.package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Installs what is missing and says so on standard error.
pub fn ensure(requirements: &[Requirement]) -> Result<(), PackageError> {
    let packages = missing(requirements);
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    let refuse = |why| PackageError::CannotInstall {
        packages: names.clone(),
        why,
    };
    if find_program("apt-get").is_none() {
        return Err(refuse("this machine has no apt-get"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(refuse("not running as root"));
    }
    eprintln!("installing Debian packages: {names}");
    let failed = |source| PackageError::Install {
        packages: names.clone(),
        source,
    };
    let install = || {
        program::run(
            Command::new("apt-get")
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(["install", "-y", "-q", "--no-install-recommends"])
                .args(&packages),
        )
    };
    // Package lists may be stale or absent; refresh them only when the first try fails.
    if install().is_err() {
        program::run(Command::new("apt-get").args(["update", "-q"])).map_err(failed)?;
        install().map_err(failed)?;
    }
    Ok(())
}

fn is_present(probe: Probe) -> bool {
    match probe {
        Probe::Program(name) => find_program(name).is_some(),
        Probe::File(path) => Path::new(path).exists(),
    }
}

/// Where `name` is, looking also in the directories of system programs, which `PATH` may lack.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_lists_each_package_once() {
        let absent = Probe::File("/nonexistent/file");
        let found = missing(&[
            needs(absent, "b"),
            needs(absent, "a"),
            needs(absent, "b"),
            needs(Probe::File("/"), "present"),
        ]);
        assert_eq!(found, ["a", "b"]);
    }

    #[test]
    fn shell_is_found() {
        assert!(find_program("sh").is_some());
    }
}
