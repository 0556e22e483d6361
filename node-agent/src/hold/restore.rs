//! Putting back what files held before the agent.

use std::path::Path;

use super::{
    executor::Problem,
    knob::Knob,
    records::{PodRecord, RecordError, Records},
};
use crate::cgroup::{Hierarchy, PodUid, file};

/// What a restore did.
#[derive(Debug, Default)]
pub struct Restored {
    /// Files written.
    pub files: u64,
    /// Pods whose files all hold their old values (or are gone).
    pub pods: u64,
    /// Files that could not be written; their pods keep their records.
    pub problems: Vec<Problem>,
}

/// Restores every recorded pod, clears the records of those that succeeded, and saves.
pub fn restore_all(hierarchy: &Hierarchy, records: &mut Records) -> Result<Restored, RecordError> {
    let mut restored = Restored::default();
    let uids: Vec<PodUid> = records.pods().keys().cloned().collect();
    for uid in uids {
        restore_pod(hierarchy, records, &uid, &mut restored);
    }
    records.save()?;
    Ok(restored)
}

/// Restores one pod and drops its record, unless a file refused.
pub fn restore_pod(
    hierarchy: &Hierarchy,
    records: &mut Records,
    uid: &PodUid,
    restored: &mut Restored,
) {
    let Some(PodRecord { relative, old, .. }) = records.pod(uid).cloned() else {
        return;
    };
    let problems_before = restored.problems.len();
    for (knob, value) in old {
        match restore_file(hierarchy, &relative, knob, &value) {
            Ok(true) => restored.files = restored.files.saturating_add(1),
            Ok(false) => {}
            Err(problem) => restored.problems.push(problem),
        }
    }
    if restored.problems.len() == problems_before {
        restored.pods = restored.pods.saturating_add(1);
        records.forget(uid);
    }
}

/// `Ok(true)` when a write was needed.
fn restore_file(
    hierarchy: &Hierarchy,
    relative: &Path,
    knob: Knob,
    value: &str,
) -> Result<bool, Problem> {
    let path = hierarchy.dir(knob.controller(), relative).join(knob.file());
    let current = match file::read(&path) {
        Ok(current) => current,
        Err(error) if error.is_gone() => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if knob.same(&current, value) {
        return Ok(false);
    }
    // Version 1 prints "no limit" as a number that it does not take back.
    let value = if knob.same(value, knob.kubelet_default()) {
        knob.kubelet_default()
    } else {
        value
    };
    match file::write(&path, value) {
        Ok(()) => Ok(true),
        Err(error) if error.is_gone() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use katalyst_core::reclaimed::Reclaimed;

    #[test]
    fn old_values_return_and_records_go() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("state");
        let base = root.path().join("sys/fs/cgroup");
        fs::create_dir_all(base.join("a")).unwrap();
        fs::write(base.join("cgroup.controllers"), "").unwrap();
        fs::write(base.join("a/cpu.max"), "5000 100000\n").unwrap();
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        let (mut records, _) = Records::load(&state).unwrap();
        records.remember(
            &PodUid::new("a"),
            Path::new("a"),
            Reclaimed::ZERO,
            Knob::CpuMax,
            "max 100000",
        );
        records.remember(
            &PodUid::new("gone"),
            Path::new("gone"),
            Reclaimed::ZERO,
            Knob::CpuMax,
            "max 100000",
        );

        let restored = restore_all(&hierarchy, &mut records).unwrap();
        assert_eq!(
            (restored.files, restored.pods, restored.problems.len()),
            (1, 2, 0)
        );
        assert_eq!(
            fs::read_to_string(base.join("a/cpu.max")).unwrap(),
            "max 100000"
        );
        assert!(Records::load(&state).unwrap().0.pods().is_empty());
        assert_eq!(restore_all(&hierarchy, &mut records).unwrap().files, 0);
    }
}
