//! Gets the emulator and the machines' kernel from Debian's package archive.
//!
//! Bookworm's own QEMU (7.2) corrupts memory of 6.12 guests, so its backport is needed. The backports suite is reached
//! through a private copy of this system's package sources, which keeps its mirror and its keys; the system's own configuration is not changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{VmError, at};
use crate::program;

/// The emulator's program.
pub const QEMU: &str = "qemu-system-x86_64";
/// The oldest emulator that runs the machines' kernel correctly.
const OLDEST_QEMU: u32 = 8;
const SOURCES: &str = "/etc/apt/sources.list.d";
/// Kernel packages end like this; those before it name the version: `linux-image-6.12.90+deb12-cloud-amd64`.
const KERNEL_SUFFIX: &str = "-cloud-amd64";

/// A private view of the package archive, kept in one directory.
#[derive(Debug)]
pub struct Archive {
    directory: PathBuf,
    codename: String,
}

impl Archive {
    /// Opens the view in `directory`; package lists are fetched when first needed.
    ///
    /// # Errors
    /// When the system's release or its package sources cannot be read, or no source fits.
    pub fn open(directory: &Path) -> Result<Self, VmError> {
        let codename = program::run(
            Command::new("sh").args(["-c", ". /etc/os-release && printf %s \"$VERSION_CODENAME\""]),
        )?;
        let sources = directory.join("sources");
        fs::create_dir_all(&sources).map_err(at("create", &sources))?;
        let mut found = false;
        for entry in fs::read_dir(SOURCES).map_err(at("list", Path::new(SOURCES)))? {
            let path = entry.map_err(at("list", Path::new(SOURCES)))?.path();
            let (Some("sources"), Some(name)) =
                (path.extension().and_then(|e| e.to_str()), path.file_name())
            else {
                continue;
            };
            let text = fs::read_to_string(&path).map_err(at("read", &path))?;
            if let Some(extended) = with_backports(&text, &codename) {
                let copy = sources.join(name);
                fs::write(&copy, extended).map_err(at("write", &copy))?;
                found = true;
            }
        }
        if !found {
            return Err(VmError::NoPackageSource {
                directory: SOURCES.into(),
                codename,
                minimum: OLDEST_QEMU,
            });
        }
        Ok(Self {
            directory: directory.to_owned(),
            codename,
        })
    }

    /// Fetches the package lists.
    ///
    /// # Errors
    /// When the package manager fails.
    pub fn update(&self) -> Result<(), VmError> {
        let partial = self.directory.join("lists/partial");
        fs::create_dir_all(&partial).map_err(at("create", &partial))?;
        program::run(self.command("apt-get").args(["-q", "update"]))?;
        Ok(())
    }

    /// Installs the backported emulator.
    ///
    /// # Errors
    /// When the package manager fails.
    pub fn install_qemu(&self) -> Result<(), VmError> {
        let release = format!("{}-backports", self.codename);
        program::run(
            self.command("apt-get")
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args([
                    "-q",
                    "-y",
                    "--no-install-recommends",
                    "-t",
                    &release,
                    "install",
                    "qemu-system-x86",
                ]),
        )?;
        Ok(())
    }

