//! Decides whether something built from files must be built again.
//!
//! A stamp lists the inputs (path, size, time of change; literal settings) beside the output. Contents are not hashed: the inputs
//! are hundreds of megabytes, and a start must not read them all.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::error::{VmError, at};

/// The inputs of one output.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<String>);

impl Stamp {
    /// A stamp without inputs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a setting or an embedded text by value.
    #[must_use]
    pub fn literal(mut self, text: &str) -> Self {
        self.0.push(format!("literal {text:?}\n"));
        self
    }

    /// Adds a file by path, size and time of change.
    ///
    /// # Errors
    /// When the file cannot be inspected.
    pub fn file(mut self, path: &Path) -> Result<Self, VmError> {
        let metadata = fs::metadata(path).map_err(at("inspect", path))?;
        let changed = metadata.modified().map_err(at("inspect", path))?;
        let changed = changed
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| age.as_nanos());
        self.0.push(format!(
            "file {} {} {changed}
",
            path.display(),
            metadata.len()
        ));
        Ok(self)
    }

    /// Whether `output` exists and was built from exactly these inputs.
    pub fn is_current(&self, output: &Path) -> bool {
        output.exists()
            && fs::read_to_string(beside(output)).is_ok_and(|recorded| recorded == self.0.concat())
    }

    /// Records that `output` was built from these inputs. Call it after the output is complete.
    ///
    /// # Errors
    /// When the stamp cannot be written.
    pub fn record(&self, output: &Path) -> Result<(), VmError> {
        let stamp = beside(output);
        fs::write(&stamp, self.0.concat()).map_err(at("write", &stamp))
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
    fn an_output_is_current_until_an_input_changes_or_it_vanishes() {
        let directory = tempfile::tempdir().unwrap();
        let (input, output) = (directory.path().join("in"), directory.path().join("out"));
        fs::write(&input, "one").unwrap();
        let stamp = |setting: &str| Stamp::new().literal(setting).file(&input).unwrap();
        assert!(!stamp("a").is_current(&output));
        fs::write(&output, "built").unwrap();
        assert!(
            !stamp("a").is_current(&output),
            "an output without a stamp may be half written"
        );
        stamp("a").record(&output).unwrap();
        assert!(stamp("a").is_current(&output));
        assert!(!stamp("b").is_current(&output));
        fs::write(&input, "three").unwrap();
        assert!(!stamp("a").is_current(&output));
    }
}
