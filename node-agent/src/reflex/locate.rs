//! Keeps track of where the node's cgroups are, and looks again when they move.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    cgroup::{
        Controller, DetectError, DiscoverError, Hierarchy, Kubepods, PodDir, PodUid, discover,
        file::read,
    },
    hold::Knob,
    kernel::pressure,
    notices::Notices,
    pods::PodIndex,
};

/// Time between looks for another tree while none of the node's pods is in the one that was found: the look walks the whole hierarchy.
const DOUBT: Duration = Duration::from_secs(3);

const NOTICE: &str = "cgroups";
const NOTICE_IDLE: &str = "cpu.idle";
const NOTICE_PRESSURE: &str = "psi";

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
    found: Option<Arc<Located>>,
    doubted_nanos: Option<u64>,
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
            doubted_nanos: None,
        }
    }

    /// Where they are; looks when it does not know. `None` sets a notice, logged once.
    pub fn get(&mut self, known: impl FnOnce() -> BTreeSet<PodUid>) -> Option<Arc<Located>> {
        if self.found.is_none() {
            let known = known();
            match self.look(&known) {
                Ok(located) => {
                    self.notices.clear(NOTICE);
                    tracing::info!(
                        version = %located.hierarchy.version(),
                        driver = ?located.kubepods.driver(),
                        kubepods = %located.kubepods.relative().display(),
                        "found kubelet's cgroups"
                    );
                    self.notices.put(NOTICE_IDLE, without_idle(&located));
                    self.notices
                        .put(NOTICE_PRESSURE, without_pressure(&self.root));
                    self.found = Some(Arc::new(located));
                }
                // Which of several trees is ours is known once the pods are.
                Err(LocateError::Discover(DiscoverError::Ambiguous { .. })) if known.is_empty() => {
                }
                Err(error) => {
                    self.notices.set(NOTICE, error.to_string());
                }
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

    /// A tree is known, but none of the pods that should be in it are: it may be another kubelet's. `dirs` are the groups in it.
    pub fn doubt(&mut self, now_nanos: u64, index: &PodIndex, dirs: &[PodDir]) {
        let Some(current) = &self.found else { return };
        if dirs.iter().any(|dir| index.get(&dir.uid).is_some()) {
            self.doubted_nanos = None;
            return;
        }
        let rested = self.doubted_nanos.is_none_or(|doubted| {
            u128::from(now_nanos.saturating_sub(doubted)) >= DOUBT.as_nanos()
        });
        if !rested || index.iter().next().is_none() {
            return;
        }
        self.doubted_nanos = Some(now_nanos);
        if let Ok(other) = self.look(&index.uids())
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

/// Kernels before 5.15 have no `cpu.idle`.
fn without_idle(located: &Located) -> Option<String> {
    let dir = located
        .hierarchy
        .dir(Controller::Cpu, located.kubepods.relative());
    (!dir.join(Knob::CpuIdle.file()).exists()).then(|| {
        "this kernel has none; reclaimed pods keep their weight beside other best-effort pods"
            .to_owned()
    })
}

/// Kernels built without it, or booted with `psi=0`, whose files refuse to be read.
fn without_pressure(root: &Path) -> Option<String> {
    let readable = read(&root.join("proc/pressure/cpu"))
        .is_ok_and(|text| pressure::parse(&text).some.is_some());
    (!readable)
        .then(|| "this kernel reports no pressure; use and counters alone are watched".to_owned())
}
