//! The container engine's client, and kind as its user.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;

use super::{
    settings::{CLUSTER, Settings},
    state::Engine,
    tool::Tool,
};
use crate::cache::Cache;

/// Variables that would make kind and the client send local traffic through a proxy that the private network cannot reach.
const PROXIES: [&str; 6] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Where kubeadm keeps the administrator's kubeconfig on a control-plane node.
const ADMIN: &str = "/etc/kubernetes/admin.conf";

/// Commands against one container engine.
#[derive(Debug, Clone)]
pub struct Docker {
    socket: Option<PathBuf>,
    kind: PathBuf,
}

impl Docker {
    /// The engine that the environment names, by Docker's own rules.
    pub fn of_environment(cache: &Cache) -> Self {
        Self {
            socket: None,
            kind: cache.program("kind"),
        }
    }

    /// A private engine that listens in the run folder.
    pub fn private(settings: &Settings, cache: &Cache) -> Self {
        Self {
            socket: Some(settings.engine_socket()),
            ..Self::of_environment(cache)
        }
    }

    /// The engine that runs a started cluster.
    pub fn of(engine: &Engine, settings: &Settings, cache: &Cache) -> Self {
        match engine {
            Engine::Reachable => Self::of_environment(cache),
            Engine::Private(_) => Self::private(settings, cache),
        }
    }

    /// Whether the engine is another's, found by the environment.
    pub fn is_reachable_engine(&self) -> bool {
        self.socket.is_none()
    }

    /// The client.
    pub fn client(&self) -> Tool {
        self.at_engine(Tool::new("docker"))
    }

    /// kind.
    pub fn kind(&self) -> Tool {
        // It works for minutes and must not go on alone when this process ends.
        let tool = Tool::new("setpriv").args(["--pdeathsig", "KILL"]);
        self.at_engine(tool.arg(&self.kind))
    }

    fn at_engine(&self, tool: Tool) -> Tool {
        let Some(socket) = &self.socket else {
            return tool;
        };
        let tool = PROXIES.iter().fold(tool, |tool, name| tool.env(name, ""));
        tool.env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .env("DOCKER_CONTEXT", "")
    }

    /// Whether an engine answers.
    pub fn answers(&self) -> bool {
        self.version().is_ok()
    }

    /// The engine's version; an error says why there is no answer.
    pub fn version(&self) -> anyhow::Result<String> {
        let format = "--format={{.Server.Version}}";
        self.client()
            .args(["version", format])
            .within(Duration::from_secs(5))
            .run()
    }

    /// Whether the engine has an image.
    pub fn has_image(&self, reference: &str) -> bool {
        self.client()
            .args(["image", "inspect", reference])
            .succeeds()
    }

    /// Loads the image `reference` from an archive and drops older ones of the same repository.
    pub fn load_image(&self, archive: &Path, reference: &str) -> anyhow::Result<()> {
        self.client()
            .args(["load", "--quiet", "--input"])
            .arg(archive)
            .within(Duration::from_secs(60 * 5))
            .run()?;
        let repository = reference.split(':').next().unwrap_or(reference);
        let format = "--format={{.Repository}}:{{.Tag}}";
        let listed = self
            .client()
            .args(["image", "ls", format, repository])
            .run()?;
        for old in listed.lines().filter(|name| *name != reference) {
            self.client().args(["image", "rm", old]).run()?;
        }
        Ok(())
    }

    /// Names of the cluster's running nodes, sorted: the control plane comes first.
    pub fn nodes(&self) -> anyhow::Result<Vec<String>> {
        let filter = format!("--filter=label=io.x-k8s.kind.cluster={CLUSTER}");
        let listed = self
            .client()
            .args(["ps", "--format={{.Names}}", &filter])
            .run()?;
        let mut nodes: Vec<String> = listed.lines().map(str::to_owned).collect();
        nodes.sort();
        Ok(nodes)
    }

    /// A program in a node's container.
    pub fn in_node(&self, node: &str) -> Tool {
        self.client().args(["exec", "--privileged", node])
    }

    /// kubectl with the administrator's rights, on the control-plane node: it works before the port on the host does.
    pub fn kubectl(&self) -> Tool {
        self.in_node(&control_plane())
            .args(["kubectl", "--kubeconfig", ADMIN])
    }

    /// A program in a node's container with this process's input and output.
    pub fn interactive(&self, node: &str, words: &[String]) -> Command {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
        let flags: &[&str] = if terminal {
            &["--interactive", "--tty"]
        } else {
            &["--interactive"]
        };
        let tool = self
            .client()
            .args(["exec", "--privileged"])
            .args(flags)
            .arg(node)
            .args(words);
        let mut command = tool.command();
        command.stdin(std::process::Stdio::inherit());
        command
    }

    /// Loads image archives into every node.
    pub fn load_archives(&self, archives: &[PathBuf]) -> anyhow::Result<()> {
        if archives.is_empty() {
            return Ok(());
        }
        let kind = self
            .kind()
            .args(["load", "image-archive", "--name", CLUSTER])
            .args(archives);
        kind.within(Duration::from_secs(60 * 3))
            .run()
            .context("load images into the nodes")?;
        Ok(())
    }
}

/// Name of the control-plane node.
pub fn control_plane() -> String {
    format!("{CLUSTER}-control-plane")
}
