//! Sizes and cores of the pools that services share: named ones, and those of NUMA nodes.
//!
//! ```text
//! base   = max(whole CPUs of the requests, minimum)       always, before anything else
//! target = max(base, whole CPUs of use * (1 + margin))    as far as there is room
//! ```
//!
//! In four passes, so that nothing is taken from a pool that needs it for one that would like it: bases; what pools have and want; what they want and do not
//! have, in proportion where it is scarce; what they have and no longer want, until that has lasted [`PoolParams::shrink_after_seconds`]. The default pool is what
//! is left, and counts with its own base and target. Where not even the bases fit beside each other, the pools that are not bound to a node run together on
//! everything: with their weights each still gets its request.
//!
//! [`PoolParams::shrink_after_seconds`]: super::PoolParams::shrink_after_seconds

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::units::Millicpu;

use super::draft::{Draft, Got, Planned, Want, beyond_kubelet};
use super::held::{HeldPool, bound_name};
use super::hysteresis::Wait;
use super::machine::{Core, Machine, Owner, cpus_for};
use super::{PoolKind, PoolParams, PoolReason, Shrinking, names};

/// One pool with a size of its own.
#[derive(Debug)]
pub(super) struct Sized {
    pub(super) name: String,
    pub(super) kind: PoolKind,
    /// The NUMA node it is bound to.
    pub(super) node: Option<usize>,
    pub(super) tally: Tally,
    base: u32,
    pub(super) target: u32,
    /// CPUs it held and still may have.
    held: u32,
    pub(super) size: u32,
    pub(super) shrinking: Option<Shrinking>,
    /// It runs on the default pool's CPUs.
    pub(super) together: bool,
    /// Its mark in [`Core::was`].
    was: Option<usize>,
}

/// Pods of a pool, added up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) pods: u32,
    pub(super) requested: Millicpu,
    pub(super) used: Millicpu,
}

/// Every shared pool.
#[derive(Debug)]
pub(super) struct Shared {
    /// Those with a size of their own: bound ones first, then by name.
    pub(super) sized: Vec<Sized>,
    /// The default pool's pods.
    pub(super) tally: Tally,
    /// CPUs the default pool wants.
    pub(super) target: u32,
    base: u32,
    /// The default pool is larger than it wants; only where batch has CPUs apart.
    pub(super) shrinking: Option<Shrinking>,
    was: Option<usize>,
}

impl Tally {
    pub(super) fn add(&mut self, requested: Millicpu, used: Option<Millicpu>) {
        self.pods += 1;
        self.requested += requested;
        self.used += used.unwrap_or_default();
    }

    fn base(&self, minimum: u32) -> u32 {
        cpus_for(self.requested.get()).max(minimum)
    }

    fn target(&self, params: &PoolParams) -> u32 {
        cpus_for(self.used.scale(1.0 + params.margin.max(0.0)).get())
    }
}

impl Sized {
    /// Which rule set its size.
    pub(super) fn reason(&self, minimum: u32) -> PoolReason {
        if self.together {
            PoolReason::Together
        } else if self.size < self.target {
            PoolReason::Short
        } else if self.shrinking.is_some() {
            PoolReason::Holding
        } else if self.target > self.base {
            PoolReason::Use
        } else if cpus_for(self.tally.requested.get()) < minimum {
            PoolReason::Minimum
        } else {
            PoolReason::Requests
        }
    }
}

/// The pool by which a pod is counted: its name, NUMA node and whether it is a system component's; `None` for the default pool and everything else.
pub(super) fn pool_of<'a>(
    draft: &Draft<'_>,
    planned: &Planned<'a>,
) -> Option<(&'a str, Option<usize>, bool)> {
    match (planned.want, &planned.got) {
        (Want::NumaShared(name), Got::Node(node)) => draft
            .machine
            .nodes
            .get(*node)
            .map(|_| (name, Some(*node), false)),
        (Want::Shared(name) | Want::NumaShared(name), Got::Plain | Got::Refused)
            if name != names::SHARE =>
        {
            Some((name, None, false))
        }
        (Want::System(Some(name)), _)
            if name != names::RESERVE && name != names::SHARE && name != names::SYSTEM =>
        {
            Some((name, None, true))
        }
        _ => None,
    }
}

