//! One tick: sample, ceiling, limits, writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use katalyst_core::{
    hold::{CeilingParams, CpuCeilingInput, MemoryCeilingInput, cpu_ceiling, memory_ceiling},
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

use super::{
    held::Known,
    locate::{Locate, Located},
    peaks::Peaks,
    snapshot::{CeilingView, LevelUsage, PodView, ServicePeakView, Snapshot},
    surge::{Glance, comparable, glance, is_surge, service_between},
};
use crate::{
    cgroup::{Controller, KubeClass, PodUid, file::FileError, read_group},
    chain,
    hold::{
        Change, HeldPod, Loaded, PodLimits, Problem, Records, Restored, apply, diff, pod_limits,
        record, restore_pod, settings,
    },
    metrics::AgentMetrics,
    notices::Notices,
    pods::{PodIndex, PodInfo},
    sample::{
        Counters, MachineUsage, PodUsage, Split, Usage, read_counters, read_machine, split,
        usage_between,
    },
};

/// Subjects of notices.
const NOTICE_PROC: &str = "machine";
const NOTICE_STATE: &str = "state directory";
const NOTICE_WRITE: &str = "cgroup files";
const NOTICE_STAND_DOWN: &str = "stand-down";

/// Settings of the reflex.
#[derive(Debug, Clone)]
pub struct ReflexConfig {
    /// Where `/proc` and `/sys` of the node start.
    pub root: PathBuf,
    /// kubelet's tree, where an administrator names it.
    pub kubepods: Option<PathBuf>,
    /// Where old values are kept.
    pub state_dir: PathBuf,
    /// What the machine's use is.
    pub machine_usage: MachineUsage,
    /// Capacity, where an administrator gives less than the kernel shows.
    pub cpu_capacity: Option<Millicpu>,
    /// Likewise.
    pub memory_capacity: Option<Bytes>,
    /// The ceiling's parameters.
    pub ceiling: CeilingParams,
    /// Time between ticks.
    pub interval: Duration,
    /// Set `cpu.idle` too, where the kernel has it.
    pub idle: bool,
    /// Print what would be written, and write nothing.
    pub dry_run: bool,
}

/// The ceiling in force.
#[derive(Debug, Clone, Copy)]
struct Standing {
    at_nanos: u64,
    value: Reclaimed,
}

/// State between ticks.
pub struct Reflex {
    config: ReflexConfig,
    notices: Notices,
    metrics: AgentMetrics,
    locate: Locate,
    peaks: Peaks,
    before: Option<Counters>,
    last: Option<Usage>,
    glance: Option<Glance>,
    standing: Option<Standing>,
    known: Known,
    /// The quota each held pod has.
    quotas: BTreeMap<PodUid, Millicpu>,
    records: Records,
    /// The records were lost: what files of pods hold that were there already may be our own limits.
    records_lost: bool,
    /// Pods that were there at the first look after the records were lost.
    untrusted: BTreeSet<PodUid>,
    /// The last plan of a dry run, so that it is printed only when it changes.
    printed: Vec<Change>,
}

impl Reflex {
    /// Loads the records; an unusable state directory is a notice, and holding goes on without.
    pub fn new(
        config: ReflexConfig,
        peaks: Peaks,
        notices: Notices,
        metrics: AgentMetrics,
    ) -> Self {
        let (records, records_lost) = if config.dry_run {
            (Records::in_memory(), false)
        } else {
            load_records(&config, &notices)
        };
        Self {
            locate: Locate::new(
                config.root.clone(),
                config.kubepods.clone(),
                notices.clone(),
            ),
            known: Known::from_records(&records),
            config,
            notices,
            metrics,
            peaks,
            before: None,
            last: None,
            glance: None,
            standing: None,
            quotas: BTreeMap::new(),
            records,
            records_lost,
            untrusted: BTreeSet::new(),
            printed: Vec::new(),
        }
    }

    /// Samples, decides, writes. `None` until there are two readings, and while the cgroups or `/proc` cannot be read.
    pub fn tick(&mut self, now_nanos: u64, index: &PodIndex) -> Option<Snapshot> {
        let uids = index.uids();
        self.locate.doubt(&uids);
        let located = self.locate.get(&uids)?;
        let counters = self.read(now_nanos, &located)?;
        let usage = self
            .before
            .as_ref()
            .and_then(|before| usage_between(before, &counters));
        self.note_first_look(&counters);
        self.before = Some(counters);
        let mut usage = usage?;
        self.limit_capacity(&mut usage);

        self.follow_pods(&located, index, &usage);
        let parts = split(&usage, self.config.machine_usage, |uid| {
            self.known.contains(uid)
        });
        let seconds = now_nanos as f64 / 1e9;
        // Half an interval is too short for the kernel's clock ticks, and before the first list of pods batch counts as service:
        // neither may stay in the peak for the length of its window.
        let lasting =
            index.synced && usage.elapsed_seconds >= self.config.interval.as_secs_f64() / 2.0;
        self.peaks.push(seconds, parts.service, lasting);
        let ceiling = self.ceiling(usage.capacity, parts.service, now_nanos);
        let limits = self.hold(&located, index, &usage, ceiling.value);

        self.metrics.set_usage("machine", usage.machine);
        self.metrics.set_usage("service", parts.service);
        self.metrics.set_usage("reclaimed", parts.reclaimed);
        self.metrics.set_ceiling(ceiling.value, limits.len());
        let snapshot = self.snapshot(&located, index, &usage, parts, ceiling, limits, seconds);
        self.last = Some(usage);
        Some(snapshot)
    }

