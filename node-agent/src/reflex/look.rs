//! Between samples: pods that just started, and surges.

use std::time::Duration;

use katalyst_core::{
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

use super::{locate::Located, surge::is_surge, tick::Reflex};
use crate::{
    cgroup::{KubeClass, read_group},
    pods::PodIndex,
    sample::{PodUsage, Usage},
};

/// What glances need of the last sample.
#[derive(Debug, Default)]
pub(super) struct Between {
    /// CPU of best-effort pods that are not reclaimed: services, which glances count with the reclaimed ones.
    others: Millicpu,
    /// Reclaimed pods outside of the best-effort class (they ask for ordinary resources as well), which glances must read one by one.
    outside: Vec<crate::cgroup::PodUid>,
}

impl Reflex {
    /// Between samples: limits reclaimed pods whose groups appeared since, and lowers the ceiling in a surge of services. Returns true
    /// when there was a reason to act.
    pub fn look(&mut self, now_nanos: u64, index: &PodIndex) -> bool {
        self.between_samples(now_nanos, index, true)
    }

    /// Between samples, many times a second: lowers the ceiling in a surge of services. Returns true when it did.
    pub fn glance(&mut self, now_nanos: u64, index: &PodIndex) -> bool {
        !self.known.is_empty() && self.between_samples(now_nanos, index, false)
    }

    /// Time until the next glance; `None` while there is no batch to hold.
    pub fn glance_pause(&self, now_nanos: u64) -> Option<Duration> {
        (!self.known.is_empty()).then(|| self.pace.pause(now_nanos))
    }

    /// A pressure trigger fired: services wait for CPU.
    pub fn pressed(&mut self, now_nanos: u64) {
        self.metrics.pressed();
        self.pace.alert(now_nanos);
    }

    fn between_samples(&mut self, now_nanos: u64, index: &PodIndex, arrivals: bool) -> bool {
        let Some(located) = self.locate.get(|| index.uids()) else {
            self.sampler.forget();
            return false;
        };
        // Whatever follows: news of groups that nobody takes would wake the thread without end.
        if arrivals
            && self
                .sampler
                .refresh(now_nanos, &located.hierarchy, &located.kubepods)
                .is_err()
        {
            return false;
        }
        let (Some(standing), Some(mut usage)) = (self.standing, self.last.take()) else {
            return false;
        };
        let arrived = arrivals && self.arrivals(&located, index, &mut usage);
        let surge = self.surge(now_nanos, &usage);
        if surge.is_some() {
            self.pace.alert(now_nanos);
        }
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
        if arrivals {
            self.place(&located, index, Some(&usage), now_nanos);
        }
        self.last = Some(usage);
        act
    }

    /// Adds pods whose groups appeared since the last sample; true when one is reclaimed.
    fn arrivals(&mut self, located: &Located, index: &PodIndex, usage: &mut Usage) -> bool {
        self.known.learn(index);
        let mut found = false;
        for dir in self.sampler.dirs() {
            if !self.known.contains(&dir.uid) || usage.pods.contains_key(&dir.uid) {
                continue;
            }
            let Ok(group) = read_group(&located.hierarchy, &dir.relative) else {
                continue;
            };
            let pod = PodUsage {
                class: dir.class,
                relative: dir.relative.clone(),
                cpu: Millicpu::ZERO,
                memory: group.memory.unwrap_or_default(),
                throttled_part: 0.0,
            };
            usage.pods.insert(dir.uid.clone(), pod);
            found = true;
        }
        found
    }

    /// What services use now, where that is far above what the ceiling was made for.
    fn surge(&mut self, now_nanos: u64, usage: &Usage) -> Option<Millicpu> {
        let began = std::time::Instant::now();
        let times = self
            .sampler
            .glance(self.config.machine_usage, &self.between.outside);
        self.pace.cost(began.elapsed());
        let rates = self.glances.push(now_nanos, times?)?;
        self.pace.batch(rates.batch, usage.capacity.cpu);
        let others = self.between.others;
        let recent = self.peaks.recent(now_nanos as f64 / 1e9);
        is_surge(rates.long + others, recent.cpu, usage.capacity.cpu)
            .then(|| rates.long.max(rates.short) + others)
    }

    /// After a sample: what the glances until the next one need of it, and their starting point.
    pub(super) fn prepare_glances(&mut self, now_nanos: u64, usage: &Usage) {
        let Between { others, outside } = &mut self.between;
        outside.clear();
        *others = Millicpu::ZERO;
        for (uid, pod) in &usage.pods {
            match (pod.class, self.known.contains(uid)) {
                (KubeClass::BestEffort, false) => *others += pod.cpu,
                (KubeClass::Guaranteed | KubeClass::Burstable, true) => outside.push(uid.clone()),
                (KubeClass::BestEffort, true)
                | (KubeClass::Guaranteed | KubeClass::Burstable, false) => {}
            }
        }
        match self.sampler.glance(self.config.machine_usage, outside) {
            Some(times) => {
                self.glances.push(now_nanos, times);
            }
            None => self.glances.clear(),
        }
    }
}
