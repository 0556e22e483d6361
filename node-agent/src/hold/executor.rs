//! The one writer of kernel files: compares with the kernel, records, writes the difference in order, reads back.
//!
//! Both loops of the agent hand it settings, and it runs on one thread, so that no file has two writers. Writes that move pages may take long; where
//! there is a [`MemoryWriter`], they are handed to its thread, and cpusets are left alone until it is done. What a run does: read every
//! file that has a setting; put the old values on record and save; write; read back; end the records of files that hold their old
//! values again. A crash between any two of these leaves a node whose records name every file that was changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    apply::{FaultPoint, Problem, apply},
    knob::Knob,
    memory_writer::{Done, Job, MemoryWriter},
    plan::{Change, plan},
    reads::Reads,
    records::{GroupRecord, Loaded, Records},
    setting::Setting,
};
use crate::{
    cgroup::{Controller, Hierarchy, PodUid},
    chain,
    metrics::AgentMetrics,
    notices::Notices,
    sample::Descriptors,
};

/// Subjects of notices.
const NOTICE_STATE: &str = "state directory";
const NOTICE_STAND_DOWN: &str = "stand-down";
const NOTICE_MOVES: &str = "memory nodes";
/// Pages that move for longer than this are worth a notice.
const LONG_MOVE: Duration = Duration::from_secs(30);

/// Why files are written; each purpose has its own notice, and a dry run prints the plan of each when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// The ceiling of reclaimed pods.
    Limits,
    /// CPUs, memory nodes and weights.
    Pools,
    /// Putting back.
    Release,
    /// Memory nodes, when their writes are done.
    Moves,
}

impl Purpose {
    fn notice(self) -> &'static str {
        match self {
            Self::Limits => "cgroup files",
            Self::Pools => "cpusets",
            Self::Release => "putting back",
            Self::Moves => "cpuset.mems",
        }
    }
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Execution {
    /// False in a dry run, and after a `restore` asked for silence.
    pub acted: bool,
    /// Writes that stand.
    pub written: u64,
    /// Files that could not be brought to their value.
    pub problems: Vec<Problem>,
    /// The writes of the plan, made or not.
    pub changes: Vec<Change>,
    /// Some files are written later: pages are being moved, or these files move some.
    pub pending: bool,
}

/// State of the writer.
pub struct Executor {
    state_dir: PathBuf,
    dry_run: bool,
    records: Records,
    reads: Reads,
    /// The records were lost: what files of pods hold that were there already may be our own values.
    lost: bool,
    /// Pods that were there at the first look after the records were lost.
    untrusted: BTreeSet<PodUid>,
    printed: BTreeMap<Purpose, Vec<Change>>,
    fault: Option<FaultPoint>,
    memory: Option<MemoryWriter>,
    /// How long the last move of pages took.
    last_move: Option<Duration>,
    stopped: bool,
    notices: Notices,
    metrics: AgentMetrics,
}

impl Executor {
    /// Loads the records; an unusable state directory is a notice, and work goes on without. A dry run needs none.
    pub fn new(state_dir: PathBuf, dry_run: bool, notices: Notices, metrics: AgentMetrics) -> Self {
        let (records, lost) = if dry_run {
            (Records::in_memory(), false)
        } else {
            load_records(&state_dir, &notices)
        };
        Self {
            state_dir,
            dry_run,
            records,
            reads: Reads::new(Descriptors::half_of_process()),
            lost,
            untrusted: BTreeSet::new(),
            printed: BTreeMap::new(),
            fault: None,
            memory: None,
            last_move: None,
            stopped: false,
            notices,
            metrics,
        }
    }

    /// Asks `fault` before each write.
    pub fn set_fault_point(&mut self, fault: FaultPoint) {
        self.fault = Some(fault);
    }

    /// Lets another thread write what moves pages. Without, that is written here.
    pub fn set_memory_writer(&mut self, writer: MemoryWriter) {
        self.memory = Some(writer);
    }

    /// Whether pages are being moved. Until they are, cpusets are left as they are.
    pub fn moves_pages(&self) -> bool {
        self.memory.as_ref().is_some_and(MemoryWriter::is_busy)
    }

    /// How long the last write of memory nodes took; `None` before the first.
    pub fn last_move(&self) -> Option<Duration> {
        self.last_move
    }

