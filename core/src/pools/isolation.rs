//! A shared pod that runs wild gets cores of its own, so that its threads do not queue in front of other services' threads.
//!
//! It gets its limit where that fits the bounds, else its request: at most a fraction of the shared CPUs for all such pods together, at most a
//! fraction of a pool's pods, and never all of them. Who is isolated stays so until the flag goes.

use std::collections::{BTreeMap, BTreeSet};

use crate::cpu_set::CpuSet;

use super::RefusalReason;
use super::dedicated::{Ask, choose, leaves_enough};
use super::draft::{Draft, Got, Planned, Want};
use super::held::is_plain;
use super::machine::{Core, Machine, Owner, cpus_for};
use super::names;

/// Isolates the pods that run wild, those first that are isolated already.
pub(super) fn isolate(draft: &mut Draft<'_>, plain: &BTreeSet<&CpuSet>) {
    let mut pods_of: BTreeMap<&str, u32> = BTreeMap::new();
    let mut wild: Vec<(bool, usize)> = Vec::new();
    for (index, planned) in draft.pods.iter().enumerate() {
        let Want::Shared(pool) = planned.want else {
            continue;
        };
        *pods_of.entry(pool).or_default() += 1;
        if planned.pod.runs_wild {
            wild.push((kept(&draft.machine, planned, plain).is_none(), index));
        }
    }
    if wild.is_empty() {
        return;
    }
    wild.sort_unstable();
    let most = |pods: u32| {
        ((f64::from(pods) * draft.params.isolation_pods) as u32).min(pods.saturating_sub(1))
    };
    let mut left: BTreeMap<&str, u32> = pods_of
        .iter()
        .map(|(pool, pods)| (*pool, most(*pods)))
        .collect();
    let mut budget = (f64::from(draft.machine.free()) * draft.params.isolation_cpus) as u32;
    for (_, index) in wild {
        let Some(planned) = draft.pods.get(index) else {
            continue;
        };
        let Want::Shared(pool) = planned.want else {
            continue;
        };
        if left.get(pool).is_none_or(|left| *left == 0) {
            draft.refuse(index, (RefusalReason::IsolationLimit, budget));
            continue;
        }
        let (least, most) = sizes(planned);
        let new = |need: u32| {
            let leave = draft.leave_beside(planned.pod);
            choose(&draft.machine, &ask(need), leave)
                .map(|cores| (cores, need))
                .ok()
        };
        // Whoever came meanwhile with a stronger wish may have made what it has too much.
        let had = kept(&draft.machine, planned, plain).filter(|(cores, _)| {
            leaves_enough(&draft.machine, cores, draft.leave_beside(planned.pod))
        });
        let cores = match had {
            // What it has counts with what it was given it for, not with what whole cores made of it.
            Some((cores, size)) => [most, least]
                .into_iter()
                .find(|need| size >= *need && *need <= budget)
                .map(|need| (cores, need, true)),
            None => [most, least]
                .into_iter()
                .filter(|need| *need <= budget)
                .find_map(new)
                .map(|(cores, need)| (cores, need, false)),
        };
        let Some((cores, size, kept)) = cores else {
            draft.refuse(index, (RefusalReason::IsolationLimit, budget));
            continue;
        };
        budget -= size;
        if let Some(left) = left.get_mut(pool) {
            *left -= 1;
        }
        draft.grant(index, &cores, kept);
    }
    // A pod that is not isolated is still a shared pod, and its own pool is where it belongs.
    for planned in &mut draft.pods {
        if matches!(planned.want, Want::Shared(_)) && planned.got == Got::Refused {
            planned.got = Got::Plain;
        }
    }
}

/// The least and the most CPUs that isolation is worth to a pod.
fn sizes(planned: &Planned<'_>) -> (u32, u32) {
    let request = cpus_for(planned.pod.request.get()).max(1);
    let limit = planned
        .pod
        .limit
        .map_or(request, |limit| cpus_for(limit.get()));
    (request, limit.max(request))
}

fn ask(need: u32) -> Ask {
    Ask {
        need,
        fixed: None,
        number: None,
        even: false,
        by_socket: false,
        exclusive: false,
    }
}

/// The cores an isolated pod has, and how many CPUs these are.
fn kept(
    machine: &Machine<'_>,
    planned: &Planned<'_>,
    plain: &BTreeSet<&CpuSet>,
) -> Option<(Vec<usize>, u32)> {
    let held = planned.held?;
    let certain = held.pool.starts_with(names::ISOLATION);
    if !certain && (!held.pool.is_empty() || is_plain(plain, held.cpus)) {
        return None;
    }
    let cores: Vec<&Core> = machine
        .cores
        .iter()
        .filter(|core| !core.cpus.is_disjoint(held.cpus))
        .collect();
    let size: u32 = cores.iter().map(|core| core.width).sum();
    let widest = cores.iter().map(|core| core.width).max()?;
    let (least, most) = sizes(planned);
    let its_own = cores
        .iter()
        .all(|core| core.whole && core.owner == Owner::Free)
        && size as usize == held.cpus.len();
    (its_own && size >= least && size < most.saturating_add(widest))
        .then(|| (cores.iter().map(|core| core.index).collect(), size))
}