    /// Downloads the newest kernel package of the `series` ("6.12") into `target`, without installing it, and returns the file.
    ///
    /// # Errors
    /// When the archive has none or the package manager fails.
    pub fn download_kernel(&self, series: &str, target: &Path) -> Result<PathBuf, VmError> {
        let prefix = format!("linux-image-{series}.");
        let names = program::run(self.command("apt-cache").args(["pkgnames", &prefix]))?;
        let package = newest(&names).ok_or_else(|| VmError::NoKernelPackage {
            pattern: format!("{prefix}*{KERNEL_SUFFIX}"),
        })?;
        fs::create_dir_all(target).map_err(at("create", target))?;
        program::run(
            self.command("apt-get")
                .current_dir(target)
                .args(["-q", "download", package]),
        )?;
        let file_prefix = format!("{package}_");
        for entry in fs::read_dir(target).map_err(at("list", target))? {
            let path = entry.map_err(at("list", target))?.path();
            if path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(&file_prefix))
            {
                return Ok(path);
            }
        }
        Err(VmError::NoKernelPackage {
            pattern: format!("{file_prefix}*.deb"),
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, value) in [
            ("Dir::Etc::sourcelist", "/dev/null".to_owned()),
            (
                "Dir::Etc::sourceparts",
                self.directory.join("sources").display().to_string(),
            ),
            (
                "Dir::State::Lists",
                self.directory.join("lists").display().to_string(),
            ),
            // The binary caches would otherwise be shared with the system's own, which has other sources.
            ("Dir::Cache::pkgcache", String::new()),
            ("Dir::Cache::srcpkgcache", String::new()),
            // The unprivileged download user cannot reach a directory below a home directory.
            ("APT::Sandbox::User", "root".to_owned()),
        ] {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        command
    }
}

/// Whether an emulator that is new enough is installed.
pub fn qemu_is_usable() -> bool {
    program::run(Command::new(QEMU).arg("--version"))
        .is_ok_and(|text| major(&text).is_some_and(|major| major >= OLDEST_QEMU))
}

/// "QEMU emulator version 10.0.2 (Debian ...)" is 10.
fn major(version: &str) -> Option<u32> {
    version
        .split_once("version ")?
        .1
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// Adds the backports suite to the stanza that offers `codename` itself; `None` when the file has no such stanza.
fn with_backports(sources: &str, codename: &str) -> Option<String> {
    let mut found = false;
    let lines: Vec<_> = sources
        .lines()
        .map(|line| match line.strip_prefix("Suites:") {
            Some(suites) if suites.split_whitespace().any(|suite| suite == codename) => {
                found = true;
                let backports = format!("{codename}-backports");
                if suites.split_whitespace().any(|suite| suite == backports) {
                    line.to_owned()
                } else {
                    format!("{line} {backports}")
                }
            }
            _ => line.to_owned(),
        })
        .collect();
    found.then(|| lines.join("\n") + "\n")
}

/// The package of the highest version among `names`, one a line, ignoring other flavours.
fn newest(names: &str) -> Option<&str> {
    names
        .lines()
        .map(str::trim)
        .filter(|name| {
            name.strip_suffix(KERNEL_SUFFIX)
                .is_some_and(|stem| stem.contains("+deb"))
        })
        .max_by_key(|name| numbers(name))
}

fn numbers(name: &str) -> Vec<u64> {
    name.split(|character: char| !character.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backports_join_the_stanza_of_the_release_only() {
        let sources = "Types: deb\nSuites: bookworm bookworm-updates\nComponents: main\n\nTypes: deb\nSuites: bookworm-security\n";
        let extended = with_backports(sources, "bookworm").unwrap();
        assert!(
            extended.contains("Suites: bookworm bookworm-updates bookworm-backports\n"),
            "{extended}"
        );
        assert!(
            extended.contains("Suites: bookworm-security\n"),
            "{extended}"
        );
        assert_eq!(with_backports(&extended, "bookworm").unwrap(), extended);
        assert_eq!(with_backports("Suites: trixie\n", "bookworm"), None);
    }

    #[test]
    fn the_newest_kernel_is_chosen_by_number_not_by_spelling() {
        let names = "linux-image-6.12.90+deb12-cloud-amd64\nlinux-image-6.12.117+deb12-cloud-amd64\n\
                     linux-image-6.12.99+deb12-rt-amd64\nlinux-image-6.12.90+deb12.1-cloud-amd64\nlinux-image-6.12-cloud-amd64\n";
        assert_eq!(
            newest(names),
            Some("linux-image-6.12.117+deb12-cloud-amd64")
        );
        assert_eq!(newest(""), None);
    }

    #[test]
    fn the_emulators_version_is_understood() {
        assert_eq!(
            major("QEMU emulator version 10.0.2 (Debian 1:10.0.2)\n"),
            Some(10)
        );
        assert_eq!(major("something else"), None);
    }
}
