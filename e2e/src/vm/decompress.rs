//! Unpacking with the system's programs, which are quick even when this program is built without optimisation.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::{VmError, at};
use crate::program::{self, ProgramError};

/// Feeds the file to `program -dc` (gzip, xz, zstd, lz4) and returns what it unpacks to.
///
/// # Errors
/// When the file cannot be opened, or the program is absent or refuses the file.
pub(super) fn with(program: &str, file: &Path) -> Result<Vec<u8>, VmError> {
    let mut command = Command::new(program);
    command
        .arg("-dc")
        .stdin(Stdio::from(File::open(file).map_err(at("open", file))?));
    let output = match command.output() {
        Ok(output) => output,
        Err(source) => {
            return Err(ProgramError::Start {
                command: program::line(&command),
                source,
            }
            .into());
        }
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let failed = ProgramError::Failed {
        command: format!("{} < {}", program::line(&command), file.display()),
        status: output.status,
        output: program::last_lines(&String::from_utf8_lossy(&output.stderr), 3),
    };
    Err(failed.into())
}
