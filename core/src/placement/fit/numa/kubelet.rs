//! What kubelet's topology manager will do with a Guaranteed pod, for nodes on which it refuses pods that it cannot align.
//!
//! Source: `pkg/kubelet/cm/topologymanager` of Kubernetes. CPUs are aligned for containers with a whole number of them (static CPU manager), memory for all
//! containers of the pod (static memory manager; without it kubelet would take a pod that is refused here, which costs a node and breaks
//! nothing). `single-numa-node` takes the lowest node with room for each container, or for the pod. `restricted` wants as few nodes as the request would need on an
//! *idle* machine, the same number for each resource, and takes the lowest such set with enough free.

use smallvec::SmallVec;

use crate::placement::{
    allocation::NumaShare,
    machine::{KubeletPolicy, Machine, Mask},
    node::NodePlacement,
    request::{PodRequest, Role},
    unfit::Unfit,
};
use crate::units::{Bytes, Millicpu};

/// What is aligned of a container or pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Demand {
    /// Whole CPUs, thousandths; zero where they are not aligned.
    cpu: u64,
    memory: u64,
}

type Free = SmallVec<[Demand; 8]>;

/// Whether kubelet has a say about the pod.
pub(in crate::placement::fit) fn decides(machine: &Machine, request: &PodRequest) -> bool {
    machine.alignment().policy != KubeletPolicy::Lenient
        && request.guaranteed
        && !machine.zones().is_empty()
}

/// The NUMA nodes that kubelet will choose.
pub(in crate::placement::fit) fn predict(
    node: &NodePlacement,
    request: &PodRequest,
) -> Result<SmallVec<[NumaShare; 1]>, Unfit> {
    let machine = node.machine();
    let alignment = machine.alignment();
    let whole: Free = machine
        .zones()
        .iter()
        .map(|zone| Demand {
            cpu: zone.cpu.get(),
            memory: zone.memory.get(),
        })
        .collect();
    let before: Free = machine
        .zones()
        .iter()
        .zip(&node.used().zones)
        .map(|(zone, used)| match used.exclusive {
            0 => Demand {
                cpu: (zone.cpu - used.cpu).get(),
                memory: (zone.memory - used.memory).get(),
            },
            _ => Demand::default(),
        })
        .collect();
    let mut free = before.clone();
    if alignment.pod_scope {
        let demand = aligned(request.cpu, request.memory);
        place(alignment.policy, &whole, &mut free, demand)?;
    } else {
        for container in &request.containers {
            let demand = aligned(container.cpu, container.memory);
            if container.role == Role::Init {
                // Its resources are free again when the others start.
                place(alignment.policy, &whole, &mut free.clone(), demand)?;
            } else {
                place(alignment.policy, &whole, &mut free, demand)?;
            }
        }
    }
    Ok(machine
        .zones()
        .iter()
        .zip(before)
        .zip(free)
        .filter(|((_, before), after)| before != after)
        .map(|((zone, before), after)| NumaShare {
            id: zone.id,
            cpu: Millicpu::new(before.cpu - after.cpu),
            memory: Bytes::new(before.memory - after.memory),
            ..NumaShare::default()
        })
        .collect())
}

fn aligned(cpu: Millicpu, memory: Bytes) -> Demand {
    Demand {
        cpu: if cpu.get().is_multiple_of(1_000) {
            cpu.get()
        } else {
            0
        },
        memory: memory.get(),
    }
}

/// Takes the demand from the nodes that kubelet would choose.
fn place(
    policy: KubeletPolicy,
    whole: &Free,
    free: &mut Free,
    demand: Demand,
) -> Result<(), Unfit> {
    if demand == Demand::default() {
        return Ok(());
    }
    let widths = [
        width(whole, demand.cpu, |room| room.cpu),
        width(whole, demand.memory, |room| room.memory),
    ];
    // What is not asked for needs no node, and agrees with every width.
    let mut asked = [demand.cpu, demand.memory]
        .into_iter()
        .zip(widths)
        .filter_map(|(amount, width)| (amount > 0).then_some(width));
    let first = asked.next().flatten().ok_or(Unfit::NumaTooSmall)?;
    for other in asked {
        if other.ok_or(Unfit::NumaTooSmall)? != first {
            return Err(if policy == KubeletPolicy::SingleNuma {
                Unfit::NumaTooSmall
            } else {
                Unfit::Misaligned
            });
        }
    }
    if policy == KubeletPolicy::SingleNuma && first > 1 {
        return Err(Unfit::NumaTooSmall);
    }
    let zones = lowest(free, demand, first).ok_or(Unfit::NumaBusy)?;
    let mut left = demand;
    for at in zones.iter() {
        if let Some(room) = free.get_mut(at) {
            let cpu = left.cpu.min(room.cpu);
            let memory = left.memory.min(room.memory);
            room.cpu -= cpu;
            room.memory -= memory;
            left.cpu -= cpu;
            left.memory -= memory;
        }
    }
    Ok(())
}

/// How many idle nodes it takes at least.
fn width(whole: &Free, amount: u64, of: fn(&Demand) -> u64) -> Option<usize> {
    let mut largest: SmallVec<[u64; 8]> = whole.iter().map(of).collect();
    largest.sort_unstable_by_key(|room| std::cmp::Reverse(*room));
    let mut sum = 0_u64;
    largest
        .iter()
        .position(|room| {
            sum = sum.saturating_add(*room);
            sum >= amount
        })
        .map(|last| last + 1)
}

/// The set of that size with the lowest bits, as a number, that has the demand free.
fn lowest(free: &Free, demand: Demand, width: usize) -> Option<Mask> {
    /// Sets that are looked at: all of a machine with 16 NUMA nodes.
    const MOST: u32 = 13_000;
    let mut looked_at = 0;
    let mut best: Option<Mask> = None;
    let mut stack: SmallVec<[(usize, Mask); 32]> = SmallVec::new();
    stack.push((0, Mask::EMPTY));
    while let Some((next, chosen)) = stack.pop() {
        if chosen.count() == width {
            looked_at += 1;
            let (cpu, memory) = chosen.iter().filter_map(|at| free.get(at)).fold(
                (0_u64, 0_u64),
                |(cpu, memory), room| {
                    (
                        cpu.saturating_add(room.cpu),
                        memory.saturating_add(room.memory),
                    )
                },
            );
            let enough = cpu >= demand.cpu && memory >= demand.memory;
            if enough && best.is_none_or(|best| chosen < best) {
                best = Some(chosen);
            }
            if looked_at >= MOST {
                break;
            }
        } else if next < free.len() {
            stack.push((next + 1, chosen));
            stack.push((next + 1, chosen.with(next)));
        }
    }
    best
}
