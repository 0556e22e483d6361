//! What each NUMA node is used for, sample by sample.

use std::{collections::BTreeMap, time::Duration};

use katalyst_core::{topology::Topology, units::Bytes};

use super::tick::Reflex;
use crate::{
    cgroup::PodUid,
    sample::{NumaUsage, Split, Usage},
    topology,
};

/// CPUs and memory are hot-plugged seldom; a change of the number of online CPUs is seen at once.
const REREAD: Duration = Duration::from_secs(300);

/// The machine as it was read last.
#[derive(Debug, Default)]
pub(super) struct KnownMachine {
    topology: Topology,
    online_cpus: u64,
    read_nanos: Option<u64>,
}

impl Reflex {
    /// Use of each NUMA node in the last interval.
    pub(super) fn numa(&self, usage: &Usage, split: &Split) -> Vec<NumaUsage> {
        let topology = &self.machine.topology;
        let mut nodes = topology.numa_nodes();
        if let (Some(only), None) = (nodes.next(), nodes.next()) {
            return vec![NumaUsage {
                node: only.id,
                machine: usage.machine,
                reclaimed: split.reclaimed,
                service: split.service,
                cpu_estimated: false,
            }];
        }
        self.sampler
            .numa(topology, usage, split.reclaimed.cpu, |uid| {
                self.known.contains(uid)
            })
    }

    /// Each pod's memory on each node; empty on a machine of one node.
    pub(super) fn memory_nodes(&self, usage: &Usage) -> BTreeMap<PodUid, BTreeMap<u32, Bytes>> {
        usage
            .pods
            .keys()
            .filter_map(|uid| {
                let nodes = self.sampler.memory_nodes(uid);
                (!nodes.is_empty()).then(|| {
                    let nodes = nodes
                        .iter()
                        .map(|memory| (memory.node, Bytes::new(memory.total())));
                    (uid.clone(), nodes.collect())
                })
            })
            .collect()
    }

    /// Reads the machine where it may have changed; before a sample, so that the first two measure its nodes.
    pub(super) fn follow_machine(&mut self, now_nanos: u64) {
        let online = self
            .sampler
            .counters()
            .map_or(0, |counters| counters.machine.stat.online_cpus);
        let known = &mut self.machine;
        let fresh = known
            .read_nanos
            .is_some_and(|read| u128::from(now_nanos.saturating_sub(read)) < REREAD.as_nanos());
        if fresh && known.online_cpus == online {
            return;
        }
        known.online_cpus = online;
        known.read_nanos = Some(now_nanos);
        // What the machine does not tell is said with the report.
        let (topology, _) = topology::read(&self.config.root);
        if topology != known.topology {
            self.sampler.measure_nodes(&topology);
            known.topology = topology;
        }
    }
}
