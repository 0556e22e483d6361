//! Cores for a pod that has CPUs of its own.
//!
//! Whole physical cores only: SMT siblings share the core's execution units and first caches, so half a core is half shared. The NUMA nodes are
//! the scheduler's choice or the pod's wish where there is one, else the best set of [`node_sets`]. Within a node a pod stays in one last-level cache where it
//! fits, in the one with the least room that suffices; else it takes the largest whole and goes on. Cores that no sized pool held before are
//! preferred: taking them moves fewer pods.
//!
//! What it must leave: for each shared pod bound to a NUMA node its requests there, and for all others theirs, and never less than one CPU.

use super::RefusalReason;
use super::machine::{Core, Machine, Node, Owner, cpus_for};
use super::node_sets::{Candidate, node_sets};

/// What a pod asks for.
#[derive(Debug)]
pub(super) struct Ask {
    /// CPUs; at least one.
    pub(super) need: u32,
    /// Nodes it must be in.
    pub(super) fixed: Option<Vec<usize>>,
    /// That many nodes.
    pub(super) number: Option<usize>,
    /// The same number of CPUs in each node.
    pub(super) even: bool,
    /// As few sockets as possible.
    pub(super) by_socket: bool,
    /// All of its nodes, with nobody else there.
    pub(super) exclusive: bool,
}

/// What must be left to others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leave {
    /// Requests of everyone who floats over what nobody has to himself, in thousandths of a CPU.
    pub(super) floating: u64,
    /// The least size of a bound pool.
    pub(super) minimum: u32,
}

/// Why not, and how many CPUs there were.
pub(super) type No = (RefusalReason, u32);

/// Chooses cores, best first; the first choice that leaves enough to others is taken.
pub(super) fn choose(machine: &Machine<'_>, ask: &Ask, leave: Leave) -> Result<Vec<usize>, No> {
    let candidates: Vec<Candidate> = (0..)
        .zip(&machine.nodes)
        .filter(|(index, _)| ask.fixed.as_ref().is_none_or(|fixed| fixed.contains(index)))
        .filter(|(_, node)| !ask.exclusive || is_empty(node))
        .map(|(node, at)| Candidate {
            node,
            room: room(at, ask, leave),
        })
        .filter(|candidate| candidate.room > 0)
        .collect();
    let all: u32 = candidates.iter().map(|candidate| candidate.room).sum();
    if let Some(fixed) = ask
        .fixed
        .as_ref()
        .filter(|fixed| ask.exclusive && candidates.len() < fixed.len())
    {
        let taken = fixed.len() - candidates.len();
        return Err((RefusalReason::NotExclusive, taken as u32));
    }
    // Evenly over some of the nodes is not evenly over all that were named.
    let missing = ask
        .fixed
        .as_ref()
        .is_some_and(|fixed| candidates.len() < fixed.len());
    if ask.even && missing {
        return Err((RefusalReason::Uneven, all));
    }
    if all < ask.need {
        let reason = if ask.exclusive {
            RefusalReason::NotExclusive
        } else {
            RefusalReason::NoRoom
        };
        return Err((reason, all));
    }
    let spare = spare(machine, leave);
    // Rounded to whole cores, so that the answer does not hang on which cores happen to be free.
    let rounded = if ask.exclusive {
        ask.need
    } else {
        ask.need
            .checked_next_multiple_of(machine.widths.widest)
            .unwrap_or(u32::MAX)
    };
    if spare < rounded {
        return Err((RefusalReason::SharedRequests, spare));
    }
    let counts = match (&ask.fixed, ask.number) {
        (Some(_), _) => candidates.len()..=candidates.len(),
        (None, Some(number)) => number..=number,
        (None, None) => 1..=candidates.len(),
    };
    let mut no = (RefusalReason::NoRoom, all);
    for count in counts {
        for set in node_sets(machine, &candidates, count, ask.need, ask.by_socket) {
            let Some(cores) = take(machine, &set, ask) else {
                no = if ask.even {
                    (RefusalReason::Uneven, all)
                } else {
                    no
                };
                continue;
            };
            if leaves_enough(machine, &cores, leave) {
                return Ok(cores);
            }
            no = (RefusalReason::SharedRequests, spare);
        }
    }
    Err(no)
}

/// Whether others keep what they must when these cores are taken.
pub(super) fn leaves_enough(machine: &Machine<'_>, cores: &[usize], leave: Leave) -> bool {
    let mut taken = vec![0_u32; machine.nodes.len()];
    let mut total = 0;
    for core in cores.iter().filter_map(|core| machine.cores.get(*core)) {
        if let Some(taken) = taken.get_mut(core.node) {
            *taken += core.width;
            total += core.width;
        }
    }
    let each = machine
        .nodes
        .iter()
        .zip(&taken)
        .all(|(node, taken)| *taken == 0 || node.free >= taken + node.promised(leave.minimum));
    each && spare(machine, leave) >= total
}

