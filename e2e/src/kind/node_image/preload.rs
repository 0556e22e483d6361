//! Puts images into a node's containerd store before the node exists, as kind's own image builder does: content only, so
//! that a node unpacks what it runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Child,
    time::Duration,
};

use anyhow::Context;

use super::super::{
    settings::remove,
    tool::{Tool, wait_for},
};
use crate::cache::Cache;

/// Imports `archives` into the store of the node tree; `scratch` holds the daemon's state meanwhile.
pub(super) fn import(
    cache: &Cache,
    archives: &[PathBuf],
    tree: &Path,
    scratch: &Path,
) -> anyhow::Result<()> {
    let store = tree.join("var/lib/containerd");
    for folder in [&store, &scratch.to_owned()] {
        remove(folder)?;
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    let socket = scratch.join("containerd.sock");
    let configuration = scratch.join("config.toml");
    let text = configured(&store, &scratch.join("state"), &socket);
    fs::write(&configuration, text)
        .with_context(|| format!("write {}", configuration.display()))?;
    let log = scratch.join("containerd.log");
    let output = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
    let mut daemon = Tool::contained(cache.program("containerd"))
        .arg("--config")
        .arg(&configuration)
        .command();
    let daemon = daemon
        .stdout(output.try_clone().context("log of containerd")?)
        .stderr(output)
        .spawn()
        .context("start containerd")?;
    let daemon = Daemon(daemon);
    let client = || {
        Tool::new(cache.program("ctr"))
            .arg("--address")
            .arg(&socket)
    };
    wait_for(
        "containerd",
        Duration::from_secs(20),
        Duration::from_millis(50),
        || client().arg("version").run(),
    )
    .with_context(|| format!("see {}", log.display()))?;
    for archive in archives {
        client()
            .args([
                "--namespace",
                "k8s.io",
                "images",
                "import",
                "--no-unpack",
                "--all-platforms",
            ])
            // The kubelet's image collection leaves pinned images alone.
            .args(["--digests", "--label", "io.cri-containerd.pinned=pinned"])
            .arg(archive)
            .within(Duration::from_secs(60 * 2))
            .run()?;
    }
    drop(daemon);
    remove(scratch)
}

fn configured(root: &Path, state: &Path, socket: &Path) -> String {
    include_str!("files/preload.toml")
        .replace("@ROOT@", &root.to_string_lossy())
        .replace("@STATE@", &state.to_string_lossy())
        .replace("@SOCKET@", &socket.to_string_lossy())
}

/// Ends the daemon with all that it started, also when an import fails.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // A graceful end flushes the store's database; the namespaces' first process gets the signal by way of unshare's child.
        let inner = super::super::process::children(self.0.id());
        for id in inner {
            super::super::process::signal(id, rustix::process::Signal::TERM);
        }
        let ended = wait_for(
            "end of containerd",
            Duration::from_secs(10),
            Duration::from_millis(20),
            || self.0.try_wait()?.context("still running"),
        );
        if ended.is_err() && self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_has_no_placeholder_left() {
        let text = configured(Path::new("/r"), Path::new("/s"), Path::new("/c.sock"));
        assert!(
            !text.contains('@') && text.contains("root = \"/r\""),
            "{text}"
        );
    }
}
