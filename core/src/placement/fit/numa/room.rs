//! What a pod that is to be bound finds free in each NUMA node, and how its request lies over a set of them.
//!
//! A dedicated pod takes whole physical cores, an exclusive one whole NUMA nodes. Whatever is taken, services that are not bound keep CPUs for their requests, and at least one:
//! the agent would refuse otherwise.

use smallvec::SmallVec;

use crate::{
    placement::{
        allocation::NumaShare,
        machine::{Machine, Mask},
        node::{NodePlacement, Used},
        request::{NumaRequest, PodRequest},
        unfit::Unfit,
    },
    qos::Level,
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

/// CPU that services which are not bound keep at least.
const LEAST_LEFT: u64 = 1_000;

/// What is free in a NUMA node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Room {
    /// CPU, thousandths.
    pub(super) cpu: u64,
    /// Memory, bytes.
    pub(super) memory: u64,
    /// The pod may be here.
    pub(super) open: bool,
}

/// All NUMA nodes, and what the pod needs of a set of them.
#[derive(Debug)]
pub(super) struct Rooms {
    /// By position.
    each: SmallVec<[Room; 8]>,
    /// CPU that the set must have, thousandths.
    pub(super) cpu: u64,
    /// Memory that the set must have, bytes.
    pub(super) memory: u64,
    /// Whole NUMA nodes, with nobody else in them.
    pub(super) exclusive: bool,
    /// The same part in each.
    pub(super) even: bool,
    /// Fewest sockets before fewest distance.
    pub(super) by_socket: bool,
    /// The most free first, not the fullest.
    pub(super) roomiest: bool,
    /// CPU that may be taken in all without squeezing services that are not bound.
    pub(super) spare: u64,
    /// Amounts are reclaimed ones.
    reclaimed: bool,
    /// CPU is given in multiples of this, thousandths.
    grain: u64,
}

impl Rooms {
    pub(super) fn of(node: &NodePlacement, request: &PodRequest, allowed: Mask) -> Self {
        Self::with(node, node.used(), request, allowed)
    }

    fn with(node: &NodePlacement, used: &Used, request: &PodRequest, allowed: Mask) -> Self {
        let machine = node.machine();
        let (exclusive, even, by_socket) = match request.numa {
            NumaRequest::Set {
                exclusive,
                even,
                by_socket,
                ..
            } => (exclusive, even, by_socket),
            NumaRequest::One { .. } | NumaRequest::None => (false, false, false),
        };
        let reclaimed = request.level == Level::Reclaimed;
        let dedicated = matches!(request.numa, NumaRequest::Set { .. });
        let grain = if dedicated && !exclusive {
            u64::from(machine.threads()).max(1) * 1_000
        } else {
            1
        };
        let (cpu, memory) = if reclaimed {
            let amount = request.reclaimed.unwrap_or_default();
            (amount.cpu.get(), amount.memory.get())
        } else {
            (request.cpu.get(), request.memory.get())
        };
        let mut free_of_all = 0_u64;
        let mut rooms: SmallVec<[Room; 8]> = SmallVec::new();
        for ((at, zone), used) in (0..).zip(machine.zones()).zip(&used.zones) {
            let free_cpu = if used.exclusive > 0 {
                0
            } else {
                (zone.cpu - used.cpu).get()
            };
            free_of_all = free_of_all.saturating_add(free_cpu);
            let idle = used.holders == 0;
            let open = allowed.contains(at)
                && zone.cpu > Millicpu::ZERO
                && used.exclusive == 0
                && (idle || !exclusive);
            let (cpu, memory) = if reclaimed {
                zone.reclaimed.map_or((u64::MAX, u64::MAX), |offer| {
                    let free = offer - used.reclaimed;
                    (free.cpu.get(), free.memory.get())
                })
            } else {
                (free_cpu / grain * grain, (zone.memory - used.memory).get())
            };
            rooms.push(if open {
                Room { cpu, memory, open }
            } else {
                Room::default()
            });
        }
        // Reclaimed pods squeeze nobody.
        let spare = if reclaimed {
            u64::MAX
        } else {
            let left = used.floating.get().div_ceil(1_000).saturating_mul(1_000);
            free_of_all.saturating_sub(left.max(LEAST_LEFT))
        };
        Self {
            each: rooms,
            cpu: cpu.div_ceil(grain).saturating_mul(grain),
            memory,
            exclusive,
            even,
            by_socket,
            roomiest: !dedicated,
            spare,
            reclaimed,
            grain,
        }
    }

