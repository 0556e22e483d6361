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
    peaks::Peaks,
    snapshot::{CeilingView, Parts, ServicePeakView, Snapshot},
    surge::Glance,
};
use crate::{
    cgroup::{Controller, PodUid, file::FileError},
    chain,
    hold::Executor,
    metrics::AgentMetrics,
    notices::Notices,
    pods::PodIndex,
    sample::{Counters, Usage, read_counters, read_machine, split, usage_between},
};

/// Subject of the notice while `/proc` cannot be read.
const NOTICE_PROC: &str = "machine";

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
    pub(super) before: Option<Counters>,
    pub(super) last: Option<Usage>,
    pub(super) glance: Option<Glance>,
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
            before: None,
            last: None,
            glance: None,
            standing: None,
            quotas: BTreeMap::new(),
            executor,
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
        self.executor.first_look(counters.pods.keys().cloned());
        self.before = Some(counters);
        let mut usage = usage?;
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
