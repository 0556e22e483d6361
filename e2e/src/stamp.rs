//! Tells whether something that was built from files and settings is still what would be built.
//!
//! A stamp lists the inputs beside the output. Contents of files are not hashed: they are hundreds of megabytes, and a start must not
//! read them all.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use sha2::{Digest as _, Sha256};

/// An input cannot be looked at, or a stamp not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct StampError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The inputs of one output: texts by value, files by size and time of change (they are hundreds of megabytes).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp(String);

impl Stamp {
    /// No inputs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a setting or a template.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.0
            .extend(["text ", &text.escape_debug().to_string(), "\n"]);
        self
    }

    /// Adds a file.
    pub fn file(mut self, path: &Path) -> Result<Self, StampError> {
        let (length, time) = fs::metadata(path)
            .and_then(|found| Ok((found.len(), found.modified()?)))
            .map_err(|source| StampError {
                action: "look at",
                path: path.to_owned(),
                source,
            })?;
        let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = format!("file {} {length} {}\n", path.display(), time.as_nanos());
        self.0.push_str(&line);
        Ok(self)
    }

    /// Whether `output` exists and was recorded with exactly these inputs.
    pub fn is_current(&self, output: &Path) -> bool {
        output.exists() && fs::read_to_string(beside(output)).is_ok_and(|found| found == self.0)
    }

    /// Records that the complete `output` was made from these inputs.
    pub fn record(&self, output: &Path) -> Result<(), StampError> {
        let path = beside(output);
        fs::write(&path, &self.0).map_err(|source| StampError {
            action: "write",
            path,
            source,
        })
    }

    /// A short name for these inputs, such as a tag.
    pub fn digest(&self) -> String {
        let digest = Sha256::digest(self.0.as_bytes());
        crate::hex(digest.get(..6).unwrap_or_default())
    }
}

fn beside(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".stamp");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_current_until_an_input_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("in"), folder.path().join("out"));
        fs::write(&input, "1").unwrap();
        let stamp = || Stamp::new().text("a").file(&input).unwrap();
        fs::write(&output, "built").unwrap();
        assert!(
            !stamp().is_current(&output),
            "without a record it may be half written"
        );
        stamp().record(&output).unwrap();
        assert!(stamp().is_current(&output));
        fs::write(&input, "22").unwrap();
        assert!(!stamp().is_current(&output));
    }

    #[test]
    fn digest_follows_inputs() {
        assert_eq!(
            Stamp::new().text("a").digest(),
            Stamp::new().text("a").digest()
        );
        assert_ne!(
            Stamp::new().text("a").digest(),
            Stamp::new().text("b").digest()
        );
        assert_eq!(Stamp::new().digest().len(), 12);
    }
}
