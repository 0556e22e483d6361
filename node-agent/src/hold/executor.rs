//! The one writer of the knobs: compares with the kernel, records, writes the difference, reads back.

use std::path::PathBuf;

use katalyst_core::reclaimed::Reclaimed;

use super::{knob::Knob, limits::Setting, records::Records};
use crate::cgroup::{
    Hierarchy, PodUid,
    file::{self, FileError},
};

/// One write to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The pod.
    pub uid: PodUid,
    /// Its group, relative to the mounts.
    pub relative: PathBuf,
    /// The file.
    pub knob: Knob,
    /// What it holds.
    pub from: String,
    /// What it is to hold.
    pub to: String,
    /// Another file whose value the kernel loses with this write, and that value.
    pub loses: Option<(Knob, String)>,
}

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
}

impl Problem {
    /// A fixed word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::File(error) => error.reason(),
            Self::NotTaken { .. } => "not_taken",
        }
    }
}

/// What `apply` did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Writes that stand.
    pub written: u64,
    /// Files that could not be brought to their value.
    pub problems: Vec<Problem>,
}

/// Reads every file that has a setting and returns those that differ, falling limits first, so that the sum of the quotas is under the
/// ceiling at every moment. A pod that is gone gives nothing; neither does a file that older kernels lack.
pub fn diff(hierarchy: &Hierarchy, settings: Vec<Setting>) -> (Vec<Change>, Vec<Problem>) {
    let mut changes = Vec::new();
    let mut problems = Vec::new();
    for Setting {
        uid,
        relative,
        knob,
        value,
    } in settings
    {
        let dir = hierarchy.dir(knob.controller(), &relative);
        match file::read(&dir.join(knob.file())) {
            Ok(current) if knob.same(&current, &value) => {}
            Ok(current) => changes.push(Change {
                uid,
                relative,
                knob,
                from: current.trim().to_owned(),
                to: value,
                loses: knob.loses(hierarchy.version()).and_then(|lost| {
                    let value = file::read(&dir.join(lost.file())).ok()?;
                    Some((lost, value.trim().to_owned()))
                }),
            }),
            Err(error) if error.is_gone() && (knob.optional() || !dir.exists()) => {}
            Err(error) => problems.push(error.into()),
        }
    }
    changes.sort_by_key(|change| {
        change.knob.magnitude(&change.to) > change.knob.magnitude(&change.from)
    });
    (changes, problems)
}

/// Applies the changes. Every old value must be in `records` and saved before this is called (see [`record`](super::Records::remember)).
pub fn apply(hierarchy: &Hierarchy, changes: &[Change]) -> Outcome {
    let mut outcome = Outcome::default();
    for change in changes {
        let path = hierarchy
            .dir(change.knob.controller(), &change.relative)
            .join(change.knob.file());
        match file::write(&path, &change.to).and_then(|()| file::read(&path)) {
            Ok(shown) if change.knob.same(&shown, &change.to) => {
                outcome.written = outcome.written.saturating_add(1);
            }
            Ok(shown) => outcome.problems.push(Problem::NotTaken {
                path,
                written: change.to.clone(),
                shown: shown.trim().to_owned(),
            }),
            Err(error) if error.is_gone() => {}
            Err(error) => outcome.problems.push(error.into()),
        }
    }
    outcome
}

