//! A kind node image made on this machine, for where the published one cannot be pulled.
//!
//! It follows kind's own build (`images/base` of its source, then what `kind build node-image` adds) with two differences: the
//! programs are those of the toolchain, and pods get their network from containerd itself instead of kindnetd.

mod archive;
mod control_plane;
mod preload;
mod rootfs;
mod tree;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::{progress::Progress, settings::remove, tool::Tool};
use crate::{
    cache::Cache,
    stamp::Stamp,
    toolchain::{self, family::KUBERNETES_VERSION},
};

/// Name of the image without its tag.
pub const REPOSITORY: &str = "katalyst.local/kind-node";

/// Programs that go into a node or its images.
const PROGRAMS: [&str; 17] = [
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
    "kubelet",
    "kubectl",
    "kubeadm",
    "host-local",
    "loopback",
    "ptp",
    "portmap",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "coredns",
];

/// The sources that decide what a node image is.
const SOURCES: [&str; 11] = [
    include_str!("archive.rs"),
    include_str!("control_plane.rs"),
    include_str!("preload.rs"),
    include_str!("rootfs.rs"),
    include_str!("tree.rs"),
    include_str!("files/cni.conflist.template"),
    include_str!("files/containerd-cni.toml"),
    include_str!("files/crictl"),
    include_str!("files/default-cni.yaml"),
    include_str!("files/preload.toml"),
    include_str!("files/reject-unknown-services.service"),
];

/// A node image in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeImage {
    /// Name with a tag that tells its content.
    pub reference: String,
    /// File for `docker load`.
    pub archive: PathBuf,
}

/// The node image of the current toolchain, made when the cache has none or another.
pub fn ensure(cache: &Cache, folder: &Path, progress: &Progress) -> anyhow::Result<NodeImage> {
    let module = toolchain::modules_folder().join("kind");
    let stamp = inputs(cache, &module)?;
    let image = NodeImage {
        reference: format!("{REPOSITORY}:{KUBERNETES_VERSION}-{}", stamp.digest()),
        archive: folder.join("node-image.tar"),
    };
    if stamp.is_current(&image.archive) {
        return Ok(image);
    }
    let rootfs = rootfs::ensure(folder, progress)?;
    progress.step("node image: tree with kind's files and the toolchain");
    let kind = kind_source(&module)?;
    let references = control_plane::references(cache, KUBERNETES_VERSION)?;
    let build = folder.join("build");
    let root = build.join("tree");
    remove_tree(&build)?;
    let parts = tree::Parts {
        rootfs: &rootfs,
        kind_files: &kind.join("images/base/files"),
        binaries: &cache.bin(),
        version: KUBERNETES_VERSION,
        pause: control_plane::reference(&references, "pause")?,
    };
    tree::build(&root, &parts)?;
    progress.step("node image: images of the control plane");
    let images = build.join("images");
    std::fs::create_dir_all(&images).with_context(|| format!("create {}", images.display()))?;
    let archives = control_plane::write(cache, &references, &root, &images)?;
    preload::import(cache, &archives, &root, &build.join("preload"))?;
    progress.step("node image: archive");
    remove(&image.archive)?;
    archive::write(&root, &image.reference, &image.archive)?;
    stamp.record(&image.archive)?;
    remove_tree(&build)?;
    Ok(image)
}

fn inputs(cache: &Cache, module: &Path) -> anyhow::Result<Stamp> {
    let stamp = Stamp::new()
        .text(KUBERNETES_VERSION)
        .file(&module.join("go.sum"))?;
    let stamp = SOURCES.iter().fold(stamp, |stamp, text| stamp.text(text));
    let stamp = PROGRAMS
        .iter()
        .try_fold(stamp, |stamp, name| stamp.file(&cache.program(name)))?;
    Ok(stamp)
}

/// The folder of kind's source at the toolchain's version, fetched if the module cache lost it.
fn kind_source(module: &Path) -> anyhow::Result<PathBuf> {
    let go = |arguments: &[&str]| Tool::new("go").arg("-C").arg(module).args(arguments);
    let find = || go(&["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind"]).run();
    let mut found = find()?;
    if found.trim().is_empty() {
        go(&["mod", "download", "sigs.k8s.io/kind"]).run()?;
        found = find()?;
    }
    let path = PathBuf::from(found.trim());
    ensure!(
        path.join("images/base/files").is_dir(),
        "kind's source at {} has no images/base/files",
        path.display()
    );
    Ok(path)
}

/// Removes a folder in which programs ran as root of a tree: refuses to follow mounts that a killed run might have left.
fn remove_tree(path: &Path) -> anyhow::Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Tool::new("rm")
        .args(["--recursive", "--force", "--one-file-system", "--"])
        .arg(path)
        .run()?;
    Ok(())
}
