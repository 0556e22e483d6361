//! From the ceiling to the files: split, compare, record, write.

use katalyst_core::{reclaimed::Reclaimed, units::Bytes};

use super::{config::ReflexConfig, locate::Located, tick::Reflex};
use crate::{
    chain,
    hold::{
        Change, HeldPod, Loaded, PodLimits, Problem, Records, apply, diff, pod_limits, record,
        settings,
    },
    notices::Notices,
    pods::PodIndex,
    sample::Usage,
};

/// Subjects of notices.
const NOTICE_STATE: &str = "state directory";
const NOTICE_WRITE: &str = "cgroup files";
const NOTICE_STAND_DOWN: &str = "stand-down";

impl Reflex {
    /// Splits the ceiling and brings the files to it.
    pub(super) fn hold(
        &mut self,
        located: &Located,
        index: &PodIndex,
        usage: &Usage,
        ceiling: Reclaimed,
    ) -> Vec<PodLimits> {
        let version = located.hierarchy.version();
        let pods: Vec<HeldPod> = usage
            .pods
            .iter()
            .filter(|(uid, _)| !index.get(uid).is_some_and(|pod| pod.finished))
            .filter_map(|(uid, pod)| {
                let requests = self.known.requests(uid)?;
                Some(HeldPod {
                    uid: uid.clone(),
                    relative: pod.relative.clone(),
                    cpu_request: requests.cpu,
                    memory_request: (requests.memory > Bytes::ZERO).then_some(requests.memory),
                    cpu: pod.cpu,
                    throttled: pod.throttled(),
                    memory: pod.memory,
                    previous: self.quotas.get(uid).copied(),
                })
            })
            .collect();
        let limits = pod_limits(ceiling, &pods, version);
        let wanted = limits
            .iter()
            .flat_map(|limits| settings(limits, version, self.config.idle))
            .collect();
        let (changes, mut problems) = diff(&located.hierarchy, wanted);
        if self.config.dry_run {
            self.print(changes);
        } else if let Some(failed) = self.write(located, &changes) {
            problems.extend(failed);
            self.quotas = limits
                .iter()
                .map(|limits| (limits.uid.clone(), limits.cpu))
                .collect();
        }
        for problem in &problems {
            self.metrics.error(problem.reason());
        }
        self.notices.put(NOTICE_WRITE, summary(&problems));
        limits
    }

    /// Records, then writes. `None`: a `restore` asked for silence.
    fn write(&mut self, located: &Located, changes: &[Change]) -> Option<Vec<Problem>> {
        if changes.is_empty() && !self.records.changed() {
            return Some(Vec::new());
        }
        // Without a lock (an unusable directory) there is no restore to keep apart from either.
        let _lock = Records::lock(&self.config.state_dir).ok();
        if Records::stood_down(&self.config.state_dir) {
            self.notices.set(
                NOTICE_STAND_DOWN,
                "restore was run: reclaimed pods are not held until the agent starts again",
            );
            return None;
        }
        self.notices.clear(NOTICE_STAND_DOWN);
        let (known, untrusted) = (&self.known, &self.untrusted);
        record(
            &mut self.records,
            changes,
            |uid| known.requests(uid).unwrap_or_default(),
            |uid| !untrusted.contains(uid),
        );
        // Services come first: a record that cannot be kept does not stop holding.
        match self.records.save() {
            Ok(()) => self.notices.clear(NOTICE_STATE),
            Err(error) => {
                self.metrics.error("state");
                self.notices.set(
                    NOTICE_STATE,
                    format!("{}; old values are kept in memory only", chain(&error)),
                );
            }
        }
        let outcome = apply(&located.hierarchy, changes);
        self.metrics.wrote(outcome.written);
        for change in changes {
            tracing::debug!(uid = %change.uid, file = change.knob.file(), from = change.from, to = change.to, "written");
        }
        Some(outcome.problems)
    }

    fn print(&mut self, changes: Vec<Change>) {
        if changes != self.printed {
            for change in &changes {
                tracing::info!(
                    uid = %change.uid,
                    file = change.knob.file(),
                    from = change.from,
                    to = change.to,
                    "dry run: would write"
                );
            }
            self.printed = changes;
        }
    }
}

/// Loads the records; true: they were lost.
pub(super) fn load_records(config: &ReflexConfig, notices: &Notices) -> (Records, bool) {
    let loaded = Records::lock(&config.state_dir).and_then(|_lock| {
        Records::stand_up(&config.state_dir)?;
        Records::load(&config.state_dir)
    });
    match loaded {
        Ok((records, Loaded::Present)) => (records, false),
        Ok((records, Loaded::Absent)) => (records, true),
        Ok((records, Loaded::Damaged { moved_to, reason })) => {
            tracing::warn!(
                reason,
                moved_to = %moved_to.display(),
                "the record of old cgroup values is damaged; kubelet's defaults are assumed for pods that run already"
            );
            (records, true)
        }
        Err(error) => {
            notices.set(
                NOTICE_STATE,
                format!("{}; old values are kept in memory only", chain(&error)),
            );
            (Records::in_memory(), true)
        }
    }
}

/// One notice for all files that failed in a tick.
fn summary(problems: &[Problem]) -> Option<String> {
    let first = problems.first()?;
    Some(match problems.len() {
        1 => chain(first),
        more => format!("{} (and {} more)", chain(first), more.saturating_sub(1)),
    })
}
