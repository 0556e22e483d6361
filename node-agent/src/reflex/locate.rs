//! Keeps track of where the node's cgroups are, and looks again when they move.

use std::{collections::BTreeSet, path::PathBuf};

use crate::{
    cgroup::{DetectError, DiscoverError, Hierarchy, Kubepods, PodUid, discover},
    notices::Notices,
};

const NOTICE: &str = "cgroups";

/// Both parts, once found.
#[derive(Debug, Clone)]
pub struct Located {
    /// Mounts and version.
    pub hierarchy: Hierarchy,
    /// kubelet's tree.
    pub kubepods: Kubepods,
}

/// Finds and remembers.
#[derive(Debug)]
pub struct Locate {
    root: PathBuf,
    forced: Option<PathBuf>,
    notices: Notices,
    found: Option<Located>,
}

#[derive(Debug, thiserror::Error)]
enum LocateError {
    #[error(transparent)]
    Detect(#[from] DetectError),
    #[error(transparent)]
    Discover(#[from] DiscoverError),
}

impl Locate {
    /// Looks under `root`; `forced` is the tree an administrator named.
    pub fn new(root: PathBuf, forced: Option<PathBuf>, notices: Notices) -> Self {
        Self {
            root,
            forced,
            notices,
            found: None,
        }
    }

    /// Where they are; looks when it does not know. `None` sets a notice, logged once.
    pub fn get(&mut self, known: &BTreeSet<PodUid>) -> Option<Located> {
        if self.found.is_none() {
            match self.look(known) {
                Ok(located) => {
                    self.notices.clear(NOTICE);
                    tracing::info!(
                        version = %located.hierarchy.version(),
                        driver = ?located.kubepods.driver(),
                        kubepods = %located.kubepods.relative().display(),
                        "found kubelet's cgroups"
                    );
                    self.found = Some(located);
                }
                Err(error) => self.notices.set(NOTICE, error.to_string()),
            }
        }
        self.found.clone()
    }

    /// The tree is gone: look again at the next call.
    pub fn lost(&mut self) {
        if let Some(located) = self.found.take() {
            tracing::warn!(kubepods = %located.kubepods.relative().display(), "kubelet's cgroups are gone; looking again");
        }
    }

    /// A tree is known, but none of the pods that should be in it are: it may be another kubelet's.
    pub fn doubt(&mut self, known: &BTreeSet<PodUid>) {
        let Some(current) = &self.found else { return };
        let holds_ours = current
            .kubepods
            .pods(&current.hierarchy)
            .is_ok_and(|pods| pods.iter().any(|pod| known.contains(&pod.uid)));
        if holds_ours || known.is_empty() {
            return;
        }
        if let Ok(other) = self.look(known)
            && other.kubepods != current.kubepods
        {
            self.found = None;
        }
    }

    fn look(&self, known: &BTreeSet<PodUid>) -> Result<Located, LocateError> {
        let hierarchy = Hierarchy::detect(&self.root)?;
        let kubepods = discover(&hierarchy, known, self.forced.as_deref())?;
        Ok(Located {
            hierarchy,
            kubepods,
        })
    }
}
