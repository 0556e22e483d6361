//! The writes themselves, each read back.

use std::{
    collections::BTreeSet,
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use super::{knob::Knob, plan::Change};
use crate::cgroup::{
    Hierarchy,
    file::{self, FileError},
};

/// A file that could not be brought to its value.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Reading or writing failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The kernel took the write and shows another value.
    #[error("{path} shows {shown:?} after {written:?} was written")]
    NotTaken {
        /// The file.
        path: PathBuf,
        /// Value written.
        written: String,
        /// Value read back.
        shown: String,
    },
    /// Version 1 gives a group only what its parent has.
    #[error("{path} cannot get {wanted:?}: the group above has {parent:?}")]
    OutsideParent {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: String,
        /// What the parent holds.
        parent: String,
    },
    /// A list of CPUs or memory nodes that is none.
    #[error("{path} holds {shown:?} and should hold {wanted:?}: not both are lists such as 0-3,8")]
    NoSet {
        /// The file.
        path: PathBuf,
        /// What it holds.
        shown: String,
        /// What it should hold.
        wanted: String,
    },
}

impl Problem {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::File(error) => error.reason(),
            Self::NotTaken { .. } => "not_taken",
            Self::OutsideParent { .. } => "outside_parent",
            Self::NoSet { .. } => "unknown_value",
        }
    }
}

/// What `apply` did.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Writes that stand.
    pub written: u64,
    /// Files that could not be brought to their value.
    pub problems: Vec<Problem>,
    /// The same, by group and knob.
    pub failed: BTreeSet<(PathBuf, Knob)>,
    /// A fault point stopped the writes.
    pub stopped: bool,
}

/// Asked before each write; `Break` stops all writes, as a crash at this place would. For tests of what a crash leaves.
pub type FaultPoint = Box<dyn FnMut(&Change) -> ControlFlow<()> + Send>;

/// Applies the changes in their order. Every old value must be on record and saved before. A write that fails costs its file only.
pub(super) fn apply(
    hierarchy: &Hierarchy,
    changes: &[Change],
    mut fault: Option<&mut FaultPoint>,
) -> Outcome {
    let mut outcome = Outcome::default();
    for change in changes {
        if let Some(fault) = &mut fault
            && fault(change).is_break()
        {
            outcome.stopped = true;
            return outcome;
        }
        let path = hierarchy
            .dir(change.knob.controller(), &change.group)
            .join(change.knob.file());
        let done = write(hierarchy, change, &path)
            .and_then(|written| file::read(&path).map(|shown| (written, shown)));
        match done {
            Ok((written, shown)) if change.knob.same(&shown, &written) => {
                outcome.written = outcome.written.saturating_add(1);
                continue;
            }
            Ok((written, shown)) => outcome.problems.push(Problem::NotTaken {
                path,
                written: written.trim().to_owned(),
                shown: shown.trim().to_owned(),
            }),
            Err(error) if error.is_gone() => continue,
            Err(error) => outcome.problems.push(error.into()),
        }
        outcome.failed.insert((change.group.clone(), change.knob));
    }
    outcome
}

/// Writes and says what was written. Version 2 refuses to empty the set of a group with processes (ENOSPC), although empty is what the
/// group began with: it gets everything there can be instead, which means the same.
fn write(hierarchy: &Hierarchy, change: &Change, path: &Path) -> Result<String, FileError> {
    match file::write(path, &change.to) {
        Err(FileError::Write { source, .. })
            if source.kind() == io::ErrorKind::StorageFull
                && change.knob.is_set()
                && change.to.trim().is_empty() =>
        {
            let all = everything(hierarchy, change.knob)?;
            file::write(path, &all)?;
            Ok(all)
        }
        Err(error) => Err(error),
        Ok(()) => Ok(change.to.clone()),
    }
}

/// Every CPU or memory node that there can be, those that may come later included; where the kernel does not say, those of now.
fn everything(hierarchy: &Hierarchy, knob: Knob) -> Result<String, FileError> {
    let kind = if knob == Knob::CpusetMems {
        "node"
    } else {
        "cpu"
    };
    let possible = hierarchy
        .root()
        .join("sys/devices/system")
        .join(kind)
        .join("possible");
    let now = hierarchy
        .mount(knob.controller())
        .join(format!("{}.effective", knob.file()));
    file::read(&possible)
        .or_else(|_| file::read(&now))
        .map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cgroup::PodUid;

    #[test]
    fn each_write_stands_or_is_told() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("sys/fs/cgroup");
        fs::create_dir_all(base.join("a")).unwrap();
        fs::write(base.join("cgroup.controllers"), "").unwrap();
        fs::write(base.join("a/cpu.max"), "max 100000").unwrap();
        // Takes every write and shows nothing of it.
        std::os::unix::fs::symlink("/dev/null", base.join("a/cpu.weight")).unwrap();
        // Has no space for any write.
        std::os::unix::fs::symlink("/dev/full", base.join("a/memory.max")).unwrap();
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        let change = |group: &str, knob, to: &str| Change {
            pod: PodUid::new("a"),
            group: PathBuf::from(group),
            knob,
            from: String::new(),
            to: to.to_owned(),
        };
        let changes = [
            change("a", Knob::CpuMax, "5000 100000"),
            change("a", Knob::CpuWeight, "7"),
            change("a", Knob::MemoryMax, "7"),
            change("gone", Knob::CpuMax, "5000 100000"),
        ];
        let outcome = apply(&hierarchy, &changes, None);
        assert_eq!(outcome.written, 1);
        assert!(
            matches!(
                outcome.problems[..],
                [Problem::NotTaken { .. }, Problem::File(_)]
            ),
            "{:?}",
            outcome.problems
        );
        assert_eq!(outcome.failed.len(), 2);
        assert_eq!(
            fs::read_to_string(base.join("a/cpu.max")).unwrap(),
            "5000 100000"
        );

        let mut fault: FaultPoint = Box::new(|_| ControlFlow::Break(()));
        assert!(apply(&hierarchy, &changes, Some(&mut fault)).stopped);
    }
}
