//! One tick: sample, ceiling, limits, writes.

use std::collections::BTreeMap;

use katalyst_core::{
    hold::{CpuCeilingInput, MemoryCeilingInput, cpu_ceiling, memory_ceiling},
    reclaimed::Reclaimed,
    units::Millicpu,
};

use super::{
    checkpoint::Checkpoint,
    config::ReflexConfig,
    held::Known,
    locate::{Locate, Located},
    look::Between,
    numa::KnownMachine,
    pace::Pace,
    peaks::Peaks,
    snapshot::{CeilingView, Parts, ServicePeakView, Snapshot},
    surge::Glances,
    triggers::{Triggers, Without},
};
use crate::{
    cgroup::{Controller, PodUid, file::FileError},
    chain,
    hold::Executor,
    metrics::AgentMetrics,
    notices::Notices,
    pods::PodIndex,
    pools::Pools,
    sample::{Descriptors, SampleError, Sampler, Usage, split},
};

/// Subject of the notice while `/proc` cannot be read.
const NOTICE_PROC: &str = "machine";
/// Subject of the notice while files are opened for each reading.
const NOTICE_DESCRIPTORS: &str = "file descriptors";
/// Subject of the notice while the service peak is not kept.
const NOTICE_PEAKS: &str = "service peak";
/// Subject of the notice while there are no pressure triggers.
const NOTICE_TRIGGERS: &str = "psi triggers";

/// The ceiling in force.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    at_nanos: u64,
    pub(super) value: Reclaimed,
}

/// State between ticks.
pub struct Reflex {
    pub(super) config: ReflexConfig,
    pub(super) notices: Notices,
    pub(super) metrics: AgentMetrics,
    pub(super) locate: Locate,
    pub(super) peaks: Peaks,
    checkpoint: Option<Checkpoint>,
    pub(super) sampler: Sampler,
    pub(super) machine: KnownMachine,
    pub(super) last: Option<Usage>,
    pub(super) between: Between,
    pub(super) glances: Glances,
    pub(super) pace: Pace,
    pub(super) triggers: Triggers,
    /// What finds a surge between samples, for a person.
    surge_watch: String,
    pub(super) standing: Option<Standing>,
    pub(super) known: Known,
    /// The quota each held pod has.
    pub(super) quotas: BTreeMap<PodUid, Millicpu>,
    pub(super) executor: Executor,
    pub(super) pools: Option<Pools>,
}

impl Reflex {
    /// Loads the records; an unusable state directory is a notice, and holding goes on without.
    pub fn new(
        config: ReflexConfig,
        mut peaks: Peaks,
        notices: Notices,
        metrics: AgentMetrics,
    ) -> Self {
        let checkpoint = (!config.dry_run).then(|| Checkpoint::new(&config.state_dir));
        if let Some((away, saved)) = checkpoint
            .as_ref()
            .and_then(|checkpoint| checkpoint.load(wall_seconds()))
        {
            peaks.restore(0.0, away, &saved);
        }
        let executor = Executor::new(
            config.state_dir.clone(),
            config.dry_run,
            notices.clone(),
            metrics.clone(),
        );
        Self {
            sampler: Sampler::new(
                config.root.clone(),
                Descriptors::half_of_process(),
                config.clock,
            ),
            locate: Locate::new(
                config.root.clone(),
                config.kubepods.clone(),
                notices.clone(),
            ),
            known: Known::from_records(executor.records()),
            config,
            notices,
            metrics,
            peaks,
            checkpoint,
            machine: KnownMachine::default(),
            last: None,
            between: Between::default(),
            glances: Glances::default(),
            pace: Pace::default(),
            triggers: Triggers::default(),
            surge_watch: String::new(),
            standing: None,
            quotas: BTreeMap::new(),
            executor,
            pools: None,
        }
    }

    /// Samples, decides, writes. `None` until there are two readings, and while the cgroups or `/proc` cannot be read.
    pub fn tick(&mut self, now_nanos: u64, index: &PodIndex) -> Option<Snapshot> {
        self.locate.doubt(now_nanos, index, self.sampler.dirs());
        let Some(located) = self.locate.get(|| index.uids()) else {
            self.sampler.forget();
            return None;
        };
        // Used again, so that a steady node allocates nothing for it.
        let mut usage = self.last.take().unwrap_or_default();
        self.follow_machine(now_nanos);
        self.read(now_nanos, &located)?;
        if let Some(counters) = self.sampler.counters() {
            self.executor.first_look(counters.pods.keys().cloned());
        }
        if !self.sampler.usage(&mut usage) {
            return None;
        }
        self.limit_capacity(&mut usage);

        self.follow_pods(&located, index, &usage);
        if !index.synced && self.known.is_empty() {
            // Batch would count as service, and throttle itself.
            return None;
        }
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
        self.place(&located, index, Some(&usage), now_nanos);

        if self
            .checkpoint
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.due(seconds))
        {
            self.save_peaks(now_nanos);
        }
        self.prepare_glances(now_nanos, &usage);
        self.follow_triggers(&located);