    /// Between ticks: limits reclaimed pods whose groups appeared since, and lowers the ceiling in a surge of services. Returns true
    /// when there was a reason to act.
    pub fn look(&mut self, now_nanos: u64, index: &PodIndex) -> bool {
        let Some(located) = self.locate.get(&index.uids()) else {
            return false;
        };
        let (Some(standing), Some(mut usage)) = (self.standing, self.last.take()) else {
            return false;
        };
        let arrived = self.arrivals(&located, index, &mut usage);
        let surge = self.surge(now_nanos, &located, &usage);
        let ceiling = match surge {
            Some(service) => {
                self.metrics.surge();
                let seconds = now_nanos as f64 / 1e9;
                self.peaks.push_cpu(seconds, service);
                let service = Reclaimed {
                    cpu: service,
                    memory: Bytes::ZERO,
                };
                self.ceiling(usage.capacity, service, now_nanos).value
            }
            None => standing.value,
        };
        let act = arrived || surge.is_some();
        if act {
            self.hold(&located, index, &usage, ceiling);
        }
        self.last = Some(usage);
        act
    }

    /// Adds pods whose groups appeared since the last tick; true when one is reclaimed.
    fn arrivals(&mut self, located: &Located, index: &PodIndex, usage: &mut Usage) -> bool {
        let Ok(dirs) = located.kubepods.pods(&located.hierarchy) else {
            return false;
        };
        self.known.learn(index);
        let mut found = false;
        for dir in dirs {
            if !self.known.contains(&dir.uid) || usage.pods.contains_key(&dir.uid) {
                continue;
            }
            let Ok(group) = read_group(&located.hierarchy, &dir.relative) else {
                continue;
            };
            let pod = PodUsage {
                class: dir.class,
                relative: dir.relative,
                cpu: Millicpu::ZERO,
                memory: group.memory.unwrap_or_default(),
                throttled_part: 0.0,
            };
            usage.pods.insert(dir.uid, pod);
            found = true;
        }
        found
    }

    /// What services use now, where that is far above what the ceiling was made for.
    fn surge(&mut self, now_nanos: u64, located: &Located, usage: &Usage) -> Option<Millicpu> {
        let reclaimed = usage
            .pods
            .iter()
            .filter(|(uid, _)| self.known.contains(uid))
            .map(|(uid, pod)| (uid, &pod.relative));
        let Located {
            hierarchy,
            kubepods,
        } = located;
        let (root, basis) = (&self.config.root, self.config.machine_usage);
        let now = glance(now_nanos, root, hierarchy, kubepods, basis, reclaimed)?;
        let before = match self.glance.take() {
            Some(before) if !comparable(&before, &now) => {
                self.glance = Some(before);
                return None;
            }
            before => before,
        };
        let service = before.and_then(|before| service_between(&before, &now));
        self.glance = Some(now);
        let recent = self.peaks.recent(now_nanos as f64 / 1e9);
        service.filter(|service| is_surge(*service, recent.cpu, usage.capacity.cpu))
    }

    fn read(&mut self, now_nanos: u64, located: &Located) -> Option<Counters> {
        let machine = match read_machine(&self.config.root) {
            Ok(machine) => machine,
            Err(error) => {
                self.metrics.error(error.reason());
                self.notices.set(NOTICE_PROC, chain(&error));
                return None;
            }
        };
        self.notices.clear(NOTICE_PROC);
        let metrics = &self.metrics;
        let problem = |error: FileError| {
            metrics.error(error.reason());
            tracing::debug!(error = chain(&error), "unreadable");
        };
        let counters = read_counters(
            now_nanos,
            machine,
            &located.hierarchy,
            &located.kubepods,
            problem,
        );
        if counters.is_err() {
            self.locate.lost();
            self.before = None;
        }
        counters.ok()
    }

    fn note_first_look(&mut self, counters: &Counters) {
        if self.records_lost {
            self.untrusted = counters
                .pods
                .iter()
                .filter(|(_, pod)| pod.class == KubeClass::BestEffort)
                .map(|(uid, _)| uid.clone())
                .collect();
            self.records_lost = false;
        }
    }

