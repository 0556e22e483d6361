//! The one layer of an image: a tar of its files with their parent directories.

use std::{collections::BTreeSet, fs, io, path::PathBuf};

use super::ImageError;

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Path inside the image, without a leading slash.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: Content,
}

/// What a file of an image is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A copy of this file.
    Copy(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// A symbolic link to this target.
    Symlink(String),
    /// An empty directory.
    Directory,
}

impl ImageFile {
    /// A copy of the file `from`.
    pub fn copy(path: &str, mode: u32, from: impl Into<PathBuf>) -> Self {
        Self::new(path, mode, Content::Copy(from.into()))
    }

    /// A file with these bytes.
    pub fn bytes(path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(path, mode, Content::Bytes(bytes.into()))
    }

    /// A symbolic link.
    pub fn symlink(path: &str, target: &str) -> Self {
        Self::new(path, 0o777, Content::Symlink(target.to_owned()))
    }

    /// An empty directory.
    pub fn directory(path: &str, mode: u32) -> Self {
        Self::new(path, mode, Content::Directory)
    }

    fn new(path: &str, mode: u32, content: Content) -> Self {
        Self {
            path: path.trim_matches('/').to_owned(),
            mode,
            content,
        }
    }
}

/// The uncompressed layer.
pub(super) fn tar(files: &[ImageFile]) -> Result<Vec<u8>, ImageError> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut directories = BTreeSet::new();
    for entry in files {
        let failed = |source| ImageError::File {
            path: match &entry.content {
                Content::Copy(from) => from.clone(),
                _ => PathBuf::from(&entry.path),
            },
            source,
        };
        if matches!(entry.content, Content::Directory) {
            directories.insert(entry.path.clone());
        }
        add_parents(&mut archive, &mut directories, &entry.path).map_err(failed)?;
        match &entry.content {
            Content::Copy(from) => fs::read(from)
                .and_then(|bytes| append_bytes(&mut archive, &entry.path, entry.mode, &bytes)),
            Content::Bytes(bytes) => append_bytes(&mut archive, &entry.path, entry.mode, bytes),
            Content::Symlink(target) => {
                let mut header = header(tar::EntryType::Symlink, entry.mode, 0);
                archive.append_link(&mut header, &entry.path, target)
            }
            Content::Directory => append_directory(&mut archive, &entry.path, entry.mode),
        }
        .map_err(failed)?;
    }
    archive.into_inner().map_err(|source| ImageError::File {
        path: PathBuf::from("layer"),
        source,
    })
}

/// Adds one regular file owned by root, with time zero.
pub(super) fn append_bytes<W: io::Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = header(tar::EntryType::Regular, mode, bytes.len() as u64);
    archive.append_data(&mut header, path, bytes)
}

fn add_parents<W: io::Write>(
    archive: &mut tar::Builder<W>,
    known: &mut BTreeSet<String>,
    path: &str,
) -> io::Result<()> {
    for (at, _) in path.match_indices('/') {
        let Some(parent) = path.get(..at) else {
            continue;
        };
        if known.insert(parent.to_owned()) {
            append_directory(archive, parent, 0o755)?;
        }
    }
    Ok(())
}

fn append_directory<W: io::Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
) -> io::Result<()> {
    let mut header = header(tar::EntryType::Directory, mode, 0);
    archive.append_data(&mut header, format!("{path}/"), io::empty())
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_once_and_before_their_children() {
        let tree = tar(&[
            ImageFile::bytes("/a/b/one", 0o644, "1"),
            ImageFile::bytes("a/b/two", 0o644, "2"),
            ImageFile::directory("tmp", 0o1777),
        ])
        .unwrap();
        let mut archive = tar::Archive::new(tree.as_slice());
        let names: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["a/", "a/b/", "a/b/one", "a/b/two", "tmp/"]);
    }

    #[test]
    fn missing_file_is_named() {
        let error = tar(&[ImageFile::copy("x", 0o755, "/nonexistent/y")]).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/y"), "{error}");
    }
}
