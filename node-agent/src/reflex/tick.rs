//! One tick: sample, ceiling, limits, writes.

use std::collections::BTreeMap;

use katalyst_core::{
    hold::{CpuCeilingInput, MemoryCeilingInput, cpu_ceiling, memory_ceiling},
    reclaimed::Reclaimed,
    units::Millicpu,
};

use super::{
    config::ReflexConfig,
    held::Known,
    locate::{Locate, Located},
    look::Between,
    peaks::Peaks,
    snapshot::{CeilingView, Parts, ServicePeakView, Snapshot},
    surge::Glances,
};
use crate::{
    cgroup::{Controller, PodUid, file::FileError},
    chain,
    hold::Executor,
    metrics::AgentMetrics,
    notices::Notices,
    pods::PodIndex,
    sample::{Descriptors, SampleError, Sampler, Usage, split},
};

/// Subject of the notice while `/proc` cannot be read.
const NOTICE_PROC: &str = "machine";
/// Subject of the notice while files are opened for each reading.
const NOTICE_DESCRIPTORS: &str = "file descriptors";

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
    pub(super) sampler: Sampler,
    pub(super) last: Option<Usage>,
    pub(super) between: Between,
    pub(super) glances: Glances,
    pub(super) standing: Option<Standing>,
    pub(super) known: Known,
    /// The quota each held pod has.
    pub(super) quotas: BTreeMap<PodUid, Millicpu>,
    pub(super) executor: Executor,
}

impl Reflex {
    /// Loads the records; an unusable state directory is a notice, and holding goes on without.
    pub fn new(
        config: ReflexConfig,
        peaks: Peaks,
        notices: Notices,
        metrics: AgentMetrics,
    ) -> Self {
        let executor = Executor::new(
            config.state_dir.clone(),
            config.dry_run,
            notices.clone(),
            metrics.clone(),
        );
        Self {
            sampler: Sampler::new(config.root.clone(), Descriptors::of_process()),
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
            last: None,
            between: Between::default(),
            glances: Glances::default(),
            standing: None,
            quotas: BTreeMap::new(),
            executor,
        }
    }

    /// Samples, decides, writes. `None` until there are two readings, and while the cgroups or `/proc` cannot be read.
    pub fn tick(&mut self, now_nanos: u64, index: &PodIndex) -> Option<Snapshot> {
        self.locate.doubt(now_nanos, index, self.sampler.dirs());
        let located = self.locate.get(|| index.uids())?;
        // Used again, so that a steady node allocates nothing for it.
        let mut usage = self.last.take().unwrap_or_default();
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

        self.prepare_glances(now_nanos, &usage);

        self.metrics.set_usage("machine", usage.machine);
        self.metrics.set_usage("service", parts.service);
        self.metrics.set_usage("reclaimed", parts.reclaimed);
        self.metrics.set_ceiling(ceiling.value, limits.len());
        let parts = Parts {
            located,
            split: parts,
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
            }
        }
        None
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
