//! Chooses the kernel modules that go into the initial file system, in an order in which each can be inserted.
//!
//! The order follows the `depends=` entry that every module carries in its `.modinfo` section. Modules are unpacked on the
//! host because the small `insmod` of the initial file system takes only plain ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::decompress;
use super::error::{VmError, at};

/// A module ready to be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Name with underscores, as the kernel knows it.
    pub name: String,
    /// The plain ELF object.
    pub object: Vec<u8>,
}

/// Reads the `wanted` modules and what they depend on from the unpacked kernel package's module directory `tree`
/// (`lib/modules/VERSION`). A wanted module that is built into the kernel is left out.
///
/// # Errors
/// When a module is neither there nor built in, or cannot be unpacked.
pub fn load_order(tree: &Path, wanted: &[&str]) -> Result<Vec<Module>, VmError> {
    let built_in_list = tree.join("modules.builtin");
    let built_in: BTreeSet<String> = fs::read_to_string(&built_in_list)
        .map_err(at("read", &built_in_list))?
        .lines()
        .filter_map(name_of)
        .collect();
    let mut files = BTreeMap::new();
    index(tree, &mut files)?;
    let mut order = Vec::new();
    for name in wanted {
        visit(
            tree,
            &files,
            &built_in,
            &canonical(name),
            "the machine",
            &mut order,
        )?;
    }
    Ok(order)
}

fn visit(
    tree: &Path,
    files: &BTreeMap<String, PathBuf>,
    built_in: &BTreeSet<String>,
    name: &str,
    wanted_by: &str,
    order: &mut Vec<Module>,
) -> Result<(), VmError> {
    if built_in.contains(name) || order.iter().any(|module| module.name == name) {
        return Ok(());
    }
    let file = files.get(name).ok_or_else(|| VmError::ModuleMissing {
        name: name.to_owned(),
        wanted_by: wanted_by.to_owned(),
        tree: tree.to_owned(),
    })?;
    let object = read(file)?;
    for dependency in depends(&object) {
        visit(tree, files, built_in, &dependency, name, order)?;
    }
    order.push(Module {
        name: name.to_owned(),
        object,
    });
    Ok(())
}

fn index(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), VmError> {
    for entry in fs::read_dir(directory).map_err(at("list", directory))? {
        let entry = entry.map_err(at("list", directory))?;
        let path = entry.path();
        if entry.file_type().map_err(at("inspect", &path))?.is_dir() {
            index(&path, files)?;
        } else if let Some(name) = path.to_str().and_then(name_of) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `kernel/net/bridge/br-x.ko.xz` is the module `br_x`; a file that is no module has no name.
fn name_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let (name, suffix) = file.split_once(".ko")?;
    matches!(suffix, "" | ".xz" | ".zst" | ".gz").then(|| canonical(name))
}

fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn read(file: &Path) -> Result<Vec<u8>, VmError> {
    let decompressor = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(file).map_err(at("read", file)),
    };
    decompress::with(decompressor, file)
}

/// The modules named by the object's `depends=` entry, empty when it has none.
fn depends(object: &[u8]) -> Vec<String> {
    // Entries are separated by zero bytes; the section's first entry follows alignment zeroes, so a zero always precedes.
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = object.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = object
        .get(start + KEY.len()..)
        .unwrap_or_default()
        .split(|&byte| byte == 0)
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(value)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(canonical)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        let kernel = tree.path().join("kernel/net");
        fs::create_dir_all(&kernel).unwrap();
        fs::write(
            tree.path().join("modules.builtin"),
            "kernel/fs/ext4/ext4.ko\nkernel/lib/built-in.ko\n",
        )
        .unwrap();
        fs::write(
            kernel.join("top-one.ko"),
            b"ELF\0license=GPL\0depends=mid,left,built-in\0name=top_one\0",
        )
        .unwrap();
        fs::write(kernel.join("mid.ko"), b"ELF\0depends=left\0").unwrap();
        fs::write(kernel.join("left.ko"), b"ELF\0depends=\0").unwrap();
        fs::write(kernel.join("broken.ko"), b"ELF\0depends=absent\0").unwrap();
        tree
    }

    #[test]
    fn dependencies_come_first_once_and_without_the_built_in_ones() {
        let tree = tree();
        let order = load_order(tree.path(), &["top_one", "ext4", "left"]).unwrap();
        let names: Vec<_> = order.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["left", "mid", "top_one"]);
    }

    #[test]
    fn a_missing_dependency_is_named_with_who_wants_it() {
        let tree = tree();
        let error = load_order(tree.path(), &["broken"])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("absent") && error.contains("broken"),
            "{error}"
        );
    }
}
