//! The machine while a plan is being made: physical cores, and who has each.
//!
//! A core here is what is left of a physical core without reserved CPUs and kubelet's: all its online siblings where it is *whole*. Cores change
//! hands as a unit, so no two pools and no two tenants ever meet on one core.

use std::ops::Range;

use crate::{cpu_set::CpuSet, topology::Topology};

/// Who has a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody to himself.
    Free,
    /// One pod, by its place in the draft.
    Pod(usize),
    /// One sized pool, by its place among them.
    Pool(usize),
}

/// One physical core.
#[derive(Debug)]
pub(super) struct Core {
    /// Its place in [`Machine::cores`].
    pub(super) index: usize,
    /// Its CPUs that may be planned with; at least one.
    pub(super) cpus: CpuSet,
    /// How many these are.
    pub(super) width: u32,
    /// Neither a reserved CPU nor one of kubelet's is on it.
    pub(super) whole: bool,
    /// Place of its NUMA node in [`Machine::nodes`].
    pub(super) node: usize,
    /// Its last-level cache.
    pub(super) l3: u32,
    /// Who has it.
    pub(super) owner: Owner,
    /// Mark of the pool that held it before this plan.
    pub(super) was: Option<usize>,
}

/// One NUMA node.
#[derive(Debug)]
pub(super) struct Node {
    /// Kernel's number.
    pub(super) id: u32,
    /// Its socket.
    pub(super) socket: u32,
    /// It has memory.
    pub(super) memory: bool,
    /// Its cores in [`Machine::cores`].
    cores: Range<usize>,
    /// CPUs of its cores that nobody has to himself.
    pub(super) free: u32,
    /// Those of them on whole cores.
    pub(super) free_whole: u32,
    /// How wide its cores are.
    pub(super) widths: Widths,
    /// Kubelet's CPU manager has CPUs here.
    pub(super) kubelet: bool,
    /// The pod that has it to itself.
    pub(super) exclusive: Option<usize>,
    /// Dedicated pods with CPUs here.
    pub(super) dedicated: u32,
    /// Shared pods bound here: their pool's own name and the sum of its requests in thousandths.
    pub(super) bound: Vec<Bound>,
}

/// The bound pods of one pool in one NUMA node.
#[derive(Debug)]
pub(super) struct Bound {
    /// The pool's name without its NUMA node.
    pub(super) pool: String,
    /// Sum of requests in thousandths of a CPU.
    pub(super) requested: u64,
    /// It shares its NUMA node with no other pool or level.
    pub(super) private: bool,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub(super) topology: &'a Topology,
    /// Every CPU.
    pub(super) online: CpuSet,
    /// Those kept for the system.
    pub(super) reserved: CpuSet,
    /// Those of kubelet's CPU manager.
    pub(super) kubelet: CpuSet,
    /// Cores with something to plan with, by NUMA node, last-level cache and number.
    pub(super) cores: Vec<Core>,
    /// NUMA nodes, by number.
    pub(super) nodes: Vec<Node>,
    /// The mark of the default pool in [`Core::was`].
    pub(super) default_mark: Option<usize>,
    /// How wide its cores are.
    pub(super) widths: Widths,
}

/// CPUs of a core: from, to. Fewer than the hardware has where some are offline, reserved or kubelet's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Widths {
    narrowest: u32,
    pub(super) widest: u32,
}

impl Default for Widths {
    fn default() -> Self {
        Self {
            narrowest: u32::MAX,
            widest: 1,
        }
    }
}

impl Widths {
    fn see(&mut self, width: u32) {
        self.narrowest = self.narrowest.min(width);
        self.widest = self.widest.max(width);
    }

    /// The most CPUs that whole cores make of so many, whichever cores these are.
    pub(super) fn round(self, cpus: u32) -> u32 {
        if self.narrowest >= self.widest {
            cpus.checked_next_multiple_of(self.widest)
                .unwrap_or(u32::MAX)
        } else {
            cpus.saturating_add(self.widest - 1)
        }
    }
}

/// CPUs that carry so many thousandths.
pub(super) fn cpus_for(millicpu: u64) -> u32 {
    u32::try_from(millicpu.div_ceil(1000)).unwrap_or(u32::MAX)
}