/// Whether a pod is in the default pool.
pub(super) fn in_default(planned: &Planned<'_>) -> bool {
    match (planned.want, &planned.got) {
        (Want::Shared(name) | Want::NumaShared(name), Got::Plain | Got::Refused) => {
            name == names::SHARE
        }
        (Want::Dedicated, Got::Plain | Got::Refused) => true,
        (Want::System(Some(name)), _) => name == names::SHARE,
        _ => false,
    }
}

/// Sizes the pools and gives them their cores.
pub(super) fn size_pools(
    draft: &mut Draft<'_>,
    held: &BTreeMap<String, HeldPool>,
    now: f64,
) -> Shared {
    let mut shared = count(draft, held);
    let params = draft.params;
    let machine = &mut draft.machine;
    let width = machine.widths.widest;
    let wait = Wait {
        now,
        after: params.shrink_after_seconds,
        width,
    };
    for pool in &mut shared.sized {
        pool.held = held_size(machine, pool.was, pool.node);
        let before = held.get(&pool.name).and_then(|held| held.shrinking);
        (pool.held, pool.shrinking) = wait.keep(pool.held, pool.target, before);
    }
    let Shared {
        sized,
        target,
        base,
        was,
        ..
    } = &mut shared;
    let bases = sized
        .iter()
        .map(|pool| machine.widths.round(pool.base))
        .fold(*base, u32::saturating_add);
    if machine.free() < bases {
        for pool in sized.iter_mut().filter(|pool| pool.node.is_none()) {
            pool.together = true;
        }
        for pool in sized.iter().filter(|pool| pool.together) {
            *base = base.saturating_add(pool.base);
            *target = target.saturating_add(pool.target);
        }
    }
    for (index, pool) in apart(sized) {
        grow(machine, pool, index, pool.base, 0);
    }
    for (index, pool) in apart(sized) {
        grow(machine, pool, index, pool.target.min(pool.held), *base);
    }
    // The default pool keeps what it has and wants as the others do.
    let kept = held_size(machine, *was, None).min(*target).max(*base);
    let wishes: u64 = apart(sized)
        .map(|(_, pool)| u64::from(pool.target.saturating_sub(pool.size)))
        .sum();
    let all = wishes + u64::from(target.saturating_sub(kept));
    let room = u64::from(machine.free().saturating_sub(kept));
    for (index, pool) in apart(sized) {
        let wish = u64::from(pool.target.saturating_sub(pool.size));
        let granted = if all <= room { wish } else { wish * room / all };
        grow(
            machine,
            pool,
            index,
            pool.size.saturating_add(granted as u32),
            kept,
        );
    }
    for (index, pool) in apart(sized) {
        grow(machine, pool, index, pool.held, *target);
    }
    for pool in sized {
        pool.shrinking = wait.outcome(pool.size, pool.target, pool.shrinking);
    }
    if !params.reclaimed_overlaps {
        set_reclaimed_apart(machine, &mut shared, held.get(names::SHARE), wait);
    }
    shared
}

fn apart(sized: &mut [Sized]) -> impl Iterator<Item = (usize, &mut Sized)> {
    sized
        .iter_mut()
        .enumerate()
        .filter(|(_, pool)| !pool.together)
}

/// Batch gets what the default pool does not want; that pool shrinks as slowly as any other.
fn set_reclaimed_apart(
    machine: &mut Machine<'_>,
    shared: &mut Shared,
    held: Option<&HeldPool>,
    wait: Wait,
) {
    let size = held_size(machine, shared.was, None);
    let (kept, shrinking) = wait.keep(size, shared.target, held.and_then(|held| held.shrinking));
    let floor = kept.max(shared.target);
    let index = shared.sized.len();
    let mut reclaimed = Sized {
        name: names::RECLAIM.to_owned(),
        kind: PoolKind::Reclaimed,
        node: None,
        tally: Tally::default(),
        base: 0,
        target: 0,
        held: 0,
        size: 0,
        shrinking: None,
        together: false,
        was: None,
    };
    let most = machine.free().saturating_sub(floor);
    grow(machine, &mut reclaimed, index, most, floor);
    shared.shrinking = wait.outcome(machine.free(), shared.target, shrinking);
    shared.sized.push(reclaimed);
}

/// CPUs that a pool held and that nobody else has since.
fn held_size(machine: &Machine<'_>, was: Option<usize>, node: Option<usize>) -> u32 {
    let held = |core: &&Core| {
        was.is_some()
            && core.was == was
            && core.owner == Owner::Free
            && node.is_none_or(|node| node == core.node)
    };
    machine
        .cores
        .iter()
        .filter(held)
        .map(|core| core.width)
        .sum()
}

