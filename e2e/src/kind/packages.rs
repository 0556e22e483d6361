//! Debian packages that only kind without a container engine needs.

use std::time::Duration;

use super::{progress::Progress, tool::Tool};
use crate::toolchain::packages::{Probe, Requirement, missing};

/// The container engine with its client.
pub const ENGINE: &[Requirement] = &[
    needs("dockerd", "docker.io"),
    needs("docker", "docker.io"),
    needs("iptables", "iptables"),
    needs("ip", "iproute2"),
];

/// What makes the Debian tree of a node image.
pub const NODE_IMAGE: &[Requirement] = &[needs("mmdebstrap", "mmdebstrap")];

const fn needs(program: &'static str, package: &'static str) -> Requirement {
    Requirement {
        probe: Probe::Program(program),
        package,
    }
}

/// Installs what is missing, without letting a package start its daemon: `RUNLEVEL=1` makes `invoke-rc.d` refuse, and a
/// daemon that starts all the same ends with the process namespace.
pub fn ensure(requirements: &[Requirement], progress: &Progress) -> anyhow::Result<()> {
    let packages = missing(requirements);
    if packages.is_empty() {
        return Ok(());
    }
    progress.step(&format!("Debian packages: {}", packages.join(" ")));
    let apt = |arguments: &[&str]| {
        Tool::contained("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1")
            .within(Duration::from_secs(60 * 10))
    };
    let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
    install.extend(&packages);
    // Package lists may be stale or absent; refresh them only when the first try fails.
    if !apt(&install).succeeds() {
        apt(&["update", "-q"]).run()?;
        apt(&install).run()?;
    }
    Ok(())
}
