//! Use of each NUMA node, measured: CPU time from the per-CPU lines of `/proc/stat`, memory from each node's `meminfo`.
//!
//! What reclaimed pods use of a node is measured as far as the kernel tells it:
//!
//! - memory from each pod's `memory.numa_stat`, every 30 s (the kernel walks the group's children and nodes for it);
//! - CPU on version 1 from `cpuacct.usage_percpu` of the best-effort group, each sample; version 2 counts no CPU time by CPU, so there the
//!   reclaimed share of a node is estimated from the node's part of the machine's busy time, and marked as estimated.
//!
//! Services have the rest of each node, as in the machine as a whole.

use katalyst_core::{
    reclaimed::Reclaimed,
    topology::Topology,
    units::{Bytes, Millicpu},
};
use serde::Serialize;

use crate::kernel::proc_stat::TICKS_PER_SECOND;

/// Use of one NUMA node.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NumaUsage {
    /// Kernel's number.
    pub node: u32,
    /// Everything on it: CPU time of its CPUs; memory that is neither free nor to be had by dropping caches.
    pub machine: Reclaimed,
    /// Reclaimed pods.
    pub reclaimed: Reclaimed,
    /// The rest.
    pub service: Reclaimed,
    /// The reclaimed CPU is an estimate.
    pub cpu_estimated: bool,
}

/// Counters by CPU at two moments, nanoseconds.
#[derive(Debug, Clone, Default)]
pub struct PerCpu {
    now: Vec<(u32, u64)>,
    before: Vec<(u32, u64)>,
    readings: u8,
}

impl PerCpu {
    /// Takes a reading; CPUs ascend.
    pub(super) fn take(&mut self, counters: impl Iterator<Item = (u32, u64)>) {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
        self.now.extend(counters);
        self.readings = self.readings.saturating_add(1);
    }

    /// Forgets both readings.
    pub(super) fn forget(&mut self) {
        self.readings = 0;
    }

    /// How far the counters of these CPUs went together; `None` without two readings. A CPU that was not there before, or whose counter
    /// went back, counts nothing.
    fn advance(&self, mut is_of: impl FnMut(u32) -> bool) -> Option<u64> {
        if self.readings < 2 {
            return None;
        }
        Some(
            self.now
                .iter()
                .filter(|(cpu, _)| is_of(*cpu))
                .filter_map(|(cpu, now)| {
                    let at = self
                        .before
                        .binary_search_by_key(cpu, |(cpu, _)| *cpu)
                        .ok()?;
                    now.checked_sub(self.before.get(at)?.1)
                })
                .fold(0, u64::saturating_add),
        )
    }
}

/// What the split of a machine needs besides its per-CPU counters.
#[derive(Debug, Clone, Copy)]
pub struct NumaInput<'a> {
    /// The machine.
    pub topology: &'a Topology,
    /// Busy time by CPU, nanoseconds.
    pub busy: &'a PerCpu,
    /// Best-effort CPU time by CPU, nanoseconds; without readings on version 2.
    pub best_effort: &'a PerCpu,
    /// Length of the interval, seconds.
    pub elapsed_seconds: f64,
    /// CPU of all reclaimed pods in it.
    pub reclaimed_cpu: Millicpu,
}

/// Use of every NUMA node. `memory`: bytes in use on a node; `reclaimed`: bytes of reclaimed pods on it, in all and what cannot be dropped.
pub fn numa_usage(
    input: &NumaInput<'_>,
    memory: impl Fn(u32) -> Option<u64>,
    reclaimed: impl Fn(u32) -> (u64, u64),
) -> Vec<NumaUsage> {
    let millicpu =
        |nanos: u64| Millicpu::new((nanos as f64 / input.elapsed_seconds / 1e6).round() as u64);
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let Some(whole) = input.busy.advance(|_| true) else {
        return Vec::new();
    };
    let batch = input.best_effort.advance(|_| true);
    input
        .topology
        .numa_nodes()
        .map(|node| {
            let on_node = |cpu: u32| node.cpus.contains(cpu);
            let busy = input.busy.advance(on_node).unwrap_or(0);
            let (part, estimated) = match (batch, input.best_effort.advance(on_node)) {
                (Some(all), Some(here)) => (share(here, all), false),
                _ => (share(busy, whole), true),
            };
            let machine = Reclaimed {
                cpu: millicpu(busy),
                memory: Bytes::new(memory(node.id).unwrap_or(0)),
            };
            let (charged, resident) = reclaimed(node.id);
            let batch = Reclaimed {
                cpu: input.reclaimed_cpu.scale(part).min(machine.cpu),
                memory: Bytes::new(charged),
            };
            NumaUsage {
                node: node.id,
                machine,
                reclaimed: batch,
                service: machine
                    - Reclaimed {
                        memory: Bytes::new(resident),
                        ..batch
                    },
                cpu_estimated: estimated,
            }
        })
        .collect()
}

