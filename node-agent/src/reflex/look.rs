//! Between ticks: pods that just started, and surges.

use katalyst_core::{
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

use super::{
    locate::Located,
    surge::{comparable, glance, is_surge, service_between},
    tick::Reflex,
};
use crate::{
    cgroup::read_group,
    pods::PodIndex,
    sample::{PodUsage, Usage},
};

impl Reflex {
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
}
