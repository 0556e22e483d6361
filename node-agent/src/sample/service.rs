//! Which part of the machine's use belongs to services.
//!
//! Everything that is not a reclaimed pod counts as service: the operating system, kubelet, other best-effort pods and whatever else the
//! machine runs. That errs on the side of services.

use clap::ValueEnum;
use katalyst_core::{
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};
use serde::Serialize;

use super::usage::Usage;
use crate::cgroup::PodUid;

/// What "the machine's use" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineUsage {
    /// `/proc/stat` and `/proc/meminfo`: everything that runs on the kernel. Right for a machine that is one node.
    #[default]
    Proc,
    /// kubelet's tree of pods only. For several nodes that share one kernel (kind, a test node on a workstation) and must not take
    /// each other's batch for services. Work outside of pods goes unseen.
    Kubepods,
}

/// The machine's use, divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Split {
    /// Everything but reclaimed pods. Memory: what cannot be dropped.
    pub service: Reclaimed,
    /// Reclaimed pods. Memory: their working sets.
    pub reclaimed: Reclaimed,
}

/// Divides the use of an interval. Ended reclaimed pods count as reclaimed.
pub fn split(usage: &Usage, basis: MachineUsage, is_reclaimed: impl Fn(&PodUid) -> bool) -> Split {
    let mut reclaimed = Reclaimed::ZERO;
    let mut resident = Bytes::ZERO;
    for (_, pod) in usage.pods.iter().filter(|(uid, _)| is_reclaimed(uid)) {
        reclaimed = reclaimed
            + Reclaimed {
                cpu: pod.cpu,
                memory: Bytes::new(pod.memory.working_set),
            };
        resident += Bytes::new(pod.memory.resident);
    }
    let departed: Millicpu = usage
        .departed
        .iter()
        .filter(|(uid, _)| is_reclaimed(uid))
        .map(|(_, cpu)| *cpu)
        .sum();
    reclaimed.cpu += departed;
    let whole = match basis {
        MachineUsage::Proc => usage.machine,
        MachineUsage::Kubepods => usage.kubepods,
    };
    Split {
        service: whole
            - Reclaimed {
                cpu: reclaimed.cpu,
                memory: resident,
            },
        reclaimed,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use super::*;
    use crate::{
        cgroup::{KubeClass, MemoryUse},
        sample::PodUsage,
    };

    fn pod(cpu: u64, working_set: u64, resident: u64) -> PodUsage {
        PodUsage {
            class: KubeClass::BestEffort,
            relative: PathBuf::new(),
            cpu: Millicpu::new(cpu),
            memory: MemoryUse {
                usage: working_set,
                working_set,
                resident,
            },
            throttled_part: 0.0,
        }
    }

    #[test]
    fn services_are_the_rest() {
        let usage = Usage {
            at_nanos: 1,
            elapsed_seconds: 1.0,
            capacity: Reclaimed::new(4000, 1000),
            machine: Reclaimed::new(3000, 500),
            kubepods: Reclaimed::new(2500, 450),
            pods: BTreeMap::from([
                (PodUid::new("batch"), pod(1000, 200, 150)),
                (PodUid::new("other"), pod(400, 100, 100)),
            ]),
            departed: BTreeMap::from([
                (PodUid::new("ended-batch"), Millicpu::new(300)),
                (PodUid::new("ended-other"), Millicpu::new(200)),
            ]),
        };
        let ours = |uid: &PodUid| uid.as_str().ends_with("batch");
        let proc = split(&usage, MachineUsage::Proc, ours);
        assert_eq!(proc.reclaimed, Reclaimed::new(1300, 200));
        assert_eq!(proc.service, Reclaimed::new(1700, 350));
        let tree = split(&usage, MachineUsage::Kubepods, ours);
        assert_eq!(tree.service, Reclaimed::new(1200, 300));
    }
}
