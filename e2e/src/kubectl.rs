//! `kubectl`, as a person would call it, with its answers as JSON.
//!
//! The tests go through the same program as the users, so what they show is what users get.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cache::Cache;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum KubectlError {
    /// The program could not be started.
    #[error("kubectl at {program}: {source}")]
    Start {
        /// Its path.
        program: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// It ended with an error.
    #[error("kubectl {arguments}: {stderr}")]
    Failed {
        /// What it was called with.
        arguments: String,
        /// What it said.
        stderr: String,
    },
    /// Its answer is not JSON.
    #[error("kubectl {arguments}: answer is not JSON: {source}")]
    Json {
        /// What it was called with.
        arguments: String,
        /// Where the text goes wrong.
        source: serde_json::Error,
    },
}

/// A `kubectl` bound to one kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// The kubectl of the toolchain cache, else the one in `PATH`, on `kubeconfig`.
    pub fn new(cache: &Cache, kubeconfig: impl Into<PathBuf>) -> Self {
        let built = cache.bin().join("kubectl");
        let program = if built.exists() {
            built
        } else {
            PathBuf::from("kubectl")
        };
        Self {
            program,
            kubeconfig: kubeconfig.into(),
        }
    }

    /// The kubeconfig in use.
    pub fn kubeconfig(&self) -> &std::path::Path {
        &self.kubeconfig
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--request-timeout=20s")
            .args(arguments);
        command
    }

    /// Runs to the end; standard output as text.
    pub fn run(&self, arguments: &[&str]) -> Result<String, KubectlError> {
        self.feed(arguments, None)
    }

    /// Runs with `input` on standard input.
    pub fn feed(&self, arguments: &[&str], input: Option<&str>) -> Result<String, KubectlError> {
        let start = |source| KubectlError::Start {
            program: self.program.clone(),
            source,
        };
        let mut command = self.command(arguments);
        command.stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
            // A broken pipe shows in the exit status.
            stdin.write_all(text.as_bytes()).ok();
        }
        let output = child.wait_with_output().map_err(start)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(KubectlError::Failed {
            arguments: arguments.join(" "),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Runs with `-o json`.
    pub fn json(&self, arguments: &[&str]) -> Result<Value, KubectlError> {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let text = self.run(&all)?;
        serde_json::from_str(&text).map_err(|source| KubectlError::Json {
            arguments: arguments.join(" "),
            source,
        })
    }

    /// Reads a path of the API server (also pods, through its proxy) as JSON.
    pub fn raw(&self, path: &str) -> Result<Value, KubectlError> {
        let text = self.run(&["get", "--raw", path])?;
        serde_json::from_str(&text).map_err(|source| KubectlError::Json {
            arguments: format!("get --raw {path}"),
            source,
        })
    }

    /// Posts nothing to a path of the API server (a pod, through its proxy).
    pub fn raw_post(&self, path: &str) -> Result<String, KubectlError> {
        self.feed(&["create", "--raw", path, "-f", "-"], Some("{}"))
    }

    /// Applies a manifest given as text.
    pub fn apply(&self, manifest: &str) -> Result<String, KubectlError> {
        self.feed(&["apply", "-f", "-"], Some(manifest))
    }
}

/// Asks `condition` again until it gives a value or `limit` has passed; the error is its last complaint.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let began = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(complaint) if began.elapsed() >= limit => {
                return Err(format!(
                    "{what}: not within {:.0} s: {complaint}",
                    limit.as_secs_f64()
                ));
            }
            // A poll interval, not a guess at how long things take.
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_returns_the_last_complaint() {
        let error =
            wait_for::<()>("the moon", Duration::ZERO, || Err("too far".to_owned())).unwrap_err();
        assert_eq!(error, "the moon: not within 0 s: too far");
    }
}
