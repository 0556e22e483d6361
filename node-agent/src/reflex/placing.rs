//! The pools as part of the reflex: when a pass runs, and what the container runtime asks for.

use std::time::Duration;

use super::{inbox::Turn, locate::Located, tick::Reflex};
use crate::{
    cgroup::PodUid,
    hold::MemoryWriter,
    pods::{PodIndex, PodInfo},
    pools::{Pools, Sensed},
    sample::Usage,
};

impl Reflex {
    /// Plans pools too. Without them, what an earlier run with pools wrote is put back.
    pub fn set_pools(&mut self, pools: Pools) {
        self.pools = Some(pools);
    }

    /// Lets another thread write memory nodes, which may take the kernel long.
    pub fn set_memory_writer(&mut self, writer: MemoryWriter) {
        self.executor.set_memory_writer(writer);
    }

    /// Memory nodes were written: what waited for that goes on.
    pub fn memory_written(&mut self, turn: &Turn<'_>) {
        self.executor.settle(Duration::ZERO);
        if let Some(pools) = &mut self.pools {
            pools.hurry();
        }
        self.look(turn.now_nanos, turn.index);
    }

    /// A pass, where one is due.
    pub(super) fn place(
        &mut self,
        located: &Located,
        index: &PodIndex,
        usage: Option<&Usage>,
        now_nanos: u64,
    ) {
        match &mut self.pools {
            Some(pools) if pools.is_due(now_nanos, index) => {
                let sensed = Sensed {
                    usage,
                    sampler: &self.sampler,
                };
                pools.pass(&mut self.executor, located, index, sensed, now_nanos);
            }
            Some(_) => {}
            None => {
                let known = &self.known;
                self.executor.put_back(&located.hierarchy, |record, knob| {
                    !knob.is_limit() || !known.contains(&record.pod)
                });
            }
        }
    }

    /// The container runtime is about to start a pod: it is held and has its CPUs when this returns.
    pub fn admit(&mut self, turn: &Turn<'_>, pod: PodInfo) {
        self.known.meet(&pod);
        if let Some(pools) = &mut self.pools {
            pools.meet(turn.index, pod);
        }
        self.look(turn.now_nanos, turn.index);
        // Before the first sample a look does nothing.
        if let Some(located) = self.locate.get(|| turn.index.uids()) {
            self.place(&located, turn.index, None, turn.now_nanos);
        }
    }

    /// The container runtime ended a pod.
    pub fn dismiss(&mut self, uid: &PodUid) {
        if let Some(pools) = &mut self.pools {
            pools.part(uid);
        }
    }
}
