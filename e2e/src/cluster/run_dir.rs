//! The directory in which everything of one running cluster lives.

use std::{
    env, fs,
    fs::File,
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{
    config::check_name,
    error::{ClusterError, at},
};

/// Environment variable that moves the run directories.
pub const RUN_VARIABLE: &str = "KATALYST_RUN";

/// Longest path whose sockets still fit in the 108 bytes of a unix socket address.
const LONGEST: usize = 80;
/// Places that the cluster's own mounts cover inside its namespaces.
const HIDDEN: [&str; 7] = [
    "/run", "/var/run", "/var/lib", "/var/log", "/proc", "/sys", "/dev",
];
/// What stays when a cluster is stopped: logs to read, and lock files, which others may be holding.
const KEPT: [&str; 4] = ["logs", "lock", "inner.lock", "start.lock"];

/// The run directory of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// The directory of the cluster `name`: `$KATALYST_RUN/NAME`, by default `/var/tmp/katalyst-e2e/NAME`.
    pub fn for_cluster(name: &str) -> Result<Self, ClusterError> {
        check_name(name)?;
        let parent = env::var_os(RUN_VARIABLE)
            .filter(|value| !value.is_empty())
            .map_or_else(|| PathBuf::from("/var/tmp/katalyst-e2e"), PathBuf::from);
        Self::at(parent.join(name))
    }

    /// The run directory `root`, if it can be one.
    pub fn at(root: impl Into<PathBuf>) -> Result<Self, ClusterError> {
        let root: PathBuf = root.into();
        let wrong = |reason: String| {
            Err(ClusterError::RunDirectory {
                path: root.clone(),
                reason,
            })
        };
        if !root.is_absolute() {
            return wrong("must be an absolute path".to_owned());
        }
        if root.as_os_str().len() > LONGEST {
            return wrong(format!(
                "longer than {LONGEST} bytes, so its sockets could not be addressed"
            ));
        }
        if let Some(place) = hidden_below(&root) {
            return wrong(format!(
                "is below {place}, which the cluster covers inside its namespaces; set {RUN_VARIABLE}"
            ));
        }
        Ok(Self { root })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Name of the cluster.
    pub fn name(&self) -> String {
        let name = self.root.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// A file or folder directly in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Logs, one a component.
    pub fn logs(&self) -> PathBuf {
        self.file("logs")
    }

    /// Log of one component.
    pub fn log(&self, component: &str) -> PathBuf {
        self.logs().join(format!("{component}.log"))
    }

    /// The decided configuration.
    pub fn config(&self) -> PathBuf {
        self.file("config.json")
    }

    /// What the supervisor outside the namespaces says about itself.
    pub fn supervisor(&self) -> PathBuf {
        self.file("supervisor.json")
    }

    /// How far the start is, by the supervisor inside.
    pub fn progress(&self) -> PathBuf {
        self.file("progress.json")
    }

    /// Kubeconfig of the administrator, good inside and outside of the namespaces.
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("kubeconfig")
    }

    /// Certificates.
    pub fn pki(&self) -> PathBuf {
        self.file("pki")
    }

    /// Socket on which the cluster takes requests about its components.
    pub fn control_socket(&self) -> PathBuf {
        self.file("control.sock")
    }

    /// Socket behind which the API server is: unix sockets cross network namespaces.
    pub fn api_socket(&self) -> PathBuf {
        self.file("api.sock")
    }

    /// What is `/var/lib` inside the namespaces: kubelet's, containerd's and every hostPath state below it.
    pub fn var_lib(&self) -> PathBuf {
        self.file("var-lib")
    }

    /// What is `/var/log` inside the namespaces.
    pub fn var_log(&self) -> PathBuf {
        self.file("var-log")
    }

    /// Takes the lock that the supervisor outside holds while it lives; `None` when somebody has it.
    pub fn try_lock(&self) -> Result<Option<File>, ClusterError> {
        try_lock(&self.file("lock"))
    }

    /// Takes the lock that the supervisor inside the namespaces holds while it lives.
    pub fn try_lock_inner(&self) -> Result<Option<File>, ClusterError> {
        try_lock(&self.file("inner.lock"))
    }

    /// Takes the lock that `up` holds until the cluster is up, so that two of them do not clean up after each other.
    pub fn try_lock_start(&self) -> Result<Option<File>, ClusterError> {
        try_lock(&self.file("start.lock"))
    }

    /// Makes the directory and its log folder.
    pub fn create(&self) -> Result<(), ClusterError> {
        let logs = self.logs();
        fs::create_dir_all(&logs).map_err(at(logs))
    }

    /// Removes everything but logs and locks. A directory that is not there is fine.
    pub fn clear(&self) -> Result<(), ClusterError> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(at(&self.root)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(at(&self.root))?;
            if KEPT.iter().any(|kept| entry.file_name() == *kept) {
                continue;
            }
            let path = entry.path();
            let kind = entry.file_type().map_err(at(&path))?;
            let removed = if kind.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.map_err(at(path))?;
        }
        Ok(())
    }
}

/// Waits until `take` gives the lock, or until the deadline.
pub(super) fn wait_for_lock(
    limit: Duration,
    take: impl Fn() -> Result<Option<File>, ClusterError>,
) -> Result<Option<File>, ClusterError> {
    const POLL: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + limit;
    loop {
        if let Some(lock) = take()? {
            return Ok(Some(lock));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// The covered place that `path` is below, if any.
pub(super) fn hidden_below(path: &Path) -> Option<&'static str> {
    HIDDEN.into_iter().find(|place| path.starts_with(place))
}

fn try_lock(path: &Path) -> Result<Option<File>, ClusterError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(at(path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(at(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covered_relative_and_long_places_are_refused() {
        for place in ["/run/x", "/var/lib/x", "x"] {
            assert!(RunDir::at(place).is_err(), "{place}");
        }
        assert!(RunDir::at(format!("/tmp/{}", "a".repeat(80))).is_err());
        assert_eq!(RunDir::at("/var/tmp/k/a").unwrap().name(), "a");
    }

    #[test]
    fn clear_keeps_logs_and_locks() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::at(folder.path()).unwrap();
        run.create().unwrap();
        fs::write(run.log("etcd"), "x").unwrap();
        fs::write(run.config(), "{}").unwrap();
        fs::create_dir(run.var_lib()).unwrap();
        let _lock = run.try_lock().unwrap();
        run.clear().unwrap();
        assert!(run.log("etcd").exists() && run.file("lock").exists());
        assert!(!run.config().exists() && !run.var_lib().exists());
    }

    #[test]
    fn lock_is_exclusive_and_ends_with_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::at(folder.path()).unwrap();
        let first = run.try_lock().unwrap();
        assert!(first.is_some());
        assert!(run.try_lock().unwrap().is_none());
        drop(first);
        assert!(run.try_lock().unwrap().is_some());
    }

    #[test]
    fn clearing_nothing_is_fine() {
        RunDir::at("/var/tmp/nonexistent-katalyst/x")
            .unwrap()
            .clear()
            .unwrap();
    }
}
