//! The Debian tree under a node image, made by mmdebstrap from this machine's own package sources.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;

use super::super::{packages, progress::Progress, tool::Tool};
use crate::stamp::Stamp;

/// The release that kind 0.33's files are known to work with here.
const SUITE: &str = "bookworm";

/// Packages of kind's own node image, less what only other storage backends need, plus what Debian's minimal tree lacks.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod,\
libseccomp2,socat,e2fsprogs,bash,ca-certificates,curl,jq,procps,hostname";

/// Package sources of a Debian machine, the newer form first.
const SOURCES: [&str; 2] = [
    "/etc/apt/sources.list.d/debian.sources",
    "/etc/apt/sources.list",
];

/// Returns the tree as a tar file in `cache`, made if its inputs changed.
pub(super) fn ensure(cache: &Path, progress: &Progress) -> anyhow::Result<PathBuf> {
    let target = cache.join("rootfs.tar");
    let stamp = Stamp::new().text(SUITE).text(PACKAGES);
    if stamp.is_current(&target) {
        return Ok(target);
    }
    packages::ensure(packages::NODE_IMAGE, progress)?;
    progress.step("node image: Debian tree by mmdebstrap");
    let partial = cache.join("rootfs.tar.part");
    let tool = Tool::contained("nice").args([
        "-n",
        "5",
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        "--format=tar",
    ]);
    let tool = ["doc", "man", "locale"].iter().fold(tool, |tool, folder| {
        tool.arg(format!("--dpkgopt=path-exclude=/usr/share/{folder}/*"))
    });
    let tool = tool
        .args([
            "--aptopt=Acquire::Languages \"none\"",
            &format!("--include={PACKAGES}"),
            SUITE,
        ])
        .arg(&partial);
    let tool = debian_sources().into_iter().fold(tool, Tool::arg);
    tool.within(Duration::from_secs(60 * 15))
        .run_logged(&cache.join("rootfs.log"))?;
    fs::rename(&partial, &target)
        .with_context(|| format!("rename {} to {}", partial.display(), target.display()))?;
    stamp.record(&target)?;
    Ok(target)
}

/// This machine's sources when it runs the suite itself, so that its mirror is used; elsewhere mmdebstrap's default mirror is.
fn debian_sources() -> Option<&'static str> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let same = release
        .lines()
        .any(|line| line == format!("VERSION_CODENAME={SUITE}"));
    same.then(|| {
        SOURCES
            .into_iter()
            .find(|path| fs::metadata(path).is_ok_and(|file| file.len() > 0))
    })
    .flatten()
}
