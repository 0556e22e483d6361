//! Loading image archives into the nodes of a running cluster.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use super::{
    config::ClusterConfig,
    control::ImageLoader,
    error::ClusterError,
    host_node, machines,
    network::{self, MachinePlace},
};
use crate::{cache::Cache, program::ProgramError};

/// Loads archives into the host node and the machines of one cluster.
#[derive(Debug, Clone)]
pub(super) struct NodeImages {
    ctr: PathBuf,
    config: ClusterConfig,
}

impl NodeImages {
    pub(super) fn new(cache: &Cache, config: &ClusterConfig) -> Self {
        Self {
            ctr: config.runtime.folder(cache).join("ctr"),
            config: config.clone(),
        }
    }

    /// Whether containerd of the host node answers.
    pub(super) async fn runtime_answers(&self) -> Result<(), String> {
        match self.run_ctr(&["version".as_ref()]).await {
            Ok(()) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Loads an archive into the host node.
    pub(super) async fn load_on_host(&self, archive: &Path) -> Result<(), ClusterError> {
        let arguments = ["image".as_ref(), "import".as_ref(), archive.as_os_str()];
        Ok(self.run_ctr(&arguments).await?)
    }

    async fn run_ctr(&self, arguments: &[&std::ffi::OsStr]) -> Result<(), ProgramError> {
        let mut command = Command::new(&self.ctr);
        command
            .args(["--address", host_node::CONTAINERD_SOCKET])
            .args(["--namespace", "k8s.io"])
            .args(arguments)
            .stdin(Stdio::null());
        let line = crate::program::line(command.as_std());
        match command.output().await {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(ProgramError::Failed {
                command: line,
                status: output.status,
                output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            }),
            Err(source) => Err(ProgramError::Start {
                command: line,
                source,
            }),
        }
    }
}

impl ImageLoader for NodeImages {
    async fn load(&self, archive: &Path, node: Option<&str>) -> Result<(), ClusterError> {
        let wanted = |name: &str| node.is_none_or(|node| node == name);
        let machines = (1..=self.config.vms)
            .map(MachinePlace::new)
            .filter(|place| wanted(&place.node))
            .collect::<Vec<_>>();
        let host = wanted(network::HOST_NODE);
        if let Some(node) = node
            && !host
            && machines.is_empty()
        {
            return Err(ClusterError::Machine(format!("there is no node {node}")));
        }
        if host {
            self.load_on_host(archive).await?;
        }
        machines::load_image(machines, archive).await
    }
}
