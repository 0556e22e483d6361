//! Running one program to its end, with its own words in the error when it fails.

use std::{
    io,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be started at all.
    #[error("cannot start `{command}`: {source}")]
    Start {
        /// Command line.
        command: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// It ran and failed.
    #[error("`{command}` failed ({status}): {output}")]
    Failed {
        /// Command line.
        command: String,
        /// Exit status.
        status: ExitStatus,
        /// The end of what it wrote.
        output: String,
    },
}

/// Runs `command` with no input and returns what it wrote to standard output.
pub fn run(command: &mut Command) -> Result<String, ProgramError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ProgramError::Start {
            command: line(command),
            source,
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut written = output.stderr;
    written.extend_from_slice(&output.stdout);
    Err(ProgramError::Failed {
        command: line(command),
        status: output.status,
        output: last_lines(&String::from_utf8_lossy(&written), 12),
    })
}

/// The command as a person would type it.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last `count` lines of `text`.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let from = lines.len().saturating_sub(count);
    lines
        .get(from..)
        .map(|tail| tail.join("\n"))
        .unwrap_or_default()
}

/// The last `count` lines of the file, or why it cannot be read.
pub fn tail(file: &Path, count: usize) -> String {
    match std::fs::read(file) {
        Ok(bytes) => last_lines(&String::from_utf8_lossy(&bytes), count),
        Err(error) => format!("({}: {error})", file.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_comes_back() {
        assert_eq!(run(Command::new("echo").arg("a")).unwrap(), "a\n");
    }

    #[test]
    fn failure_names_command_and_its_words() {
        let error = run(Command::new("sh").args(["-c", "echo bad >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit 3") && text.contains("bad"), "{text}");
    }

    #[test]
    fn missing_program_is_named() {
        let text = run(&mut Command::new("/nonexistent/x"))
            .unwrap_err()
            .to_string();
        assert!(text.contains("/nonexistent/x"), "{text}");
    }

    #[test]
    fn tail_of_short_text_is_all_of_it() {
        assert_eq!(last_lines("a\nb\n", 5), "a\nb");
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
    }
}