    pub(super) fn at(&self, position: usize) -> Room {
        self.each.get(position).copied().unwrap_or_default()
    }

    /// Whether a set has room.
    pub(super) fn holds(&self, zones: Mask) -> bool {
        let mut cpu = 0_u64;
        let mut memory = 0_u64;
        let count = zones.count() as u64;
        for at in zones.iter() {
            let room = self.at(at);
            if !room.open || (self.even && room.cpu < self.cpu.div_ceil(count.max(1))) {
                return false;
            }
            cpu = cpu.saturating_add(room.cpu);
            memory = memory.saturating_add(room.memory);
        }
        let taken = if self.exclusive { cpu } else { self.cpu };
        cpu >= self.cpu && memory >= self.memory && taken <= self.spare
    }

    /// How the request lies over a set that has room: the same in each as far as there is room.
    pub(super) fn shares(&self, machine: &Machine, zones: Mask) -> SmallVec<[NumaShare; 1]> {
        let whole = |of: fn(&Room) -> u64| zones.iter().map(|at| of(&self.at(at))).collect();
        let (cpu, memory): (SmallVec<[u64; 8]>, SmallVec<[u64; 8]>) = if self.exclusive {
            (whole(|room| room.cpu), whole(|room| room.memory))
        } else {
            let cpu = whole(|room| room.cpu);
            let memory = whole(|room| room.memory);
            (
                filled(&cpu, self.cpu, self.grain),
                filled(&memory, self.memory, 1),
            )
        };
        zones
            .iter()
            .zip(cpu)
            .zip(memory)
            .filter_map(|((at, cpu), memory)| {
                let zone = machine.zones().get(at)?;
                let mut share = NumaShare {
                    id: zone.id,
                    ..NumaShare::default()
                };
                if self.reclaimed {
                    share.reclaimed = Reclaimed::new(cpu, memory);
                } else {
                    share.cpu = Millicpu::new(cpu);
                    share.memory = Bytes::new(memory);
                }
                Some(share)
            })
            .collect()
    }

    /// Why no set had room.
    pub(super) fn why(&self, node: &NodePlacement, request: &PodRequest, allowed: Mask) -> Unfit {
        if self.reclaimed {
            return Unfit::NumaReclaimed;
        }
        let machine = node.machine();
        let idle = Self::with(node, &Used::of(machine), request, allowed);
        let wanted = match &request.numa {
            NumaRequest::Set { ids: Some(_), .. } => Some(allowed.count()),
            NumaRequest::Set {
                count: Some(count), ..
            } => Some(*count as usize),
            NumaRequest::Set { .. } => None,
            NumaRequest::One { .. } | NumaRequest::None => Some(1),
        };
        let any = |rooms: &Self| {
            let counts = wanted.map_or(1..=allowed.count(), |count| count..=count);
            counts
                .into_iter()
                .any(|count| !super::sets::best_first(machine, rooms, count).is_empty())
        };
        if !any(&idle) {
            return Unfit::NumaTooSmall;
        }
        let unsqueezed = Self {
            spare: u64::MAX,
            each: self.each.clone(),
            ..*self
        };
        if any(&unsqueezed) {
            Unfit::NumaCrowded
        } else if self.exclusive {
            Unfit::NumaNotIdle
        } else {
            Unfit::NumaBusy
        }
    }
}

/// Parts of `need` that are as equal as the rooms allow, in multiples of `grain`. The rooms together have that much.
fn filled(rooms: &[u64], need: u64, grain: u64) -> SmallVec<[u64; 8]> {
    let mut order: SmallVec<[usize; 8]> = (0..rooms.len()).collect();
    order.sort_by_key(|at| rooms.get(*at));
    let mut parts: SmallVec<[u64; 8]> = SmallVec::from_elem(0, rooms.len());
    let mut left = need;
    for (done, at) in order.iter().enumerate() {
        let others = (rooms.len() - done) as u64;
        let equal = left.div_ceil(others).div_ceil(grain).saturating_mul(grain);
        let part = rooms.get(*at).copied().unwrap_or(0).min(equal).min(left);
        if let Some(slot) = parts.get_mut(*at) {
            *slot = part;
        }
        left -= part;
    }
    parts
}
