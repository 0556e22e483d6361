//! Where a kind cluster lives and how large it is.

use std::{
    io,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::cache::Cache;

/// The name that kind knows the cluster by; node containers are `NAME-control-plane`, `NAME-worker`, `NAME-worker2`.
pub const CLUSTER: &str = "katalyst";

/// Cgroup that a private container engine puts node containers under, in every hierarchy.
pub const CGROUP: &str = "katalyst-kind";

/// Options of every `kind` command.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Folder of the running cluster: kubeconfig, sockets, logs.
    #[arg(
        long = "run-dir",
        env = "KATALYST_RUN_KIND",
        default_value = "/var/tmp/katalyst-e2e/kind",
        global = true
    )]
    pub run: PathBuf,
    /// Folder of the product's manifests.
    #[arg(
        long,
        env = "KATALYST_MANIFESTS",
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests"),
        global = true
    )]
    pub manifests: PathBuf,
}

/// The shape of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Shape {
    /// Worker nodes beside the control plane.
    #[arg(long, env = "KATALYST_KIND_WORKERS", default_value_t = 1)]
    pub workers: u8,
    /// Port on 127.0.0.1 at which the API server answers.
    #[arg(long, env = "KATALYST_KIND_PORT", default_value_t = 16444)]
    pub port: u16,
}

impl Settings {
    /// Cached parts of kind clusters; the folder exists.
    pub fn cache() -> anyhow::Result<(Cache, PathBuf)> {
        let cache = Cache::from_env()?;
        let kind = cache.create(cache.kind())?;
        Ok((cache, kind))
    }

    /// Makes the run folder.
    pub fn create(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.run).with_context(|| format!("create {}", self.run.display()))
    }

    /// A copy of this program for what runs as long as the cluster: a build meanwhile replaces the original.
    pub fn program(&self) -> PathBuf {
        self.run.join("katalyst-e2e")
    }

    /// Makes the copy of this program.
    pub fn install_program(&self) -> anyhow::Result<()> {
        let copy = self.program();
        // Works also when the original was replaced since this process began.
        std::fs::copy("/proc/self/exe", &copy)
            .with_context(|| format!("copy this program to {}", copy.display()))?;
        Ok(())
    }

    /// The private engine's socket.
    pub fn engine_socket(&self) -> PathBuf {
        self.run.join("docker.sock")
    }

    /// Leads from the host's network to the API server in the private one.
    pub fn api_socket(&self) -> PathBuf {
        self.run.join("api.sock")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.run.join("kubeconfig")
    }

    /// What `up` left for the other commands.
    pub fn state(&self) -> PathBuf {
        self.run.join("state.json")
    }

    /// Output of one part.
    pub fn log(&self, part: &str) -> PathBuf {
        self.run.join(format!("{part}.log"))
    }

    /// Held by whoever starts or clears the cluster. Beside the run folder, which comes and goes.
    pub fn lock_file(&self) -> PathBuf {
        self.run.with_extension("lock")
    }
}

/// Removes a file or a folder with all that it holds; its absence is fine.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
