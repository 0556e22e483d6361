//! What the binder follows from, and its knobs.

use std::collections::BTreeMap;

use crate::{
    qos::{Level, NumaSet},
    topology::Topology,
    units::Bytes,
};

/// Memory of one NUMA node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeMemory {
    /// Kernel's number.
    pub id: u32,
    /// All of it.
    pub total: Bytes,
    /// Free pages (`MemFree` of the node's meminfo).
    pub free: Bytes,
    /// Clean file pages that can be dropped (`Inactive(file)` less dirty ones).
    pub droppable: Bytes,
    /// Sum of its zones' low watermarks (`/proc/zoneinfo`): where kswapd wakes up.
    pub low: Bytes,
    /// Fraction of time that tasks stall for memory of this node, or a proxy of it; `None` where nothing measures it.
    pub pressure: Option<f64>,
    /// A pod has it to itself.
    pub exclusive: bool,
}

/// One pod's memory.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryPod {
    /// Its UID.
    pub uid: String,
    /// Its level.
    pub level: Level,
    /// It is bound to its NUMA nodes by wish or by the scheduler, and never moved.
    pub bound: bool,
    /// Resident bytes by NUMA node (`memory.numa_stat`: anonymous, file and shared memory).
    pub resident: BTreeMap<u32, Bytes>,
    /// Memory nodes it may use; `None`: all.
    pub mems: Option<NumaSet>,
    /// When the binder last changed them, in the seconds of the input.
    pub changed_seconds: Option<f64>,
}

/// Everything a plan follows from.
#[derive(Debug, Clone, Copy)]
pub struct RebindInput<'a> {
    /// The machine; for distances.
    pub topology: &'a Topology,
    /// Its NUMA nodes with memory.
    pub nodes: &'a [NodeMemory],
    /// Pods, in any order.
    pub pods: &'a [MemoryPod],
    /// Bytes that were moved in the current interval already.
    pub moved: Bytes,
    /// A clock that only goes forward.
    pub now_seconds: f64,
}

/// The knobs of the binder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RebindParams {
    /// A node is hot below this multiple of its low watermark. 2: kswapd is about to run, and has not run in vain yet.
    pub hot_watermarks: f64,
    /// And below this fraction of its memory, whichever is more. 0.02: low watermarks are some tenths of a percent on large nodes.
    pub hot_fraction: f64,
    /// And, where pressure is measured, when it is above this and the node is not cool. 0.1, the memory pressure at which Katalyst's offloading stops.
    pub hot_pressure: f64,
    /// Fraction of a target's memory that must stay to be had there after a move. 0.1: five times what makes a node hot.
    pub reserve_fraction: f64,
    /// Smallest pod worth a move, by its bytes on the hot node. 128 MiB.
    pub smallest: Bytes,
    /// Most bytes moved in an interval; the agent's is an hour. 4 GiB, a third of what Katalyst moves in a round of 30 s.
    pub most_in_interval: Bytes,
    /// Seconds after a change in which a pod is not changed again. 900.
    pub cool_down_seconds: f64,
    /// Seconds that moving 1 GiB to a node at distance 10 costs. 0.5, an assumption: 2 GiB/s.
    pub migrate_seconds: f64,
    /// Seconds of stall that 1 GiB costs where it is reclaimed and read back instead. 4, an assumption: a solid-state disk at 250 MiB/s.
    pub reclaim_seconds: f64,
    /// Whether shared pods without NUMA binding may be moved when batch is not enough. True.
    pub move_shared: bool,
}

impl Default for RebindParams {
    fn default() -> Self {
        Self {
            hot_watermarks: 2.0,
            hot_fraction: 0.02,
            hot_pressure: 0.1,
            reserve_fraction: 0.1,
            smallest: Bytes::new(128 << 20),
            most_in_interval: Bytes::new(4 << 30),
            cool_down_seconds: 900.0,
            migrate_seconds: 0.5,
            reclaim_seconds: 4.0,
            move_shared: true,
        }
    }
}

impl NodeMemory {
    /// What can be had quickly.
    pub fn available(&self) -> Bytes {
        self.free + self.droppable
    }

    /// Below this it is hot.
    pub fn floor(&self, params: &RebindParams) -> Bytes {
        self.low
            .scale(params.hot_watermarks)
            .max(self.total.scale(params.hot_fraction))
    }

    /// Whether it is hot.
    pub fn is_hot(&self, params: &RebindParams) -> bool {
        let stalls = self
            .pressure
            .is_some_and(|pressure| pressure > params.hot_pressure);
        self.available() < self.floor(params) || stalls && !self.is_cool(params)
    }

    /// Whether it is far from hot.
    pub fn is_cool(&self, params: &RebindParams) -> bool {
        self.available() >= self.floor(params).scale(2.0)
    }
}
