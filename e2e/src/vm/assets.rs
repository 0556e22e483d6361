//! Prepares what all machines share: the emulator, the kernel, the initial file system and the root disks.
//!
//! Everything is kept in the cache's `vm/` and built again only when its inputs changed, so a warm call costs milliseconds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt::{self, Archive};
use super::bzimage;
use super::cpio;
use super::error::{VmError, at};
use super::kernel_modules;
use super::root_image::{self, Contents};
use crate::cache::Cache;
use crate::program;
use crate::stamp::Stamp;

/// The kernel series of the machines: a long-term one, new enough for `swappiness=` in memory.reclaim.
const KERNEL_SERIES: &str = "6.12";
/// What the machines' work needs and the distribution's kernel does not have built in.
const MODULES: [&str; 6] = [
    "virtio_blk",
    "virtio_net",
    "overlay",
    "veth",
    "bridge",
    "zram",
];
const INIT: &str = include_str!("guest/init-initramfs.sh");
const KERNEL: &str = "vmlinux";
const INITRAMFS: &str = "initramfs.cpio";
const BUSYBOX: &str = "/bin/busybox";

/// The shared files of machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assets {
    /// The ELF kernel.
    pub kernel: PathBuf,
    /// The initial file system.
    pub initramfs: PathBuf,
    /// The root disk that each machine gets a copy of.
    pub root_image: PathBuf,
}

impl Assets {
    /// The files that [`prepare`] makes.
    pub fn in_cache(cache: &Cache, contents: &Contents) -> Self {
        let directory = cache.vm();
        Self {
            kernel: directory.join(KERNEL),
            initramfs: directory.join(INITRAMFS),
            root_image: root_image::path(cache, contents),
        }
    }
}

/// Prepares the files of machines with the given root disk below `cache`: installs the emulator if none is usable, downloads the kernel, builds.
///
/// # Errors
/// When a step fails; each step's outcome is kept, so a repeated call continues.
pub fn prepare(cache: &Cache, contents: &Contents) -> Result<Assets, VmError> {
    let directory = cache.vm();
    fs::create_dir_all(&directory).map_err(at("create", &directory))?;
    // Two starts at once would write the same files; the lock ends with this call.
    let lock_path = directory.join("lock");
    let lock = File::create(&lock_path).map_err(at("create", &lock_path))?;
    lock.lock().map_err(at("lock", &lock_path))?;
    let package = packages(&directory)?;
    let tree = unpack(&directory, &package)?;
    let busybox = Path::new(BUSYBOX);
    kernel(&directory, &package, &tree)?;
    initramfs(&directory, &package, &tree, busybox)?;
    root_image::build(cache, busybox, contents)?;
    Ok(Assets::in_cache(cache, contents))
}

/// Makes sure of the emulator and returns the kernel's package.
fn packages(directory: &Path) -> Result<PathBuf, VmError> {
    let downloads = directory.join("packages");
    let present = downloaded(&downloads)?;
    let qemu = apt::qemu_is_usable();
    if let (Some(package), true) = (&present, qemu) {
        return Ok(package.clone());
    }
    let archive = Archive::open(&directory.join("apt"))?;
    archive.update()?;
    if !qemu {
        eprintln!("installing the emulator from the backports");
        archive.install_qemu()?;
    }
    if let Some(package) = present {
        return Ok(package);
    }
    eprintln!("downloading the machines' kernel {KERNEL_SERIES}");
    archive.download_kernel(KERNEL_SERIES, &downloads)
}

fn downloaded(directory: &Path) -> Result<Option<PathBuf>, VmError> {
    if !directory.exists() {
        return Ok(None);
    }
    let prefix = format!("linux-image-{KERNEL_SERIES}.");
    for entry in fs::read_dir(directory).map_err(at("list", directory))? {
        let path = entry.map_err(at("list", directory))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with(&prefix) && path.extension().is_some_and(|extension| extension == "deb")
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Unpacks the kernel's package, never installing it, and returns the tree.
fn unpack(directory: &Path, package: &Path) -> Result<PathBuf, VmError> {
    let tree = directory.join("kernel");
    let stamp = Stamp::new().file(package)?;
    if !stamp.is_current(&tree) {
        if tree.exists() {
            fs::remove_dir_all(&tree).map_err(at("remove", &tree))?;
        }
        program::run(Command::new("dpkg-deb").arg("-x").arg(package).arg(&tree))?;
        stamp.record(&tree)?;
    }
    Ok(tree)
}

fn kernel(directory: &Path, package: &Path, tree: &Path) -> Result<(), VmError> {
    let vmlinux = directory.join(KERNEL);
    let stamp = Stamp::new().file(package)?;
    if !stamp.is_current(&vmlinux) {
        let image = only_child(&tree.join("boot"), "vmlinuz-")?;
        bzimage::extract(&fs::read(&image).map_err(at("read", &image))?, &vmlinux)?;
        stamp.record(&vmlinux)?;
    }
    Ok(())
}

fn initramfs(directory: &Path, package: &Path, tree: &Path, busybox: &Path) -> Result<(), VmError> {
    let output = directory.join(INITRAMFS);
    let stamp = Stamp::new()
        .file(package)?
        .file(busybox)?
        .text(INIT)
        .text(&MODULES.join(" "));
    if stamp.is_current(&output) {
        return Ok(());
    }
    let modules = kernel_modules::load_order(
        &only_child(&tree.join("lib/modules"), KERNEL_SERIES)?,
        &MODULES,
    )?;
    let mut archive = cpio::Archive::new();
    for path in ["bin", "dev", "lib", "lib/modules", "proc", "root", "sys"] {
        archive.directory(path);
    }
    archive.character_device("dev/console", 5, 1);
    archive.character_device("dev/null", 1, 3);
    archive.file(
        "bin/busybox",
        0o755,
        &fs::read(busybox).map_err(at("read", busybox))?,
    );
    archive.file("init", 0o755, INIT.as_bytes());
    for (position, module) in modules.iter().enumerate() {
        archive.file(
            &format!("lib/modules/{position:02}-{}.ko", module.name),
            0o644,
            &module.object,
        );
    }
    fs::write(&output, archive.finish()).map_err(at("write", &output))?;
    stamp.record(&output)?;
    Ok(())
}

/// The entry of `directory` whose name starts with `prefix`.
fn only_child(directory: &Path, prefix: &str) -> Result<PathBuf, VmError> {
    for entry in fs::read_dir(directory).map_err(at("list", directory))? {
        let path = entry.map_err(at("list", directory))?.path();
        if path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(prefix))
        {
            return Ok(path);
        }
    }
    Err(VmError::KernelImage {
        reason: format!("{} holds nothing named {prefix}*", directory.display()),
    })
}