    /// Takes note of writes of memory nodes that are done, waiting no longer than `patience`; true where none is under way any more.
    pub fn settle(&mut self, patience: Duration) -> bool {
        let Some(memory) = self.memory.as_mut().filter(|memory| memory.is_busy()) else {
            return true;
        };
        let done = memory.take_done(patience);
        let long = memory
            .under_way()
            .filter(|(since, _)| *since >= LONG_MOVE)
            .map(|(_, pods)| {
                let pods: Vec<&str> = pods.iter().map(PodUid::as_str).collect();
                format!(
                    "the kernel has been moving pages of pods {} for more than {} s; no cpuset is written until it is done",
                    pods.join(", "),
                    LONG_MOVE.as_secs()
                )
            });
        self.notices.put(NOTICE_MOVES, long);
        if let Some(done) = done {
            self.moved(done);
        }
        !self.moves_pages()
    }

    fn moved(&mut self, done: Done) {
        let Done {
            outcome,
            took,
            restored,
        } = done;
        self.last_move = Some(took);
        self.metrics.wrote(outcome.written);
        self.metrics.pools.wrote_memory(took.as_secs_f64());
        tracing::info!(
            files = outcome.written,
            seconds = took.as_secs_f64(),
            "memory nodes written"
        );
        if !outcome.stopped {
            let _lock = Records::lock(&self.state_dir).ok();
            // The records are the `restore`'s, once it was run.
            if !Records::stood_down(&self.state_dir) {
                self.forget(restored, &outcome.failed);
                self.save();
            }
        }
        self.tell(Purpose::Moves, &outcome.problems);
    }

    /// The end of the process: a move of pages that is under way may take `patience` more, and stops before its next write.
    pub fn finish(&mut self, patience: Duration) {
        if let Some(memory) = &self.memory {
            memory.stop();
        }
        self.settle(patience);
    }

    fn forget(&mut self, restored: Vec<(PathBuf, Knob)>, failed: &BTreeSet<(PathBuf, Knob)>) {
        for file in restored {
            if !failed.contains(&file) {
                self.records.forget(&file.0, file.1);
            }
        }
    }

    /// The old values.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Notes what a reclaimed pod asks for, to hold it after a restart without the API server.
    pub fn hold(&mut self, pod: &PodUid, requests: katalyst_core::reclaimed::Reclaimed) {
        self.records.hold(pod, requests);
    }

    /// The first look at the pods that run. Where the records were lost, these pods may hold values of an earlier run.
    pub fn first_look(&mut self, pods: impl Iterator<Item = PodUid>) {
        if std::mem::take(&mut self.lost) {
            self.untrusted = pods.collect();
        }
    }

    /// Whether what the pod's files hold may be our own, without a record of what was before.
    pub fn is_untrusted(&self, pod: &PodUid) -> bool {
        self.untrusted.contains(pod)
    }

    /// Drops what is known of pods that are gone.
    pub fn prune(
        &mut self,
        runs: impl Fn(&PodUid) -> bool,
        exists: impl Fn(&Path, &GroupRecord) -> bool,
        held: impl Fn(&PodUid) -> bool,
    ) {
        self.untrusted.retain(&runs);
        self.records.retain(exists, held);
    }

    /// Brings the files to their settings.
    pub fn execute(
        &mut self,
        hierarchy: &Hierarchy,
        purpose: Purpose,
        mut settings: Vec<Setting>,
    ) -> Execution {
        if self.stopped {
            return Execution::default();
        }
        let mut pending = false;
        if !self.settle(Duration::ZERO) {
            let all = settings.len();
            settings.retain(|setting| setting.knob.controller() != Controller::Cpuset);
            pending = settings.len() < all;
        }
        let mut plan = plan(
            hierarchy,
            &mut self.reads,
            &self.records,
            &self.untrusted,
            settings,
        );
        let mut execution = Execution {
            acted: !self.dry_run,
            written: 0,
            problems: std::mem::take(&mut plan.problems),
            changes: plan.changes,
            pending,
        };
        if self.dry_run {
            self.print(purpose, &execution.changes);
            self.tell(purpose, &execution.problems);
            return execution;
        }
        let idle = execution.changes.is_empty()
            && plan.remember.is_empty()
            && plan.restored.is_empty()
            && !self.records.changed();
        if idle {
            self.tell(purpose, &execution.problems);
            return execution;
        }
        // Without a lock (an unusable directory) there is no restore to keep apart from either.
        let _lock = Records::lock(&self.state_dir).ok();
        if Records::stood_down(&self.state_dir) {
            self.notices.set(
                NOTICE_STAND_DOWN,
                "restore was run: nothing is written until the agent starts again",
            );
            execution.acted = false;
            return execution;
        }
        self.notices.clear(NOTICE_STAND_DOWN);
        for of in &plan.remember {
            self.records.remember(&of.pod, &of.group, of.knob, &of.old);
        }
        self.save();
        let (moves, here): (Vec<Change>, Vec<Change>) = execution
            .changes
            .iter()
            .cloned()
            .partition(|change| self.memory.is_some() && change.knob.moves_pages());
        let outcome = apply(hierarchy, &here, self.fault.as_mut());
        self.metrics.wrote(outcome.written);
        for change in &here {
            tracing::debug!(pod = %change.pod, group = %change.group.display(), file = change.knob.file(), from = change.from, to = change.to.trim(), "written");
        }
        if outcome.stopped {
            self.stopped = true;
            return execution;
        }
        let mut restored = plan.restored;
        if !moves.is_empty() {
            let later: Vec<_> = restored
                .extract_if(.., |(_, knob)| knob.moves_pages())
                .collect();
            execution.pending |= self.hand_over(hierarchy, moves, later);
        }
        self.forget(restored, &outcome.failed);
        self.save();
        execution.written = outcome.written;
        execution.problems.extend(outcome.problems);
        self.tell(purpose, &execution.problems);
        execution
    }

