//! What a started cluster leaves in its run folder for the commands that come later.

use std::fs;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{
    process,
    settings::{Settings, Shape},
};

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process number.
    pub id: u32,
    /// When it began, in clock ticks since the machine's start.
    pub birth: u64,
}

impl Identity {
    /// A living process.
    pub fn of(id: u32) -> Option<Self> {
        Some(Self {
            id,
            birth: process::birth(id)?,
        })
    }

    /// Whether it still runs.
    pub fn lives(&self) -> bool {
        process::birth(self.id) == Some(self.birth)
    }

    /// Kills it and waits until it is gone.
    pub fn end(&self) -> anyhow::Result<()> {
        process::end(self.id, self.birth)
    }
}

/// Whose container engine runs the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// One that the environment's `docker` reaches.
    Reachable,
    /// One that a supervisor started in private namespaces.
    Private(Identity),
}

/// A cluster that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Its engine.
    pub engine: Engine,
    /// Its size and port.
    pub shape: Shape,
    /// The image of its nodes; empty until it is known.
    pub node_image: String,
    /// Whether `up` ended well.
    pub ready: bool,
}

impl State {
    /// Reads the state; `None` when there is none, or one that another version left.
    pub fn read(settings: &Settings) -> Option<Self> {
        serde_json::from_slice(&fs::read(settings.state()).ok()?).ok()
    }

    /// Writes the state as a whole.
    pub fn write(&self, settings: &Settings) -> anyhow::Result<()> {
        let path = settings.state();
        let partial = path.with_extension("part");
        let text = serde_json::to_vec(self).context("describe the cluster")?;
        fs::write(&partial, text)
            .and_then(|()| fs::rename(&partial, &path))
            .with_context(|| format!("write {}", path.display()))
    }

    /// Whether a started cluster should still be there.
    pub fn lives(&self) -> bool {
        match &self.engine {
            Engine::Reachable => true,
            Engine::Private(supervisor) => supervisor.lives(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn state_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            run: folder.path().to_owned(),
            manifests: PathBuf::new(),
        };
        assert_eq!(State::read(&settings), None);
        let state = State {
            engine: Engine::Private(Identity { id: 1, birth: 2 }),
            shape: Shape {
                workers: 3,
                port: 4,
            },
            node_image: "i".to_owned(),
            ready: true,
        };
        state.write(&settings).unwrap();
        assert_eq!(State::read(&settings), Some(state));
    }

    #[test]
    fn this_process_lives() {
        let own = Identity::of(std::process::id()).unwrap();
        assert!(own.lives());
        assert!(
            !Identity {
                birth: own.birth + 1,
                ..own
            }
            .lives()
        );
    }
}
