//! What pods hold of zones.
//!
//! A pod that is bound to NUMA nodes holds its requests on them: CPU in proportion to the planned CPUs that lie on each, where there is a plan, else in
//! equal parts; memory in equal parts. The parts add up to the request exactly. A dedicated pod without binding holds its CPUs where they lie. A pod
//! that shares holds no zone: its use is the node's affair.

use std::collections::BTreeMap;

use katalyst_core::{
    cpu_set::CpuSet,
    reclaimed::Reclaimed,
    topology::devices::PciAddress,
    units::{Bytes, Millicpu},
};
use katalyst_crds::{
    constants::resource,
    node::{Allocation, ResourceList},
    translate::machine_list,
};

use super::{bytes, count};
use crate::topology::Sensed;

/// The schema takes no more allocations of one zone.
const EACH_ZONE: usize = 1_024;
const MEBIBYTE: u64 = 1 << 20;

/// A pod that holds parts of zones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consumer {
    /// `namespace/name/uid`.
    pub name: String,
    /// NUMA nodes it is bound to; empty without a binding.
    pub nodes: Vec<u32>,
    /// Its request of CPU.
    pub cpu: Millicpu,
    /// Its request of memory; zero where its memory is not bound.
    pub memory: Bytes,
    /// CPUs it runs on by plan.
    pub own_cpus: CpuSet,
    /// GPUs or parts of them.
    pub gpus: Vec<GpuShare>,
    /// Network and RDMA cards, by name or interface.
    pub cards: Vec<String>,
}

/// A GPU, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GpuShare {
    /// UUID; may be empty.
    pub uuid: String,
    /// Number of its device node, where there is no UUID.
    pub minor: Option<u32>,
    /// Part of its compute, percent; the whole where `None`.
    pub percent: Option<u8>,
    /// Part of its memory, MiB; the whole where `None`.
    pub memory_mib: Option<u64>,
}

/// What is held, by zone.
#[derive(Debug, Default)]
pub(super) struct Taken {
    numa: BTreeMap<u32, BTreeMap<String, ResourceList>>,
    gpus: BTreeMap<PciAddress, BTreeMap<String, ResourceList>>,
    cards: BTreeMap<String, BTreeMap<String, ResourceList>>,
    /// A sentence for each consumer that names what there is not.
    pub(super) problems: Vec<String>,
}

impl Taken {
    pub(super) fn of(sensed: &Sensed, consumers: &[Consumer]) -> Self {
        let mut taken = Self::default();
        for consumer in consumers {
            taken.take_numa(sensed, consumer);
            taken.take_gpus(sensed, consumer);
            taken.take_cards(sensed, consumer);
        }
        taken.problems.sort();
        taken
    }

    fn take_numa(&mut self, sensed: &Sensed, consumer: &Consumer) {
        let mut nodes = consumer.nodes.clone();
        nodes.sort_unstable();
        nodes.dedup();
        let known = nodes.len();
        nodes.retain(|node| sensed.topology.numa_node(*node).is_some());
        if nodes.len() < known {
            self.problems.push(format!(
                "pod {} is bound to NUMA nodes {:?}, and this machine does not have all of them; its allocation is not reported",
                consumer.name, consumer.nodes
            ));
            return;
        }
        let own: Vec<usize> = nodes
            .iter()
            .filter_map(|node| sensed.topology.numa_node(*node))
            .map(|node| node.cpus.intersection(&consumer.own_cpus).len())
            .collect();
        let cpu = parts(consumer.cpu.get(), &own);
        let memory = parts(consumer.memory.get(), &vec![1; nodes.len()]);
        for ((node, cpu), memory) in nodes.into_iter().zip(cpu).zip(memory) {
            let mut list = machine_list(&Reclaimed {
                cpu: Millicpu::new(cpu),
                memory: Bytes::new(memory),
            });
            if consumer.memory == Bytes::ZERO {
                list.remove(resource::MEMORY);
            }
            self.numa
                .entry(node)
                .or_default()
                .insert(consumer.name.clone(), list);
        }
    }