fn count(draft: &Draft<'_>, held: &BTreeMap<String, HeldPool>) -> Shared {
    let was = |name: &str| held.keys().position(|held| held == name);
    let params = &draft.params;
    let mut tally = Tally::default();
    let mut pools: BTreeMap<(bool, &str, Option<usize>), (Tally, bool)> = BTreeMap::new();
    for planned in &draft.pods {
        let pod = planned.pod;
        if let Some((name, node, system)) = pool_of(draft, planned) {
            let (tally, all_system) = pools
                .entry((node.is_none(), name, node))
                .or_insert((Tally::default(), true));
            tally.add(pod.request, pod.usage);
            *all_system &= system;
        } else if in_default(planned) {
            tally.add(pod.request, pod.usage);
        }
    }
    let beside = draft
        .pods
        .iter()
        .filter(|planned| planned.want == Want::LeftAlone)
        .map(|planned| beyond_kubelet(planned.pod))
        .fold(0, u64::saturating_add);
    let others = Millicpu::new(beside) + Millicpu::new(draft.system_beyond_reserve());
    let base = cpus_for((tally.requested + others).get()).max(1);
    let target = base.max(tally.target(params));
    let sized = pools
        .into_iter()
        .map(|((_, name, node), (tally, system))| {
            let base = tally.base(params.minimum_cpus.max(1));
            let id = node
                .and_then(|node| draft.machine.nodes.get(node))
                .map(|node| node.id);
            let name = id.map_or_else(|| name.to_owned(), |id| bound_name(name, id));
            Sized {
                was: was(&name),
                name,
                kind: match node {
                    Some(_) => PoolKind::NumaShared,
                    None if system => PoolKind::System,
                    None => PoolKind::Named,
                },
                node,
                tally,
                base,
                target: base.max(tally.target(params)),
                held: 0,
                size: 0,
                shrinking: None,
                together: false,
            }
        })
        .collect();
    Shared {
        sized,
        tally,
        target,
        base,
        shrinking: None,
        was: was(names::SHARE),
    }
}

/// Gives a pool cores up to a size, those first that it held, then near those it has; leaves at least `floor` CPUs to the default pool.
fn grow(machine: &mut Machine<'_>, pool: &mut Sized, index: usize, upto: u32, floor: u32) {
    if pool.size >= upto {
        return;
    }
    let mut spare = machine.free().saturating_sub(floor);
    let within = |node: Option<usize>, core: &Core| {
        core.owner == Owner::Free && node.is_none_or(|node| node == core.node)
    };
    for core in 0..machine.cores.len() {
        let Some(at) = machine.cores.get(core) else {
            continue;
        };
        if pool.was.is_none() || at.was != pool.was || !within(pool.node, at) {
            continue;
        }
        let width = at.width;
        if pool.size >= upto || spare < width {
            return;
        }
        machine.give(core, Owner::Pool(index));
        spare -= width;
        pool.size += width;
    }
    let own = machine
        .cores
        .iter()
        .filter(|core| core.owner == Owner::Pool(index));
    let (mut caches, mut nodes): (Vec<(usize, u32)>, Vec<usize>) =
        own.map(|core| ((core.node, core.l3), core.node)).unzip();
    while pool.size < upto {
        let best = machine
            .cores
            .iter()
            .filter(|core| within(pool.node, core))
            .min_by_key(|core| {
                let room = machine.nodes.get(core.node).map_or(0, |node| node.free);
                let disturbance = match pool.kind {
                    // Batch would rather have CPUs of a pool that is gone than of the one that is left.
                    PoolKind::Reclaimed => {
                        u8::from(core.was.is_some() && core.was == machine.default_mark)
                    }
                    _ => machine.disturbance(core),
                };
                let near = caches.contains(&(core.node, core.l3));
                (
                    disturbance,
                    !near,
                    !nodes.contains(&core.node),
                    Reverse(room),
                    core.index,
                )
            });
        let Some((core, width, cache)) =
            best.map(|core| (core.index, core.width, (core.node, core.l3)))
        else {
            return;
        };
        if spare < width {
            return;
        }
        machine.give(core, Owner::Pool(index));
        spare -= width;
        pool.size += width;
        if !caches.contains(&cache) {
            caches.push(cache);
            nodes.push(cache.0);
        }
    }
}