/// Notes the old values of all changes. `trust_current`: whether what the file holds was there before any write of ours; where the
/// records were lost, kubelet's default is noted instead.
pub fn record(
    records: &mut Records,
    changes: &[Change],
    requests: impl Fn(&PodUid) -> Reclaimed,
    trust_current: impl Fn(&PodUid) -> bool,
) {
    for Change {
        uid,
        relative,
        knob,
        from,
        loses,
        ..
    } in changes
    {
        let lost = loses.as_ref().map(|(knob, value)| (*knob, value.as_str()));
        for (knob, current) in std::iter::once((*knob, from.as_str())).chain(lost) {
            let old = if trust_current(uid) {
                current
            } else {
                knob.kubelet_default()
            };
            records.remember(uid, relative, requests(uid), knob, old);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn v2(files: &[(&str, &str)]) -> (tempfile::TempDir, Hierarchy) {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("sys/fs/cgroup");
        fs::create_dir_all(&base).unwrap();
        fs::write(base.join("cgroup.controllers"), "").unwrap();
        for (file, text) in files {
            let path = base.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        (root, hierarchy)
    }

    fn setting(pod: &str, knob: Knob, value: &str) -> Setting {
        Setting {
            uid: PodUid::new(pod),
            relative: PathBuf::from(pod),
            knob,
            value: value.to_owned(),
        }
    }

    #[test]
    fn only_differences_are_written_and_falls_come_first() {
        let (root, hierarchy) = v2(&[
            ("a/cpu.max", "50000 100000\n"),
            ("b/cpu.max", "max 100000\n"),
            ("c/cpu.max", "7000 100000\n"),
        ]);
        let settings = vec![
            setting("a", Knob::CpuMax, "90000 100000"),
            setting("b", Knob::CpuMax, "10000 100000"),
            setting("c", Knob::CpuMax, "7000 100000"),
            setting("b", Knob::CpuIdle, "1"),
            setting("gone", Knob::CpuMax, "7000 100000"),
        ];
        let (changes, problems) = diff(&hierarchy, settings);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            changes
                .iter()
                .map(|change| change.uid.as_str())
                .collect::<Vec<_>>(),
            ["b", "a"]
        );
        let outcome = apply(&hierarchy, &changes);
        assert_eq!((outcome.written, outcome.problems.len()), (2, 0));
        assert_eq!(
            fs::read_to_string(root.path().join("sys/fs/cgroup/b/cpu.max")).unwrap(),
            "10000 100000"
        );
    }

    #[test]
    fn a_missing_required_file_is_a_problem() {
        let (_root, hierarchy) = v2(&[("a/cpu.stat", "")]);
        let (changes, problems) = diff(&hierarchy, vec![setting("a", Knob::MemoryMax, "1")]);
        assert!(changes.is_empty());
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].to_string().contains("memory.max"),
            "{}",
            problems[0]
        );
    }

    #[test]
    fn the_weight_that_idle_takes_is_recorded_with_it() {
        let (_root, hierarchy) = v2(&[("a/cpu.idle", "0\n"), ("a/cpu.weight", "1\n")]);
        let (changes, problems) = diff(&hierarchy, vec![setting("a", Knob::CpuIdle, "1")]);
        assert!(problems.is_empty());
        let mut records = Records::in_memory();
        record(&mut records, &changes, |_| Reclaimed::ZERO, |_| true);
        let old = &records.pod(&PodUid::new("a")).unwrap().old;
        // In the order in which they are put back: the weight only counts once the group is not idle.
        assert_eq!(
            old.iter().collect::<Vec<_>>(),
            [
                (&Knob::CpuIdle, &"0".to_owned()),
                (&Knob::CpuWeight, &"1".to_owned())
            ]
        );
    }

    #[test]
    fn lost_records_fall_back_to_kubelets_values() {
        let mut records = Records::in_memory();
        let change = |pod: &str| Change {
            uid: PodUid::new(pod),
            relative: PathBuf::from(pod),
            knob: Knob::CfsQuota,
            from: "4000".to_owned(),
            to: "5000".to_owned(),
            loses: None,
        };
        record(
            &mut records,
            &[change("old"), change("new")],
            |_| Reclaimed::ZERO,
            |uid| uid.as_str() == "new",
        );
        assert_eq!(
            records.pod(&PodUid::new("old")).unwrap().old[&Knob::CfsQuota],
            "-1"
        );
        assert_eq!(
            records.pod(&PodUid::new("new")).unwrap().old[&Knob::CfsQuota],
            "4000"
        );
    }
}