    fn take_gpus(&mut self, sensed: &Sensed, consumer: &Consumer) {
        for share in &consumer.gpus {
            let found = sensed.devices.gpus.iter().find(|gpu| {
                if share.uuid.is_empty() {
                    gpu.minor.is_some() && gpu.minor == share.minor
                } else {
                    gpu.uuid.as_ref() == Some(&share.uuid)
                }
            });
            let Some(gpu) = found else {
                self.problems.push(format!(
                    "pod {} was given GPU {:?} ({:?}), which this machine does not have",
                    consumer.name, share.uuid, share.minor
                ));
                continue;
            };
            let percent = u64::from(share.percent.unwrap_or(100));
            let memory = share
                .memory_mib
                .map(|mebibytes| Bytes::new(mebibytes.saturating_mul(MEBIBYTE)))
                .or(gpu.memory);
            let mut list = ResourceList::from([(
                resource::MILLIGPU.to_owned(),
                count(percent.saturating_mul(10)),
            )]);
            if let Some(memory) = memory {
                list.insert(resource::GPU_MEMORY.to_owned(), bytes(memory));
            }
            self.gpus
                .entry(gpu.place.address)
                .or_default()
                .insert(consumer.name.clone(), list);
        }
    }

    fn take_cards(&mut self, sensed: &Sensed, consumer: &Consumer) {
        for name in &consumer.cards {
            let devices = &sensed.devices;
            let known = devices.rdma.iter().any(|rdma| rdma.name == *name)
                || devices
                    .nics
                    .iter()
                    .any(|nic| nic.interfaces.iter().any(|each| each.name == *name));
            if !known {
                self.problems.push(format!(
                    "pod {} was given card {name:?}, which this machine does not have",
                    consumer.name
                ));
                continue;
            }
            self.cards
                .entry(name.clone())
                .or_default()
                .insert(consumer.name.clone(), ResourceList::new());
        }
    }

    /// What is held of a NUMA node.
    pub(super) fn numa(&mut self, node: u32) -> Vec<Allocation> {
        list(self.numa.remove(&node).unwrap_or_default())
    }

    /// What is held of a GPU.
    pub(super) fn gpu(&mut self, address: PciAddress) -> Vec<Allocation> {
        list(self.gpus.remove(&address).unwrap_or_default())
    }

    /// Who holds a card under one of these names.
    pub(super) fn card(&mut self, names: &[&str]) -> Vec<Allocation> {
        let held = names
            .iter()
            .filter_map(|name| self.cards.remove(*name))
            .flatten()
            .collect();
        list(held)
    }
}

fn list(held: BTreeMap<String, ResourceList>) -> Vec<Allocation> {
    held.into_iter()
        .take(EACH_ZONE)
        .map(|(consumer, requests)| Allocation {
            consumer,
            requests: (!requests.is_empty()).then_some(requests),
        })
        .collect()
}

/// `whole` in proportion to `weights`, equal parts where they are all zero. The parts add up to it; what does not divide goes to the first ones.
fn parts(whole: u64, weights: &[usize]) -> Vec<u64> {
    let equal = weights.iter().all(|weight| *weight == 0);
    let weights: Vec<u128> = weights
        .iter()
        .map(|weight| if equal { 1 } else { *weight as u128 })
        .collect();
    let sum: u128 = weights.iter().sum();
    let mut left = whole;
    let mut given: Vec<u64> = weights
        .iter()
        .map(|weight| {
            let part = (u128::from(whole) * weight)
                .checked_div(sum)
                .and_then(|part| u64::try_from(part).ok())
                .unwrap_or(0);
            left = left.saturating_sub(part);
            part
        })
        .collect();
    for (part, weight) in given.iter_mut().zip(&weights) {
        if *weight > 0 && left > 0 {
            *part += 1;
            left -= 1;
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_proportional() {
        assert_eq!(parts(8_000, &[4, 4]), [4_000, 4_000]);
        assert_eq!(parts(6_000, &[4, 2]), [4_000, 2_000]);
        assert_eq!(parts(10, &[0, 0, 0]), [4, 3, 3]);
        assert_eq!(parts(10, &[0, 3]), [0, 10]);
        assert_eq!(parts(10, &[]), Vec::<u64>::new());
    }

    proptest! {
        #[test]
        fn parts_add_up(whole in any::<u64>(), weights in prop::collection::vec(0_usize..64, 1..9)) {
            let parts = parts(whole, &weights);
            prop_assert_eq!(parts.iter().map(|part| u128::from(*part)).sum::<u128>(), u128::from(whole));
        }
    }
}
