//! Reading and writing the small files of `/proc` and `/sys`, with errors that name file, operation and value.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// A failed access. `is_gone` tells the normal race with a container's exit from a real failure.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// File.
        path: PathBuf,
        /// Kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write {value:?} to {path}")]
    Write {
        /// File.
        path: PathBuf,
        /// Value that was refused.
        value: String,
        /// Kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel gave text that means nothing to us.
    #[error("{path} holds {text:?}, which is not a value we know")]
    Parse {
        /// File.
        path: PathBuf,
        /// Start of its text.
        text: String,
    },
}

impl FileError {
    /// The group or the file is not there (any more): normal for a container that ended, or for a kernel without the file.
    pub fn is_gone(&self) -> bool {
        let (Self::Read { source, .. } | Self::Write { source, .. }) = self else {
            return false;
        };
        is_gone(source)
    }

    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Parse { .. } => "unknown_value",
            Self::Read { source, .. } | Self::Write { source, .. } => match source.kind() {
                _ if is_gone(source) => "gone",
                io::ErrorKind::PermissionDenied => "permission",
                io::ErrorKind::ReadOnlyFilesystem => "read_only",
                io::ErrorKind::ResourceBusy => "busy",
                io::ErrorKind::InvalidInput => "invalid",
                _ if matches!(self, Self::Read { .. }) => "read",
                _ => "write",
            },
        }
    }
}

/// ENOENT: no such file. ENODEV: the group was removed while its file was open.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.kind() == io::ErrorKind::NotADirectory
        || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

/// Reads a whole file as text. Bytes that are not UTF-8 are replaced, since parsers take any text.
pub fn read(path: &Path) -> Result<String, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())),
        Err(source) => Err(FileError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Reads and parses a file; a text the parser refuses is an error that shows its beginning.
pub fn read_as<T>(path: &Path, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, FileError> {
    let text = read(path)?;
    parse(&text).ok_or_else(|| FileError::Parse {
        path: path.to_owned(),
        text: text.chars().take(80).collect(),
    })
}

/// Writes `value` in one `write` call, as kernel files demand. Never creates the file: a missing one is a vanished group.
pub fn write(path: &Path, value: &str) -> Result<(), FileError> {
    super::fault::before_write();
    fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| FileError::Write {
            path: path.to_owned(),
            value: value.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_gone_and_is_not_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cpu.max");
        assert!(read(&path).unwrap_err().is_gone());
        assert!(write(&path, "max").unwrap_err().is_gone());
        assert!(!path.exists());
    }

    #[test]
    fn messages_name_file_and_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cpu.idle");
        fs::write(&path, "perhaps\n").unwrap();
        let error = read_as(&path, crate::kernel::number::parse).unwrap_err();
        assert!(
            error.to_string().contains("cpu.idle") && error.to_string().contains("perhaps"),
            "{error}"
        );
        assert_eq!(error.reason(), "unknown_value");
        assert!(!error.is_gone());
    }
}
