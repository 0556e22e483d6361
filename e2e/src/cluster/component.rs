//! One long-running program of a cluster: what it is, and what state it is in.

use std::{ffi::OsString, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Where a component takes requests, inside the namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A port on 127.0.0.1.
    Port(u16),
    /// A unix socket.
    Socket(PathBuf),
}

/// How to run a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentSpec {
    /// Name, by which faults and logs refer to it.
    pub name: String,
    /// Program.
    pub program: PathBuf,
    /// Arguments.
    pub arguments: Vec<OsString>,
    /// Where it takes requests, if that tells when it is at work.
    pub endpoint: Option<Endpoint>,
}

impl ComponentSpec {
    /// A component with these arguments.
    pub fn new<A>(
        name: &str,
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self
    where
        A: Into<OsString>,
    {
        Self {
            name: name.to_owned(),
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            endpoint: None,
        }
    }

    /// The same component, which takes requests there once it is at work.
    #[must_use]
    pub fn listening_on(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }
}

/// State of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum ComponentState {
    /// At work.
    Running {
        /// Process, as seen inside the namespaces.
        pid: i32,
    },
    /// Frozen by a request.
    Paused {
        /// Process, as seen inside the namespaces.
        pid: i32,
    },
    /// Ended by a request.
    Stopped,
    /// Ended by itself.
    Died {
        /// How it ended.
        status: String,
    },
}

impl ComponentState {
    /// The process, where there is one.
    pub fn pid(&self) -> Option<i32> {
        match self {
            Self::Running { pid } | Self::Paused { pid } => Some(*pid),
            Self::Stopped | Self::Died { .. } => None,
        }
    }
}

impl fmt::Display for ComponentState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running { pid } => write!(formatter, "running (pid {pid})"),
            Self::Paused { pid } => write!(formatter, "paused (pid {pid})"),
            Self::Stopped => formatter.write_str("stopped on request"),
            Self::Died { status } => write!(formatter, "DIED ({status})"),
        }
    }
}

/// A component as the status shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Its name.
    pub name: String,
    /// Its state.
    #[serde(flatten)]
    pub state: ComponentState,
    /// How often it was started.
    pub starts: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_read_well_and_survive_json() {
        let status = ComponentStatus {
            name: "etcd".to_owned(),
            state: ComponentState::Died {
                status: "signal: 9 (SIGKILL)".to_owned(),
            },
            starts: 1,
        };
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(
            serde_json::from_str::<ComponentStatus>(&text).unwrap(),
            status
        );
        assert_eq!(status.state.to_string(), "DIED (signal: 9 (SIGKILL))");
    }
}
