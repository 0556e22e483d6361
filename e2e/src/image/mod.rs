//! Container images for the test clusters, made without a container engine.

mod archive;
pub mod catalogue;
mod layer;

use std::{io, path::PathBuf};

pub use archive::{Archive, write};
pub use layer::{Content, ImageFile};

use crate::{cache::CacheError, program::ProgramError, toolchain::packages::PackageError};

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// Full name with tag.
    pub name: String,
    /// Files, in the order in which they go into the layer.
    pub files: Vec<ImageFile>,
    /// Program and fixed arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that a pod may replace.
    pub command: Vec<String>,
    /// `NAME=value` pairs.
    pub environment: Vec<String>,
    /// User, empty for root.
    pub user: String,
}

impl ImageSpec {
    /// An image without files that runs nothing yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            files: Vec::new(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            environment: vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
            user: String::new(),
        }
    }

    /// Adds a file.
    #[must_use]
    pub fn with(mut self, file: ImageFile) -> Self {
        self.files.push(file);
        self
    }
}

/// Why an image was not written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file could not be read or written.
    #[error("image file {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The cache is unusable.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The compiler of the pause program failed.
    #[error("building the pause program: {0}")]
    Pause(#[from] ProgramError),
    /// A Debian package is missing.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A program that an image must hold depends on shared libraries.
    #[error(
        "{path} is dynamically linked: an image holds only this one file, so build it with RUSTFLAGS='-C target-feature=+crt-static' and --target x86_64-unknown-linux-gnu"
    )]
    Dynamic {
        /// The program.
        path: PathBuf,
    },
}
