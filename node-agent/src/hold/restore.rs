//! Putting back what files held before the agent.

use std::collections::BTreeSet;

use super::{
    apply::{Problem, apply},
    plan::plan,
    reads::Reads,
    records::{RecordError, Records},
};
use crate::{
    cgroup::{Hierarchy, PodUid},
    sample::Descriptors,
};

/// What a restore did.
#[derive(Debug, Default)]
pub struct Restored {
    /// Files written.
    pub files: u64,
    /// Pods whose files all hold their old values (or are gone).
    pub pods: u64,
    /// Files that could not be written; they keep their records.
    pub problems: Vec<Problem>,
}

/// Restores every recorded file in the order that the kernel takes, ends the records of those that succeeded, and saves.
pub fn restore_all(hierarchy: &Hierarchy, records: &mut Records) -> Result<Restored, RecordError> {
    let before: BTreeSet<PodUid> = records.pods().into_iter().cloned().collect();
    let settings = records.settings(|_, _| true);
    let mut reads = Reads::new(Descriptors::new(0));
    let plan = plan(hierarchy, &mut reads, records, &BTreeSet::new(), settings);
    let outcome = apply(hierarchy, &plan.changes, None);
    for (group, knob) in plan.restored {
        let file = (group, knob);
        if !outcome.failed.contains(&file) {
            records.forget(&file.0, knob);
        }
    }
    let left: BTreeSet<PodUid> = records.pods().into_iter().cloned().collect();
    records.retain(|_, _| true, |pod| left.contains(pod));
    records.save()?;
    let mut problems = plan.problems;
    problems.extend(outcome.problems);
    Ok(Restored {
        files: outcome.written,
        pods: u64::try_from(before.difference(&left).count()).unwrap_or(u64::MAX),
        problems,
    })
}