/// Ticks of `/proc/stat` as nanoseconds.
pub(super) fn tick_nanos(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000_000_000 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use katalyst_core::topology::{Cpu, NumaNode};

    use super::*;

    /// Two nodes of two CPUs, and one of memory only.
    fn topology() -> Topology {
        let cpus = (0..4).map(|id| Cpu {
            id,
            core: id,
            l3: id / 2 * 2,
            numa: id / 2,
            socket: 0,
        });
        let nodes = [0, 1, 7].map(|id| NumaNode {
            id,
            memory: Bytes::new(1_000),
            ..NumaNode::default()
        });
        Topology::new(cpus, nodes)
    }

    fn per_cpu(readings: &[[u64; 4]]) -> PerCpu {
        let mut counters = PerCpu::default();
        for reading in readings {
            let millis = (0..).zip(reading.iter().map(|millis| millis * 1_000_000));
            counters.take(millis);
        }
        counters
    }

    fn usage(busy: &PerCpu, best_effort: &PerCpu) -> Vec<NumaUsage> {
        let topology = topology();
        let input = NumaInput {
            topology: &topology,
            busy,
            best_effort,
            elapsed_seconds: 2.0,
            reclaimed_cpu: Millicpu::new(600),
        };
        let memory = |node| {
            [(0, 700), (1, 300), (7, 50)]
                .into_iter()
                .find_map(|(of, bytes)| (of == node).then_some(bytes))
        };
        numa_usage(
            &input,
            memory,
            |node| if node == 0 { (200, 150) } else { (0, 0) },
        )
    }

    #[test]
    fn measured_where_the_kernel_counts_by_cpu() {
        let busy = per_cpu(&[[100; 4], [1_100, 1_100, 600, 100]]);
        let best_effort = per_cpu(&[[0; 4], [300, 0, 900, 0]]);
        let of = usage(&busy, &best_effort);
        assert_eq!(of.len(), 3);
        assert_eq!(of[0].machine, Reclaimed::new(1_000, 700));
        assert_eq!(of[0].reclaimed, Reclaimed::new(150, 200));
        assert_eq!(of[0].service, Reclaimed::new(850, 550));
        assert!(!of[0].cpu_estimated);
        // A quarter of the second node's two CPUs was busy: reclaimed pods cannot have used more.
        assert_eq!(of[1].machine.cpu.get(), 250);
        assert_eq!(of[1].reclaimed.cpu.get(), 250);
        assert_eq!(of[2].machine, Reclaimed::new(0, 50));
    }

    #[test]
    fn estimated_by_the_nodes_part_of_the_machine_otherwise() {
        let busy = per_cpu(&[[100; 4], [1_100, 600, 600, 100]]);
        let of = usage(&busy, &PerCpu::default());
        assert_eq!(of[0].reclaimed.cpu.get(), 450);
        assert_eq!(of[1].reclaimed.cpu.get(), 150);
        assert!(of[0].cpu_estimated);
    }

    #[test]
    fn one_reading_is_no_rate() {
        assert!(usage(&per_cpu(&[[1; 4]]), &PerCpu::default()).is_empty());
    }

    #[test]
    fn cpus_may_come_and_go() {
        let mut busy = PerCpu::default();
        busy.take([(0, 0), (2, 1_000_000_000)].into_iter());
        busy.take([(0, 1_000_000_000), (1, 5_000_000_000), (2, 0)].into_iter());
        assert_eq!(busy.advance(|_| true), Some(1_000_000_000));
    }
}
