//! The programs that the clusters run: pinned, checksummed Go modules, built once and cached.

pub mod family;
pub mod packages;
mod stamp;

use std::{
    env,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use family::{FAMILIES, Family};
use stamp::Stamp;

use crate::{
    cache::{Cache, CacheError},
    program,
};

/// Environment variable that moves the folder with the Go modules, for an installed program.
pub const MODULES_VARIABLE: &str = "KATALYST_TOOLCHAIN";

/// Why the toolchain is not there.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// A file or folder could not be used.
    #[error("toolchain {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The cache is unusable.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A Debian package is missing.
    #[error(transparent)]
    Package(#[from] packages::PackageError),
    /// No Go compiler.
    #[error("the toolchain needs the Go compiler 1.26 or later in PATH (https://go.dev/dl): {0}")]
    NoGo(io::Error),
    /// A build failed.
    #[error("building {family} failed ({status}); log {log}:\n{tail}")]
    Build {
        /// The family.
        family: &'static str,
        /// How `go build` ended.
        status: ExitStatus,
        /// Its whole output.
        log: PathBuf,
        /// The end of its output.
        tail: String,
    },
    /// There is no such family.
    #[error(
        "no toolchain family `{0}`; there are: kubernetes etcd containerd runc cni kwok kind coredns containerd-1.7 containerd-2.1"
    )]
    NoFamily(String),
}

/// The families that a local cluster needs; hollow nodes add `kwok`.
pub const LOCAL_CLUSTER: &[&str] = &["kubernetes", "etcd", "containerd", "runc", "cni", "coredns"];

/// Builds those of `names` (when empty: all that are not extra) that the cache lacks. A warm call costs milliseconds.
///
/// Progress goes to standard error, a line a family.
pub fn ensure(cache: &Cache, names: &[&str]) -> Result<(), ToolchainError> {
    let chosen = choose(names)?;
    let modules = modules_folder();
    let mut stale = Vec::new();
    for family in chosen {
        let source = modules.join(family.name);
        let stamp = Stamp::wanted(family, &source, cache).map_err(|error| file(&source, error))?;
        if !stamp.is_current(family, cache) {
            stale.push((family, source, stamp));
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    packages::ensure(packages::BUILD)?;
    let bin = cache.create(cache.bin())?;
    // Two callers must not write the same programs; the second one finds them built.
    let lock_path = bin.join(".lock");
    let lock = File::create(&lock_path).map_err(|error| file(&lock_path, error))?;
    lock.lock().map_err(|error| file(&lock_path, error))?;
    let total = stale.len();
    for (done, (family, source, stamp)) in stale.into_iter().enumerate() {
        let label = format!("[{}/{total}] {}", done + 1, family.name);
        if stamp.is_current(family, cache) {
            eprintln!("{label} ... built by another run");
            continue;
        }
        let started = Instant::now();
        build(family, &source, cache, &label)?;
        stamp.write().map_err(|error| file(&bin, error))?;
        eprintln!("{label} ... {:.0} s", started.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Whether every program of `name` is built and current.
pub fn is_built(cache: &Cache, name: &str) -> Result<bool, ToolchainError> {
    let family = family::by_name(name).ok_or_else(|| ToolchainError::NoFamily(name.to_owned()))?;
    let source = modules_folder().join(name);
    let stamp = Stamp::wanted(family, &source, cache).map_err(|error| file(&source, error))?;
    Ok(stamp.is_current(family, cache))
}

/// The folder that holds one Go module a family.
pub fn modules_folder() -> PathBuf {
    env::var_os(MODULES_VARIABLE).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("toolchain"),
        PathBuf::from,
    )
}

fn choose(names: &[&str]) -> Result<Vec<&'static Family>, ToolchainError> {
    if names.is_empty() {
        return Ok(FAMILIES
            .iter()
            .filter(|family| !family.is_extra())
            .collect());
    }
    names
        .iter()
        .map(|name| {
            family::by_name(name).ok_or_else(|| ToolchainError::NoFamily((*name).to_owned()))
        })
        .collect()
}

fn build(family: &Family, source: &Path, cache: &Cache, label: &str) -> Result<(), ToolchainError> {
    cache.create(cache.bin().join(family.folder))?;
    let logs = cache.create(cache.logs())?;
    let log_path = logs.join(format!("toolchain-{}.log", family.name));
    let log = File::create(&log_path).map_err(|error| file(&log_path, error))?;
    let log_too = log.try_clone().map_err(|error| file(&log_path, error))?;
    let mut child = Command::new("go")
        .current_dir(source)
        .args(family.build_arguments(&cache.bin().to_string_lossy()))
        .env("CGO_ENABLED", if family.cgo { "1" } else { "0" })
        .env("GOFLAGS", "")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(log_too)
        .spawn()
        .map_err(ToolchainError::NoGo)?;
    let status = wait_with_heartbeat(&mut child, label).map_err(|error| file(source, error))?;
    if status.success() {
        return Ok(());
    }
    Err(ToolchainError::Build {
        family: family.name,
        status,
        tail: program::tail(&log_path, 20),
        log: log_path,
    })
}

/// Waits for the build and says every half minute that it is still at work.
fn wait_with_heartbeat(child: &mut std::process::Child, label: &str) -> io::Result<ExitStatus> {
    const POLL: Duration = Duration::from_millis(50);
    const HEARTBEAT: Duration = Duration::from_secs(30);
    let started = Instant::now();
    let mut next = HEARTBEAT;
    eprintln!("{label} ...");
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if started.elapsed() >= next {
            eprintln!("{label} ... still building, {} s", next.as_secs());
            next += HEARTBEAT;
        }
        thread::sleep(POLL);
    }
}

fn file(path: &Path, source: io::Error) -> ToolchainError {
    ToolchainError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_its_module_with_checksums() {
        for family in FAMILIES {
            for name in ["go.mod", "go.sum"] {
                let path = modules_folder().join(family.name).join(name);
                assert!(path.is_file(), "{}", path.display());
            }
        }
    }

    #[test]
    fn unknown_family_is_named() {
        let error = choose(&["etcd", "nothing"]).unwrap_err();
        assert!(error.to_string().contains("nothing"));
    }

    #[test]
    fn no_names_mean_all_but_the_extra_ones() {
        let chosen = choose(&[]).unwrap();
        assert!(chosen.iter().all(|family| !family.is_extra()));
        assert!(chosen.len() > 1 && chosen.len() < FAMILIES.len());
    }
}
