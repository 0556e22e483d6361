//! Where built programs, images and disks are kept between runs, outside the source tree.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// Environment variable that moves the cache.
pub const CACHE_VARIABLE: &str = "KATALYST_CACHE";

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Neither variable that could name the directory is set.
    #[error("no cache directory: set {CACHE_VARIABLE} or HOME")]
    NoHome,
    /// The directory cannot be made.
    #[error("cache directory {path}: {source}")]
    Create {
        /// The directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

/// The cache directory and its fixed layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache that the environment names: `$KATALYST_CACHE`, else `$HOME/.cache/katalyst-e2e`.
    pub fn from_env() -> Result<Self, CacheError> {
        let named = env::var_os(CACHE_VARIABLE).filter(|value| !value.is_empty());
        let home = env::var_os("HOME").filter(|value| !value.is_empty());
        match (named, home) {
            (Some(root), _) => Ok(Self::at(root)),
            (None, Some(home)) => Ok(Self::at(Path::new(&home).join(".cache/katalyst-e2e"))),
            (None, None) => Err(CacheError::NoHome),
        }
    }

    /// A cache at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Built Go programs.
    pub fn bin(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// One built Go program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin().join(name)
    }

    /// Container images as OCI archives.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Kernel, initial file system and disk of the virtual machines.
    pub fn vm(&self) -> PathBuf {
        self.root.join("vm")
    }

    /// What a kind cluster without downloads needs.
    pub fn kind(&self) -> PathBuf {
        self.root.join("kind")
    }

    /// Output of builds, one file each, to read when one fails.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Makes `directory` (one of the above) and returns it.
    pub fn create(&self, directory: PathBuf) -> Result<PathBuf, CacheError> {
        match fs::create_dir_all(&directory) {
            Ok(()) => Ok(directory),
            Err(source) => Err(CacheError::Create {
                path: directory,
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_below_the_root() {
        let cache = Cache::at("/c");
        assert_eq!(cache.program("kubelet"), Path::new("/c/bin/kubelet"));
        assert_eq!(cache.images(), Path::new("/c/images"));
        assert_eq!(cache.vm(), Path::new("/c/vm"));
        assert_eq!(cache.kind(), Path::new("/c/kind"));
    }
}