/// CPUs that may be taken without anybody's request being squeezed.
pub(super) fn spare(machine: &Machine<'_>, leave: Leave) -> u32 {
    machine
        .free()
        .saturating_sub(machine.promised(leave.minimum))
        .saturating_sub(cpus_for(leave.floating).max(1))
}

/// Whether a node has nobody who would have to leave and cannot.
fn is_empty(node: &Node) -> bool {
    !node.kubelet && node.exclusive.is_none() && node.dedicated == 0 && node.bound.is_empty()
}

fn room(node: &Node, ask: &Ask, leave: Leave) -> u32 {
    if node.exclusive.is_some() || node.bound.iter().any(|bound| bound.private) {
        return 0;
    }
    let free = if ask.exclusive {
        node.free
    } else {
        node.free_whole
    };
    free.min(node.free.saturating_sub(node.promised(leave.minimum)))
}

/// Takes cores in these nodes, the same in each as far as there is room; none where they cannot be spread evenly as asked.
fn take(machine: &Machine<'_>, set: &[Candidate], ask: &Ask) -> Option<Vec<usize>> {
    if ask.exclusive {
        let cores = set.iter().flat_map(|at| machine.cores_of(at.node));
        return Some(
            cores
                .filter(|core| core.owner == Owner::Free)
                .map(|core| core.index)
                .collect(),
        );
    }
    let mut smallest_first = set.to_vec();
    smallest_first.sort_by_key(|at| (at.room, at.node));
    let mut chosen = Vec::new();
    let mut need = ask.need;
    let mut nodes = set.len() as u32;
    let each = ask.need.div_ceil(nodes.max(1));
    // Cores of one width make the same number of CPUs in each node, whichever they are.
    let even = ask.even && set.len() > 1;
    let narrowest = if even { machine.widths.widest } else { 1 };
    for at in smallest_first {
        let share = if even {
            each
        } else {
            need.div_ceil(nodes.max(1)).min(at.room)
        };
        let taken = take_in_node(machine, at.node, narrowest, share, &mut chosen)?;
        need = need.saturating_sub(taken);
        nodes -= 1;
    }
    (need == 0).then_some(chosen)
}

/// Free whole cores of one node, none narrower than `narrowest`, with at least so many CPUs; how many they have.
pub(super) fn take_in_node(
    machine: &Machine<'_>,
    node: usize,
    narrowest: u32,
    need: u32,
    chosen: &mut Vec<usize>,
) -> Option<u32> {
    let usable = |core: &&Core| core.whole && core.owner == Owner::Free && core.width >= narrowest;
    let mut caches: Vec<Cache<'_>> = machine
        .cores_of(node)
        .chunk_by(|a, b| a.l3 == b.l3)
        .map(|group| {
            let mut cores: Vec<&Core> = group.iter().filter(usable).collect();
            cores.sort_by_key(|core| (machine.disturbance(core), core.index));
            let width = |at_most: u8| {
                let quiet = |core: &&&Core| machine.disturbance(core) <= at_most;
                cores.iter().filter(quiet).map(|core| core.width).sum()
            };
            Cache {
                free: width(2),
                quiet: [width(0), width(1)],
                cores,
            }
        })
        .filter(|cache| cache.free > 0)
        .collect();
    let mut taken = 0;
    let mut cores: Vec<&Core> = Vec::new();
    while taken < need {
        let missing = need - taken;
        let best = (0..)
            .zip(&caches)
            .min_by_key(|(index, cache)| {
                let [untouched, quiet] = cache.quiet.map(|quiet| missing.saturating_sub(quiet));
                // One that suffices with least to move and least left over; else the largest.
                if cache.free >= missing {
                    (0, quiet, untouched, cache.free, *index)
                } else {
                    (1, 0, 0, u32::MAX - cache.free, *index)
                }
            })
            .map(|(index, _)| index)?;
        for core in caches.remove(best).cores {
            if taken < need {
                taken += core.width;
                cores.push(core);
            }
        }
    }
    // Cores of unequal width may add up to one too many.
    let mut over = taken - need;
    cores.retain(|core| {
        let superfluous = core.width <= over;
        over -= if superfluous { core.width } else { 0 };
        !superfluous
    });
    chosen.extend(cores.iter().map(|core| core.index));
    Some(need + over)
}

/// Free cores of one last-level cache.
struct Cache<'a> {
    cores: Vec<&'a Core>,
    /// Their CPUs.
    free: u32,
    /// Of those, the ones that no pool held, and the ones that no pool with a size of its own held.
    quiet: [u32; 2],
}
