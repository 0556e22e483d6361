//! What can go wrong with a cluster.

use std::{io, path::PathBuf};

use crate::{
    cache::CacheError, image::ImageError, pki::PkiError, program::ProgramError,
    toolchain::ToolchainError, toolchain::packages::PackageError,
};

/// Why a cluster could not be started, reached or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A setting has no meaning.
    #[error("cluster configuration: {field}: {reason}")]
    Config {
        /// Which setting.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The run directory is at a place that the cluster's own mounts would hide, or its path is too long.
    #[error("run directory {path}: {reason}")]
    RunDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be used.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Only root may make namespaces, mounts and cgroups.
    #[error("`cluster {0}` needs root")]
    NotRoot(&'static str),
    /// The cluster is there already.
    #[error(
        "cluster {name} is already running{supervisor}; use it, or stop it with `katalyst-e2e cluster down --name {name}`"
    )]
    AlreadyRunning {
        /// The cluster.
        name: String,
        /// ` (supervisor process N)` where known.
        supervisor: String,
    },
    /// The cluster is on its way up.
    #[error("cluster {name} is being started by another `katalyst-e2e cluster up`")]
    BeingStarted {
        /// The cluster.
        name: String,
    },
    /// The cluster is not there.
    #[error("cluster {name} is not running; start it with `katalyst-e2e cluster up --name {name}`")]
    NotRunning {
        /// The cluster.
        name: String,
    },
    /// The start did not come to its end.
    #[error("cluster {name} did not start: {reason}\nlogs: {logs}")]
    Start {
        /// The cluster.
        name: String,
        /// Why.
        reason: String,
        /// Folder of its logs.
        logs: PathBuf,
    },
    /// A condition did not become true in time.
    #[error("waited {seconds} s for {what}; last seen: {last}")]
    Timeout {
        /// The condition.
        what: String,
        /// How long.
        seconds: u64,
        /// The last observation.
        last: String,
    },
    /// A component ended by itself.
    #[error("{name} died ({status}); the end of its log:\n{tail}")]
    Died {
        /// The component.
        name: String,
        /// How it ended.
        status: String,
        /// Its last words.
        tail: String,
    },
    /// There is no such component.
    #[error("no component {name}; there are: {known}")]
    NoComponent {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A component is not in the state that the request needs.
    #[error("{name} is {state}, so it cannot be {action}")]
    WrongState {
        /// The component.
        name: String,
        /// Its state.
        state: String,
        /// What was asked.
        action: &'static str,
    },
    /// The cluster's control interface refused a request or said something unintelligible.
    #[error("cluster control: {0}")]
    Control(String),
    /// A Kubernetes request failed.
    #[error("API server: {0}")]
    Api(Box<kube::Error>),
    /// A kubeconfig could not be used.
    #[error("kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// A file could not be written as JSON or YAML, or could not be parsed.
    #[error("{path}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The operating system's answer.
        source: rustix::io::Errno,
    },
    /// A virtual machine could not be prepared or started.
    #[error("virtual machine: {0}")]
    Machine(String),
    /// The cache is unusable.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The programs are not there.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// Debian packages are not there.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// An image could not be written.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Certificates could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A program failed.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

impl From<kube::Error> for ClusterError {
    fn from(error: kube::Error) -> Self {
        Self::Api(Box::new(error))
    }
}

/// The error of a file operation on `path`.
pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ClusterError {
    let path = path.into();
    move |source| ClusterError::File { path, source }
}

/// The error of a system call that tried to do `what`.
pub(super) fn system(what: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> ClusterError {
    let what = what.into();
    move |source| ClusterError::System { what, source }
}
