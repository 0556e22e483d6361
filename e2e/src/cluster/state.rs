//! What a running cluster writes down about itself. One writer a file.

use std::{fs, path::Path, time::Instant};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::error::{ClusterError, at};

/// Written by the supervisor outside the namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorState {
    /// Its process.
    pub pid: i32,
    /// First process of the namespaces, as seen from outside.
    pub namespace_pid: i32,
}

/// How far a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// On the way up.
    Starting,
    /// Up.
    Ready,
    /// Did not come up.
    Failed,
}

/// Something that the start reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What was reached.
    pub label: String,
    /// Seconds since the start.
    pub seconds: f64,
}

/// Written by the supervisor inside the namespaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// How far it is.
    pub phase: Phase,
    /// What was reached so far, in order.
    pub steps: Vec<Step>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Writes [`Progress`] as it happens.
#[derive(Debug)]
pub(super) struct ProgressWriter {
    path: std::path::PathBuf,
    started: Instant,
    progress: std::sync::Mutex<Progress>,
}

impl ProgressWriter {
    pub(super) fn new(path: &Path) -> Result<Self, ClusterError> {
        let writer = Self {
            path: path.to_owned(),
            started: Instant::now(),
            progress: std::sync::Mutex::new(Progress {
                phase: Phase::Starting,
                steps: Vec::new(),
                error: None,
            }),
        };
        writer.change(|_| ())?;
        Ok(writer)
    }

    /// Notes that something was reached.
    pub(super) fn step(&self, label: impl Into<String>) -> Result<(), ClusterError> {
        let step = Step {
            label: label.into(),
            seconds: self.started.elapsed().as_secs_f64(),
        };
        println!("{:6.1} s  {}", step.seconds, step.label);
        self.change(|progress| progress.steps.push(step))
    }

    /// Notes the end of the start.
    pub(super) fn finish(&self, error: Option<String>) -> Result<(), ClusterError> {
        self.change(|progress| {
            progress.phase = match error {
                None => Phase::Ready,
                Some(_) => Phase::Failed,
            };
            progress.error = error;
        })
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) -> Result<(), ClusterError> {
        let mut progress = self
            .progress
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        change(&mut progress);
        write(&self.path, &*progress)
    }
}

/// Writes `value` so that a reader sees the old file or the new one, never a part.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), ClusterError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| ClusterError::Format {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    let partial = path.with_extension("partial");
    fs::write(&partial, text + "\n").map_err(at(&partial))?;
    fs::rename(&partial, path).map_err(at(path))
}

/// Reads what [`write`] wrote.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, ClusterError> {
    let text = fs::read_to_string(path).map_err(at(path))?;
    serde_json::from_str(&text).map_err(|error| ClusterError::Format {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_readable_at_every_moment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress.json");
        let writer = ProgressWriter::new(&path).unwrap();
        assert_eq!(read::<Progress>(&path).unwrap().phase, Phase::Starting);
        writer.step("a").unwrap();
        assert_eq!(read::<Progress>(&path).unwrap().steps[0].label, "a");
        writer.finish(Some("why".to_owned())).unwrap();
        let progress: Progress = read(&path).unwrap();
        assert_eq!(progress.phase, Phase::Failed);
        assert_eq!(progress.error.as_deref(), Some("why"));
    }

    #[test]
    fn garbage_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("supervisor.json");
        fs::write(&path, "{").unwrap();
        let error = read::<SupervisorState>(&path).unwrap_err();
        assert!(error.to_string().contains("supervisor.json"));
    }
}
