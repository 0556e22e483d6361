//! Builds the root disk that machines start from: an ext4 image of static programs and nothing else.
//!
//! It is written without mounting anything (`mkfs.ext4 -d`), holds no secret, and is shared: each machine works on its own sparse copy.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{VmError, at};
use super::stamp::Stamp;
use crate::program;

/// Programs of a node, from the cache's `bin/`, and the directories they go to.
const NODE_PROGRAMS: [(&str, &str); 8] = [
    ("kubelet", "usr/bin"),
    ("containerd", "usr/bin"),
    ("containerd-shim-runc-v2", "usr/bin"),
    ("ctr", "usr/bin"),
    ("runc", "usr/bin"),
    ("bridge", "opt/cni/bin"),
    ("host-local", "opt/cni/bin"),
    ("loopback", "opt/cni/bin"),
];

const DIRECTORIES: [&str; 18] = [
    "bin",
    "dev",
    "etc/cni/net.d",
    "etc/containerd",
    "etc/kubernetes/kubelet.d",
    "etc/kubernetes/manifests",
    "etc/katalyst-e2e",
    "opt/cni/bin",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr/bin",
    "usr/sbin",
    "var/lib/katalyst-e2e/images",
    "var/log",
];

const TEXTS: [(&str, &str); 7] = [
    ("sbin/init", include_str!("guest/init.sh")),
    (
        "etc/containerd/config.toml",
        include_str!("guest/containerd.toml"),
    ),
    (
        "etc/kubernetes/kubelet.yaml",
        include_str!("guest/kubelet.yaml"),
    ),
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    (
        "etc/os-release",
        "NAME=\"Katalyst test machine\"\nID=katalyst-e2e\nPRETTY_NAME=\"Katalyst test machine\"\n",
    ),
    ("etc/nsswitch.conf", "hosts: files dns\n"),
];

/// What a root disk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// A shell and its commands.
    Bare,
    /// The same with kubelet, container runtime and the container images of the cache.
    Node,
}

impl Contents {
    fn image_name(self) -> &'static str {
        match self {
            Self::Bare => "bare.img",
            Self::Node => "node.img",
        }
    }

    /// Size of the (sparse) file system.
    fn size(self) -> &'static str {
        match self {
            Self::Bare => "256M",
            Self::Node => "3G",
        }
    }
}

/// Builds the root disk for `contents` in the cache, unless the one there was built from the same inputs, and returns it.
///
/// # Errors
/// When a program is missing or the image cannot be built.
pub(super) fn build(cache: &Path, busybox: &Path, contents: Contents) -> Result<PathBuf, VmError> {
    let image = cache.join("vm").join(contents.image_name());
    let mut inputs = vec![(busybox.to_owned(), PathBuf::from("bin/busybox"))];
    if contents == Contents::Node {
        inputs.extend(node_files(cache)?);
    }
    let mut stamp = Stamp::new().literal(contents.size());
    for (path, text) in TEXTS {
        stamp = stamp.literal(path).literal(text);
    }
    for (source, target) in &inputs {
        stamp = stamp.file(source)?.literal(&target.to_string_lossy());
    }
    if stamp.is_current(&image) {
        return Ok(image);
    }
    tracing::info!(image = %image.display(), files = inputs.len(), "building a root disk");
    let tree = image.with_extension("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).map_err(at("remove", &tree))?;
    }
    plant(&tree, &inputs, busybox)?;
    make_file_system(&tree, &image, contents.size())?;
    fs::remove_dir_all(&tree).map_err(at("remove", &tree))?;
    stamp.record(&image)?;
    Ok(image)
}

fn node_files(cache: &Path) -> Result<Vec<(PathBuf, PathBuf)>, VmError> {
    let mut files = Vec::new();
    for (name, directory) in NODE_PROGRAMS {
        let path = cache.join("bin").join(name);
        if !path.exists() {
            return Err(VmError::ProgramMissing { path });
        }
        files.push((path, Path::new(directory).join(name)));
    }
    let images = cache.join("images");
    let mut archives = Vec::new();
    for entry in fs::read_dir(&images).map_err(at("list", &images))? {
        let path = entry.map_err(at("list", &images))?.path();
        if path.extension().is_some_and(|extension| extension == "tar") {
            archives.push(path);
        }
    }
    archives.sort();
    files.extend(archives.into_iter().filter_map(|path| {
        let target = Path::new("var/lib/katalyst-e2e/images").join(path.file_name()?);
        Some((path, target))
    }));
    Ok(files)
}

/// Lays the tree out as it appears in the machine. Inputs become hard links where the cache allows it, to save copying.
fn plant(tree: &Path, inputs: &[(PathBuf, PathBuf)], busybox: &Path) -> Result<(), VmError> {
    for directory in DIRECTORIES {
        let path = tree.join(directory);
        fs::create_dir_all(&path).map_err(at("create", &path))?;
    }
    for (source, target) in inputs {
        let target = tree.join(target);
        if fs::hard_link(source, &target).is_err() {
            fs::copy(source, &target).map_err(at("copy", source))?;
        }
    }
    for (path, text) in TEXTS {
        let path = tree.join(path);
        fs::write(&path, text).map_err(at("write", &path))?;
    }
    let init = tree.join("sbin/init");
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))
        .map_err(at("make executable", &init))?;
    let run = tree.join("var/run");
    symlink("/run", &run).map_err(at("link", &run))?;
    for applet in program::run(Command::new(busybox).arg("--list"))?
        .lines()
        .filter(|&applet| applet != "busybox")
    {
        let link = tree.join("bin").join(applet);
        symlink("busybox", &link).map_err(at("link", &link))?;
    }
    Ok(())
}

fn make_file_system(tree: &Path, image: &Path, size: &str) -> Result<(), VmError> {
    let unfinished = image.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_file(&unfinished).map_err(at("remove", &unfinished))?;
    }
    program::run(
        Command::new("mkfs.ext4")
            // Numerous small files (image layers) need more inodes than the default of a small file system.
            .args([
                "-q",
                "-F",
                "-i",
                "8192",
                "-E",
                "root_owner=0:0,lazy_itable_init=1,nodiscard",
                "-d",
            ])
            .arg(tree)
            .arg(&unfinished)
            .arg(size),
    )?;
    fs::rename(&unfinished, image).map_err(at("rename", &unfinished))
}
