//! When a family must be built again: a hash of everything that decides its programs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::family::Family;
use crate::{cache::Cache, hex};

/// Hash of a family's sources and flags, and the file that remembers what was built last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    file: PathBuf,
    hash: String,
}

impl Stamp {
    /// The stamp that `family` should have, given its module folder `source`.
    pub(super) fn wanted(family: &Family, source: &Path, cache: &Cache) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut files: Vec<PathBuf> = fs::read_dir(source)?
            .map(|entry| entry.map(|found| found.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        for file in files.iter().filter(|file| file.is_file()) {
            let content = fs::read(file)?;
            hasher.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hasher.update([0]);
            hasher.update(Sha256::digest(&content));
        }
        hasher.update(format!("cgo={}\n", family.cgo));
        for argument in family.build_arguments("bin") {
            hasher.update(argument);
            hasher.update([0]);
        }
        Ok(Self {
            file: cache.bin().join(format!(".{}.stamp", family.name)),
            hash: hex(&hasher.finalize()),
        })
    }

    /// Whether the programs in the cache are the wanted ones.
    pub(super) fn is_current(&self, family: &Family, cache: &Cache) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|found| found.trim() == self.hash)
            && family
                .files()
                .all(|program| cache.bin().join(program).is_file())
    }

    /// Remembers that the programs in the cache are the wanted ones.
    pub(super) fn write(&self) -> io::Result<()> {
        fs::write(&self.file, format!("{}\n", self.hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolchain::family::by_name;

    fn source(go_sum: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("go.mod"), "module m\n").unwrap();
        fs::write(folder.path().join("go.sum"), go_sum).unwrap();
        folder
    }

    #[test]
    fn stamp_follows_checksums_and_outputs() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        cache.create(cache.bin()).unwrap();
        let etcd = by_name("etcd").unwrap();
        let first = source("a");
        let stamp = Stamp::wanted(etcd, first.path(), &cache).unwrap();
        assert!(!stamp.is_current(etcd, &cache));
        stamp.write().unwrap();
        assert!(!stamp.is_current(etcd, &cache), "the program is missing");
        fs::write(cache.program("etcd"), "").unwrap();
        assert!(stamp.is_current(etcd, &cache));
        let second = source("b");
        let changed = Stamp::wanted(etcd, second.path(), &cache).unwrap();
        assert!(!changed.is_current(etcd, &cache));
    }
}
