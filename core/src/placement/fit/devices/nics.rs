//! Network cards for a container whose GPUs are chosen.

use smallvec::SmallVec;

use super::search::{Search, Trial};
use crate::placement::machine::{Groups, Mask, Scope};

/// A network card that may be tried.
#[derive(Debug, Clone, Copy)]
struct Choice {
    nic: u8,
    groups: Groups,
}

/// Tries every set of network cards that will do. Cards below one switch differ in nothing but the rail; the lower rails are taken first.
pub(super) fn choose(search: &mut Search<'_>, trial: &mut Trial<'_>) {
    let wanted = usize::from(trial.container.nics);
    if wanted == 0 {
        search.chosen(trial);
        return;
    }
    let affinity = &search.request.affinity;
    // Only beside GPUs does it mean anything to be near them.
    let beside = affinity
        .gpu_nic
        .filter(|near| near.required && !trial.devices.cards.is_empty())
        .map(|near| near.scope);
    let mut groups_to_meet: SmallVec<[u8; 8]> = SmallVec::new();
    if let Some(scope) = beside {
        for at in trial.devices.cards.iter() {
            let group = search
                .machine
                .cards()
                .get(at)
                .map(|card| card.groups.at(scope));
            if let Some(group) = group.filter(|group| !groups_to_meet.contains(group)) {
                groups_to_meet.push(group);
            }
        }
        if groups_to_meet.len() > wanted {
            return;
        }
    }
    let mut order: SmallVec<[Choice; 16]> = search
        .free_nics()
        .iter()
        .filter_map(|at| {
            let groups = search.machine.nics().get(at)?.groups;
            let near = beside.is_none_or(|scope| groups_to_meet.contains(&groups.at(scope)));
            near.then_some(Choice {
                nic: at as u8,
                groups,
            })
        })
        .collect();
    let rail = |choice: &Choice| {
        let nic = search.machine.nics().get(usize::from(choice.nic));
        nic.map_or(u8::MAX, |nic| nic.rail)
    };
    order.sort_unstable_by_key(|choice| (choice.groups, rail(choice), choice.nic));
    let rules = Rules {
        wanted,
        together: affinity
            .nics
            .filter(|near| near.required)
            .map(|near| near.scope),
        beside: beside.map(|scope| (scope, groups_to_meet)),
    };
    pick(search, trial, &order, &rules);
}

struct Rules {
    wanted: usize,
    /// All in one group at that scope.
    together: Option<Scope>,
    /// At that scope one in each of these groups.
    beside: Option<(Scope, SmallVec<[u8; 8]>)>,
}

fn pick(search: &mut Search<'_>, trial: &mut Trial<'_>, order: &[Choice], rules: &Rules) {
    let chosen = trial.devices.nics;
    if chosen.count() == rules.wanted {
        if is_beside_all(search, chosen, rules) {
            search.chosen(trial);
        }
        return;
    }
    let mut left = order;
    while let Some((first, after)) = left.split_first() {
        if left.len() + chosen.count() < rules.wanted || !search.step() {
            return;
        }
        let fits_others = rules.together.is_none_or(|scope| {
            chosen.iter().all(|at| {
                let nic = search.machine.nics().get(at);
                nic.is_some_and(|nic| nic.groups.at(scope) == first.groups.at(scope))
            })
        });
        if fits_others {
            trial.devices.nics = chosen.with(usize::from(first.nic));
            pick(search, trial, after, rules);
            trial.devices.nics = chosen;
        }
        let like = after
            .iter()
            .take_while(|other| other.groups == first.groups)
            .count();
        left = after.get(like..).unwrap_or_default();
    }
}

fn is_beside_all(search: &Search<'_>, chosen: Mask, rules: &Rules) -> bool {
    rules.beside.as_ref().is_none_or(|(scope, groups)| {
        groups.iter().all(|group| {
            chosen.iter().any(|at| {
                let nic = search.machine.nics().get(at);
                nic.is_some_and(|nic| nic.groups.at(*scope) == *group)
            })
        })
    })
}