    fn limit_capacity(&self, usage: &mut Usage) {
        if let Some(cpu) = self.config.cpu_capacity {
            usage.capacity.cpu = usage.capacity.cpu.min(cpu);
        }
        if let Some(memory) = self.config.memory_capacity {
            usage.capacity.memory = usage.capacity.memory.min(memory);
        }
    }

    /// Learns which pods are reclaimed, puts back the values of those that are no more, drops what is known of pods that are gone.
    fn follow_pods(&mut self, located: &Located, index: &PodIndex, usage: &Usage) {
        for uid in self.known.learn(index) {
            let mut restored = Restored::default();
            restore_pod(&located.hierarchy, &mut self.records, &uid, &mut restored);
            tracing::info!(%uid, files = restored.files, "pod is not reclaimed any more; its old values are back");
        }
        self.known.prune(index, |uid| usage.pods.contains_key(uid));
        self.quotas.retain(|uid, _| usage.pods.contains_key(uid));
        self.untrusted.retain(|uid| usage.pods.contains_key(uid));
        let gone: Vec<PodUid> = self
            .records
            .pods()
            .iter()
            .filter(|(uid, record)| {
                !usage.pods.contains_key(uid)
                    && !located
                        .hierarchy
                        .dir(Controller::Cpu, &record.relative)
                        .exists()
            })
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in gone {
            self.records.forget(&uid);
        }
    }

    fn ceiling(&mut self, capacity: Reclaimed, service: Reclaimed, now_nanos: u64) -> CeilingView {
        let recent = self.peaks.recent(now_nanos as f64 / 1e9);
        let elapsed_seconds = self.standing.map_or(0.0, |standing| {
            now_nanos.saturating_sub(standing.at_nanos) as f64 / 1e9
        });
        let cpu = cpu_ceiling(
            &CpuCeilingInput {
                capacity: capacity.cpu,
                service_now: service.cpu,
                service_recent_peak: recent.cpu,
                previous: self.standing.map(|standing| standing.value.cpu),
                elapsed_seconds,
            },
            &self.config.ceiling,
        );
        let memory = memory_ceiling(
            &MemoryCeilingInput {
                capacity: capacity.memory,
                service_now: service.memory,
                service_recent_peak: recent.memory,
                previous: self.standing.map(|standing| standing.value.memory),
                elapsed_seconds,
            },
            &self.config.ceiling,
        );
        let value = Reclaimed {
            cpu: cpu.value,
            memory: memory.value,
        };
        self.standing = Some(Standing {
            at_nanos: now_nanos,
            value,
        });
        CeilingView {
            value,
            cpu_reason: cpu.reason.as_str(),
            memory_reason: memory.reason.as_str(),
        }
    }

    /// Splits the ceiling and brings the files to it.
    fn hold(
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

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one tick, each with its own name"
    )]
    fn snapshot(
        &self,
        located: &Located,
        index: &PodIndex,
        usage: &Usage,
        parts: Split,
        ceiling: CeilingView,
        limits: Vec<PodLimits>,
        seconds: f64,
    ) -> Snapshot {
        let mut levels: Vec<LevelUsage> = Vec::new();
        let pods = usage
            .pods
            .iter()
            .map(|(uid, pod)| {
                let info = index.get(uid);
                let used = Reclaimed {
                    cpu: pod.cpu,
                    memory: Bytes::new(pod.memory.working_set),
                };
                if let Some(info) = info {
                    match levels.iter_mut().find(|group| group.level == info.level) {
                        Some(group) => {
                            group.usage = group.usage + used;
                            group.pods.push(info.full_name());
                        }
                        None => levels.push(LevelUsage {
                            level: info.level,
                            usage: used,
                            pods: vec![info.full_name()],
                        }),
                    }
                }
                PodView {
                    uid: uid.clone(),
                    name: info.map(PodInfo::full_name).unwrap_or_default(),
                    level: info.map(|info| info.level),
                    class: pod.class,
                    usage: used,
                    throttled_part: pod.throttled_part,
                }
            })
            .collect();
        Snapshot {
            at_nanos: usage.at_nanos,
            cgroup: located.hierarchy.version().to_string(),
            kubepods: located.kubepods.relative().display().to_string(),
            capacity: usage.capacity,
            machine: usage.machine,
            service: parts.service,
            reclaimed: parts.reclaimed,
            recent_peak: self.peaks.recent(seconds),
            service_peak: ServicePeakView {
                window_seconds: self.peaks.window_seconds(),
                filled_seconds: self.peaks.filled_seconds(seconds),
                samples: self.peaks.samples(),
                usage: self.peaks.window(seconds),
            },
            ceiling,
            levels,
            pods,
            limits,
        }
    }
}

fn load_records(config: &ReflexConfig, notices: &Notices) -> (Records, bool) {
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
