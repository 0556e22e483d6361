//! Builds the root disk that machines start from: an ext4 image of static programs and nothing else.
//!
//! It is written without mounting anything (`mkfs.ext4 -d`), holds no secret, and is shared: each machine works on its own sparse copy.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{VmError, at};
use super::image_store;
use crate::cache::Cache;
use crate::program;
use crate::stamp::Stamp;

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
    "var/lib",
    "var/log",
];

const TEXTS: [(&str, &str); 8] = [
    ("sbin/init", include_str!("guest/init.sh")),
    ("sbin/import-image", include_str!("guest/import-image.sh")),
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// A shell and its commands.
    Bare,
    /// The same with kubelet, container runtime and the container images of these archives.
    Node(Vec<PathBuf>),
}

impl Contents {
    fn image_name(&self) -> &'static str {
        match self {
            Self::Bare => "bare.img",
            Self::Node(_) => "node.img",
        }
    }

    /// Size of the (sparse) file system.
    fn size(&self) -> &'static str {
        match self {
            Self::Bare => "256M",
            Self::Node(_) => "3G",
        }
    }
}

/// Where the root disk for `contents` is in the cache.
pub(super) fn path(cache: &Cache, contents: &Contents) -> PathBuf {
    cache.vm().join(contents.image_name())
}

/// Builds the root disk for `contents` in the cache, unless the one there was built from the same inputs, and returns it.
///
/// # Errors
/// When a program is missing or the image cannot be built.
pub(super) fn build(
    cache: &Cache,
    busybox: &Path,
    contents: &Contents,
) -> Result<PathBuf, VmError> {
    let image = path(cache, contents);
    let mut programs = vec![(busybox.to_owned(), PathBuf::from("bin/busybox"))];
    let archives = match contents {
        Contents::Bare => [].as_slice(),
        Contents::Node(archives) => {
            programs.extend(node_programs(&cache.bin())?);
            archives
        }
    };
    let mut stamp = Stamp::new().text(contents.size());
    for (path, text) in TEXTS {
        stamp = stamp.text(path).text(text);
    }
    for (source, target) in &programs {
        stamp = stamp.file(source)?.text(&target.to_string_lossy());
    }
    for archive in archives {
        stamp = stamp.file(archive)?;
    }
    if stamp.is_current(&image) {
        return Ok(image);
    }
    eprintln!(
        "building the disk {} with {} images",
        image.display(),
        archives.len()
    );
    let (tree, scratch) = (
        image.with_extension("tree"),
        image.with_extension("scratch"),
    );
    for leftover in [&tree, &scratch] {
        if leftover.exists() {
            fs::remove_dir_all(leftover).map_err(at("remove", leftover))?;
        }
    }
    plant(&tree, &programs, busybox)?;
    image_store::fill(&tree, archives, &cache.bin(), &scratch)?;
    make_file_system(&tree, &image, contents.size())?;
    fs::remove_dir_all(&tree).map_err(at("remove", &tree))?;
    stamp.record(&image)?;
    Ok(image)
}

/// The programs of a node: where they are, and where they go.
fn node_programs(directory: &Path) -> Result<Vec<(PathBuf, PathBuf)>, VmError> {
    let find = |(name, target): (&str, &str)| {
        let path = directory.join(name);
        if path.exists() {
            Ok((path, Path::new(target).join(name)))
        } else {
            Err(VmError::ProgramMissing { path })
        }
    };
    NODE_PROGRAMS.into_iter().map(find).collect()
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
    for script in ["sbin/init", "sbin/import-image"] {
        let script = tree.join(script);
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
            .map_err(at("make executable", &script))?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(image: &Path, command: &str) -> String {
        program::run(Command::new("debugfs").arg("-R").arg(command).arg(image)).unwrap()
    }

    #[test]
    fn a_bare_disk_has_a_shell_and_an_executable_init() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        fs::create_dir(cache.vm()).unwrap();
        let image = build(&cache, Path::new("/bin/busybox"), &Contents::Bare).unwrap();
        assert!(inside(&image, "stat /sbin/init").contains("0755"));
        assert!(inside(&image, "stat /bin/sh").contains("busybox"));
        assert!(!inside(&image, "ls /usr/bin").contains("kubelet"));
    }

    #[test]
    fn a_node_disk_needs_its_programs_and_names_the_missing_one() {
        let folder = tempfile::tempdir().unwrap();
        let contents = Contents::Node(Vec::new());
        let error = build(
            &Cache::at(folder.path()),
            Path::new("/bin/busybox"),
            &contents,
        );
        let error = error.unwrap_err();
        assert!(error.to_string().contains("bin/kubelet"), "{error}");
    }
}