impl<'a> Machine<'a> {
    pub(super) fn new(topology: &'a Topology, reserved: &CpuSet, kubelet: &CpuSet) -> Self {
        let online = topology.all_cpus();
        let kubelet = kubelet.intersection(&online);
        let reserved = reserved.intersection(&online).difference(&kubelet);
        let mut cpus: Vec<(u32, u32, u32, u32)> = topology
            .cpus()
            .map(|cpu| (cpu.numa, cpu.l3, cpu.core, cpu.id))
            .collect();
        cpus.sort_unstable();
        let mut nodes: Vec<Node> = topology
            .numa_nodes()
            .map(|node| Node {
                id: node.id,
                socket: node.socket,
                memory: node.memory.get() > 0,
                cores: 0..0,
                free: 0,
                free_whole: 0,
                widths: Widths::default(),
                kubelet: !node.cpus.is_disjoint(&kubelet),
                exclusive: None,
                dedicated: 0,
                bound: Vec::new(),
            })
            .collect();
        let mut cores = Vec::with_capacity(cpus.len());
        let mut widths = Widths::default();
        for siblings in cpus.chunk_by(|a, b| (a.0, a.1, a.2) == (b.0, b.1, b.2)) {
            let Some(&(numa, l3, _, _)) = siblings.first() else {
                continue;
            };
            let Some((node_index, node)) = nodes
                .iter_mut()
                .enumerate()
                .find(|(_, node)| node.id == numa)
            else {
                continue;
            };
            let usable: CpuSet = siblings
                .iter()
                .map(|cpu| cpu.3)
                .filter(|id| !reserved.contains(*id) && !kubelet.contains(*id))
                .collect();
            let width = usable.len() as u32;
            let index = cores.len();
            if node.cores.is_empty() {
                node.cores = index..index;
            }
            if width == 0 {
                continue;
            }
            let whole = siblings.len() == usable.len();
            node.cores.end = index + 1;
            node.free += width;
            node.free_whole += if whole { width } else { 0 };
            node.widths.see(width);
            widths.see(width);
            cores.push(Core {
                index,
                cpus: usable,
                width,
                whole,
                node: node_index,
                l3,
                owner: Owner::Free,
                was: None,
            });
        }
        Self {
            topology,
            online,
            reserved,
            kubelet,
            cores,
            nodes,
            default_mark: None,
            widths,
        }
    }

    /// How much is disturbed when a core changes hands: nothing, the default pool, or a pool with a size of its own.
    pub(super) fn disturbance(&self, core: &Core) -> u8 {
        match core.was {
            None => 0,
            was if was == self.default_mark => 1,
            Some(_) => 2,
        }
    }

    /// A NUMA node's cores.
    pub(super) fn cores_of(&self, node: usize) -> &[Core] {
        self.nodes
            .get(node)
            .and_then(|node| self.cores.get(node.cores.clone()))
            .unwrap_or_default()
    }

    /// A NUMA node by the kernel's number.
    pub(super) fn node_index(&self, id: u32) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    /// Gives a core to somebody, or back to everybody.
    pub(super) fn give(&mut self, core: usize, owner: Owner) {
        let Some(core) = self.cores.get_mut(core) else {
            return;
        };
        let Some(node) = self.nodes.get_mut(core.node) else {
            return;
        };
        let whole = if core.whole { core.width } else { 0 };
        match (core.owner, owner) {
            (Owner::Free, Owner::Free) => {}
            (Owner::Free, _) => {
                node.free -= core.width;
                node.free_whole -= whole;
            }
            (_, Owner::Free) => {
                node.free += core.width;
                node.free_whole += whole;
            }
            _ => {}
        }
        core.owner = owner;
    }

    /// CPUs of the cores that fulfil a condition.
    pub(super) fn cpus_where(&self, condition: impl Fn(&Core) -> bool) -> CpuSet {
        let mut cpus = CpuSet::new();
        for core in self.cores.iter().filter(|core| condition(core)) {
            cpus.insert_all(&core.cpus);
        }
        cpus
    }

    /// Sum of the CPUs that nobody has to himself.
    pub(super) fn free(&self) -> u32 {
        self.nodes.iter().map(|node| node.free).sum()
    }

    /// CPUs promised to shared pods bound to NUMA nodes.
    pub(super) fn promised(&self, minimum: u32) -> u32 {
        self.nodes
            .iter()
            .map(|node| node.promised(minimum))
            .fold(0, u32::saturating_add)
    }
}

impl Node {
    /// CPUs promised to shared pods bound here, with what rounding to whole cores may add.
    pub(super) fn promised(&self, minimum: u32) -> u32 {
        self.bound
            .iter()
            .map(|bound| self.size_for(bound.requested, minimum))
            .fold(0, u32::saturating_add)
    }

    /// The most CPUs that a pool with these requests takes when it takes whole cores.
    pub(super) fn size_for(&self, requested: u64, minimum: u32) -> u32 {
        self.widths.round(cpus_for(requested).max(minimum))
    }
}
