//! From the ceiling to the files: split it, and hand each pod's limits to the executor.

use katalyst_core::{reclaimed::Reclaimed, units::Bytes};

use super::{locate::Located, tick::Reflex};
use crate::{
    hold::{HeldPod, PodLimits, Purpose, pod_limits, settings},
    pods::PodIndex,
    sample::Usage,
};

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
        for HeldPod { uid, .. } in &pods {
            if let Some(requests) = self.known.requests(uid) {
                self.executor.hold(uid, requests);
            }
        }
        let execution = self
            .executor
            .execute(&located.hierarchy, Purpose::Limits, wanted);
        if execution.acted {
            self.quotas = limits
                .iter()
                .map(|limits| (limits.uid.clone(), limits.cpu))
                .collect();
        }
        limits
    }
}
