//! Which shared pods run wild, by what the kernel says of them; `katalyst_core::pools::wild` decides.
//!
//! Use comes with the sample. Throttling is read here, from `cpu.stat` of the pod's group and of its containers' (kubelet gives each a quota), and only of pods
//! with a limit that use half of it while services crowd the machine, or that run wild already: on other nodes nothing is read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use katalyst_core::{
    pools::{
        PodReason, PoolPlan,
        wild::{WildParams, WildReading, Wildness, follow_wildness},
    },
    qos::Level,
    units::Millicpu,
};

use super::inputs::Seen;
use crate::{
    cgroup::{Controller, Hierarchy, PodUid, Version, below, file},
    kernel::cpu_stat,
    sample::Usage,
};

/// Enforcement intervals of a group so far: all, and those in which it ran out of quota.
type Intervals = (u64, u64);

/// What is known of pods from pass to pass.
#[derive(Debug, Default)]
pub(super) struct Wild {
    params: WildParams,
    pods: BTreeMap<PodUid, Wildness>,
    intervals: BTreeMap<PathBuf, Intervals>,
}

impl Wild {
    /// Takes a reading of every shared pod with a group. Without a sample, or where the sample is one that was seen already, nothing changes.
    pub(super) fn follow(
        &mut self,
        hierarchy: &Hierarchy,
        pods: &[Seen<'_>],
        plan: Option<&PoolPlan>,
        usage: Option<&Usage>,
        now_seconds: f64,
    ) {
        let Some(usage) = usage else {
            return;
        };
        let crowded = self.is_crowded(pods, usage);
        let mut intervals = BTreeMap::new();
        let mut next = BTreeMap::new();
        for seen in pods.iter().filter(|seen| seen.info.level == Level::Shared) {
            let (uid, asks) = (&seen.info.uid, &seen.info.asks);
            let Some(dir) = seen.dir else {
                continue;
            };
            let before = self.pods.get(uid);
            let reading = usage.pods.get(uid).map(|pod| {
                let suspect = before.is_some_and(|before| before.runs_wild)
                    || asks
                        .cpu_limit
                        .is_some_and(|limit| crowded && pod.cpu >= limit.scale(0.5));
                let throttled = (suspect && asks.cpu_limit.is_some())
                    .then(|| self.throttled(hierarchy, &dir.relative, &mut intervals))
                    .flatten();
                WildReading {
                    request: asks.cpu_request,
                    limited: asks.cpu_limit.is_some(),
                    usage: pod.cpu,
                    // Far below its limit nothing holds it back.
                    throttled: throttled.or((!suspect).then_some(0.0)),
                    own_cpus: own_cpus(plan, uid),
                    crowded,
                }
            });
            let wildness = follow_wildness(before, reading.as_ref(), now_seconds, &self.params);
            let was = before.is_some_and(|before| before.runs_wild);
            if wildness.runs_wild != was {
                tracing::info!(
                    pod = seen.info.full_name(),
                    runs_wild = wildness.runs_wild,
                    sign = ?wildness.sign,
                    usage = reading.map(|reading| reading.usage.get()),
                    throttled = reading.and_then(|reading| reading.throttled),
                    "isolation"
                );
            }
            next.insert(uid.clone(), wildness);
        }
        self.pods = next;
        self.intervals = intervals;
    }

    /// Whether a pod runs wild.
    pub(super) fn runs_wild(&self, uid: &PodUid) -> bool {
        self.pods.get(uid).is_some_and(|pod| pod.runs_wild)
    }

    /// Pods that run wild or are about to, or about to be trusted again.
    pub(super) fn view(&self) -> BTreeMap<PodUid, Wildness> {
        self.pods
            .iter()
            .filter(|(_, pod)| pod.runs_wild || pod.since_seconds.is_some())
            .map(|(uid, pod)| (uid.clone(), *pod))
            .collect()
    }

    /// Whether services use so much that threads that wake up find no idle CPU. Batch does not count: it makes room at once.
    fn is_crowded(&self, pods: &[Seen<'_>], usage: &Usage) -> bool {
        let batch = |uid: &PodUid| {
            pods.iter()
                .any(|seen| seen.info.level == Level::Reclaimed && &seen.info.uid == uid)
        };
        let services: Millicpu = usage
            .pods
            .iter()
            .filter(|(uid, _)| !batch(uid))
            .map(|(_, pod)| pod.cpu)
            .sum();
        services >= usage.capacity.cpu.scale(self.params.crowded)
    }

    /// The largest part of the intervals since the last pass in which the pod or one of its containers ran out of quota; `None` without a last pass.
    fn throttled(
        &self,
        hierarchy: &Hierarchy,
        group: &Path,
        now: &mut BTreeMap<PathBuf, Intervals>,
    ) -> Option<f64> {
        let containers = below(hierarchy, Controller::Cpu, group)
            .into_iter()
            .filter(|of| of.parent() == Some(group));
        let mut most: Option<f64> = None;
        for of in std::iter::once(group.to_owned()).chain(containers) {
            let Some((all, out)) = intervals(hierarchy, &of) else {
                continue;
            };
            if let Some((all_before, out_before)) = self.intervals.get(&of)
                && let Some(passed @ 1..) = all.checked_sub(*all_before)
            {
                let part = out.saturating_sub(*out_before) as f64 / passed as f64;
                most = Some(most.map_or(part, |most| most.max(part)));
            }
            now.insert(of, (all, out));
        }
        most
    }
}

fn own_cpus(plan: Option<&PoolPlan>, uid: &PodUid) -> Option<u32> {
    let plan = plan?;
    let isolated = plan.reasons.get(uid.as_str()) == Some(&PodReason::Isolated);
    let cpus = plan.pods.get(uid.as_str()).filter(|_| isolated)?;
    u32::try_from(cpus.cpus.len()).ok()
}

fn intervals(hierarchy: &Hierarchy, group: &Path) -> Option<Intervals> {
    let text = file::read(&hierarchy.dir(Controller::Cpu, group).join("cpu.stat")).ok()?;
    let stat = match hierarchy.version() {
        Version::V1 => cpu_stat::parse_v1(&text),
        Version::V2 => cpu_stat::parse_v2(&text),
    };
    Some((stat.nr_periods?, stat.nr_throttled?))
}
