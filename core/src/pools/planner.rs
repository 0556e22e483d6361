//! The plan as a whole: who comes before whom.
//!
//! 1. Kubelet's exclusive CPUs and the reserve are nobody else's.
//! 2. Whoever has CPUs or a NUMA node of his own keeps them, oldest first.
//! 3. New ones are placed: those whose NUMA nodes are settled first, then the oldest; each only where everybody else keeps his request.
//! 4. Pods that run wild are isolated.
//! 5. Pools that share are sized; the default pool has the rest.
//! 6. Batch overlaps all that is shared, or has what it leaves.

use super::draft::{Draft, Got, Want, fixed_nodes};
use super::held::{held_pools, plain_sets};
use super::outcome::finish;
use super::sizing::size_pools;
use super::{PoolInput, PoolParams, PoolPlan, bound, isolation, names, own};

/// Plans the pools. The same input gives the same plan, whatever the order of the pods; with the plan itself as the previous one nothing moves (where cores are not
/// equally wide, after a few plans).
pub fn plan_pools(input: &PoolInput<'_>, params: &PoolParams) -> PoolPlan {
    let mut draft = Draft::new(input, params);
    let plain = plain_sets(&draft.pods);
    let held = held_pools(input, &draft.machine, &draft.pods, &plain);
    draft.machine.default_mark = held.keys().position(|name| name == names::SHARE);
    for (mark, pool) in held.values().enumerate() {
        for core in &mut draft.machine.cores {
            if core.cpus.is_subset(&pool.cpus) {
                core.was = Some(mark);
            }
        }
    }
    own::keep(&mut draft, &plain);
    own::leave_something(&mut draft);
    bound::keep(&mut draft, &plain);
    let mut open: Vec<(bool, usize, bool)> = (0..)
        .zip(&draft.pods)
        .filter(|(_, planned)| planned.got == Got::Plain)
        .filter_map(|(index, planned)| {
            let dedicated = match planned.want {
                Want::Dedicated => true,
                Want::NumaShared(_) => false,
                _ => return None,
            };
            let settled = matches!(fixed_nodes(planned.pod, &draft.machine), Ok(Some(_)));
            Some((!settled, index, dedicated))
        })
        .collect();
    open.sort_unstable();
    for (_, index, dedicated) in open {
        if dedicated {
            own::place(&mut draft, index);
        } else {
            bound::place(&mut draft, index);
        }
    }
    isolation::isolate(&mut draft, &plain);
    let shared = size_pools(&mut draft, &held, input.now_seconds);
    finish(draft, &shared)
}