    /// True, since these writes are not made when this returns.
    fn hand_over(
        &mut self,
        hierarchy: &Hierarchy,
        changes: Vec<Change>,
        restored: Vec<(PathBuf, Knob)>,
    ) -> bool {
        for change in &changes {
            tracing::debug!(pod = %change.pod, group = %change.group.display(), file = change.knob.file(), from = change.from, to = change.to.trim(), "handed over");
        }
        let job = Job {
            hierarchy: hierarchy.clone(),
            state_dir: self.state_dir.clone(),
            changes,
        };
        if let Some(memory) = &mut self.memory
            && !memory.hand_over(job, restored)
        {
            self.notices.set(
                NOTICE_MOVES,
                "the thread that writes memory nodes has ended; pods keep those they have",
            );
        }
        true
    }

    /// Somebody else owns a pod's containers now, such as kubelet's CPU manager: the pod's own group gets its old values, and those of its
    /// containers are forgotten, since writing them would undo what the new owner wrote.
    pub fn leave(&mut self, hierarchy: &Hierarchy, pod: &PodUid) {
        if self.dry_run || !self.records.has(pod) || !self.settle(Duration::ZERO) {
            return;
        }
        let (mut own, mut inner) = (Vec::new(), Vec::new());
        for setting in self
            .records
            .settings(|record, knob| &record.pod == pod && knob.controller() == Controller::Cpuset)
        {
            let inside = setting
                .group
                .parent()
                .is_some_and(|parent| self.records.contains(parent));
            if inside { &mut inner } else { &mut own }.push(setting);
        }
        for setting in inner {
            self.records.forget(&setting.group, setting.knob);
        }
        self.execute(hierarchy, Purpose::Release, own);
    }

    /// Drops the records of groups that are gone.
    pub fn retain_groups(&mut self, exists: impl Fn(&Path) -> bool) {
        self.records.retain(|group, _| exists(group), |_| true);
    }

    /// Puts back the recorded files that `which` names.
    pub fn put_back(
        &mut self,
        hierarchy: &Hierarchy,
        which: impl Fn(&GroupRecord, Knob) -> bool,
    ) -> Execution {
        let settings = self.records.settings(which);
        if settings.is_empty() {
            return Execution::default();
        }
        self.execute(hierarchy, Purpose::Release, settings)
    }

    /// Services come first: a record that cannot be kept does not stop the work.
    fn save(&mut self) {
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
    }

    fn tell(&self, purpose: Purpose, problems: &[Problem]) {
        for problem in problems {
            self.metrics.error(problem.reason());
        }
        self.notices.put(purpose.notice(), summary(problems));
    }

    fn print(&mut self, purpose: Purpose, changes: &[Change]) {
        if self.printed.get(&purpose).map_or(&[][..], Vec::as_slice) == changes {
            return;
        }
        for change in changes {
            tracing::info!(
                pod = %change.pod,
                group = %change.group.display(),
                file = change.knob.file(),
                from = change.from,
                to = change.to.trim(),
                "dry run: would write"
            );
        }
        self.printed.insert(purpose, changes.to_vec());
    }
}

/// Loads the records; true: they were lost.
fn load_records(state_dir: &Path, notices: &Notices) -> (Records, bool) {
    let loaded = Records::lock(state_dir).and_then(|_lock| {
        Records::stand_up(state_dir)?;
        Records::load(state_dir)
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

/// One notice for all files that failed in a run.
fn summary(problems: &[Problem]) -> Option<String> {
    let first = problems.first()?;
    Some(match problems.len() {
        1 => chain(first),
        more => format!("{} (and {} more)", chain(first), more.saturating_sub(1)),
    })
}