        self.metrics.set_usage("machine", usage.machine);
        self.metrics.set_usage("service", parts.service);
        self.metrics.set_usage("reclaimed", parts.reclaimed);
        self.metrics.set_ceiling(ceiling.value, limits.len());
        let numa = self.numa(&usage, &parts);
        let parts = Parts {
            located,
            split: parts,
            numa,
            memory_nodes: self.memory_nodes(&usage),
            surge_watch: self.surge_watch.clone(),
            recent_peak: self.peaks.recent(seconds),
            service_peak: ServicePeakView {
                window_seconds: self.peaks.window_seconds(),
                filled_seconds: self.peaks.filled_seconds(seconds),
                samples: self.peaks.samples(),
                usage: self.peaks.window(seconds),
            },
            ceiling,
            limits,
        };
        let snapshot = Snapshot::compose(&usage, index, parts);
        self.last = Some(usage);
        Some(snapshot)
    }

    fn read(&mut self, now_nanos: u64, located: &Located) -> Option<()> {
        let metrics = &self.metrics;
        let problem = |error: FileError| {
            metrics.error(error.reason());
            tracing::debug!(error = chain(&error), "unreadable");
        };
        let sampled =
            self.sampler
                .sample(now_nanos, &located.hierarchy, &located.kubepods, problem);
        match sampled {
            Ok(()) => {
                self.notices.clear(NOTICE_PROC);
                self.notices.put(NOTICE_DESCRIPTORS, self.sampler.short_of_descriptors().then(|| {
                    "the process may have too few for this node; some files are opened for each sample, which costs CPU".to_owned()
                }));
                return Some(());
            }
            Err(SampleError::Machine(error)) => {
                self.metrics.error(error.reason());
                self.notices.set(NOTICE_PROC, chain(&error));
            }
            Err(SampleError::Lost(_)) => {
                self.locate.lost();
                self.sampler.forget();
                self.glances.clear();
                self.triggers.clear();
            }
        }
        None
    }

    /// Keeps the service peak for the next run; also called at the end.
    pub(super) fn save_peaks(&mut self, now_nanos: u64) {
        let now = now_nanos as f64 / 1e9;
        let Some(checkpoint) = &mut self.checkpoint else {
            return;
        };
        let saved = checkpoint.save(now, wall_seconds(), self.peaks.saved(now));
        self.notices.put(
            NOTICE_PEAKS,
            saved.err().map(|error| {
                format!("cannot be kept in the state directory ({error}); a restart forgets it")
            }),
        );
    }

    /// Keeps the pressure triggers on the groups of services, while there is batch to hold.
    fn follow_triggers(&mut self, located: &Located) {
        if self.known.is_empty() {
            self.triggers.clear();
            self.notices.clear(NOTICE_TRIGGERS);
            "no reclaimed pod to hold".clone_into(&mut self.surge_watch);
            return;
        }
        let set = self.triggers.follow(
            &self.config.root,
            &located.hierarchy,
            &located.kubepods,
            self.sampler.dirs(),
        );
        self.pace.set_triggers(set.is_ok());
        // Counters find a surge as well: only what a person can change is worth a notice.
        let refused = set.as_ref().err().filter(|without| without.is_refused());
        self.notices
            .put(NOTICE_TRIGGERS, refused.map(Without::text));
        self.surge_watch = match set {
            Ok(()) => "pressure triggers of services, and counters".to_owned(),
            Err(without) => without.text(),
        };
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
            let execution = self.executor.put_back(&located.hierarchy, |record, knob| {
                record.pod == uid && knob.is_limit()
            });
            tracing::info!(%uid, files = execution.written, "pod is not reclaimed any more; its old values are back");
        }
        self.known.prune(index, |uid| usage.pods.contains_key(uid));
        self.quotas.retain(|uid, _| usage.pods.contains_key(uid));
        let known = &self.known;
        self.executor.prune(
            |uid| usage.pods.contains_key(uid),
            |group, record| {
                usage.pods.contains_key(&record.pod)
                    || located.hierarchy.dir(Controller::Cpu, group).exists()
            },
            |uid| known.contains(uid),
        );
    }

    pub(super) fn ceiling(
        &mut self,
        capacity: Reclaimed,
        service: Reclaimed,
        now_nanos: u64,
    ) -> CeilingView {
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
}

/// Seconds since 1970: only for telling how long ago an earlier run wrote its peaks.
fn wall_seconds() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1e3
}
