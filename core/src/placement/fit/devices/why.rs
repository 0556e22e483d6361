//! Why a machine's devices will not do: what is certain without a search, and what a search on the idle machine tells.

use super::{Eligible, place_on, search::Outcome, state::State};
use crate::placement::{
    machine::Machine,
    request::{CardAmount, CardMemory, PodRequest, Role},
    unfit::Unfit,
};

/// What needs no search: the cheap answers for most of the nodes that cannot take a pod. "Busy" here may be hope in vain, where nearness could not be had on
/// the idle machine either; preemption, which asks again, finds that out.
pub(super) fn check(
    machine: &Machine,
    request: &PodRequest,
    eligible: Eligible,
    state: &State,
) -> Result<(), Unfit> {
    let (mut whole, mut nics) = (0, 0);
    for container in &request.containers {
        let together = container.role != Role::Init;
        if let Some(gpus) = container.gpus {
            let wanted = usize::from(gpus.cards);
            if machine.cards().is_empty() {
                return Err(Unfit::NoCards);
            }
            if eligible.cards.count() < wanted {
                return Err(Unfit::CardModel);
            }
            let large = |at: &usize| {
                machine
                    .cards()
                    .get(*at)
                    .is_some_and(|card| can_hold(card.mib, gpus.amount))
            };
            if eligible.cards.iter().filter(large).count() < wanted {
                return Err(Unfit::CardTooSmall);
            }
            let free = |at: &usize| state.room(machine, *at, gpus).is_some();
            if eligible.cards.iter().filter(free).count() < wanted {
                return Err(Unfit::CardsBusy);
            }
            if together && matches!(gpus.amount, CardAmount::Whole { .. }) {
                whole += wanted;
            }
        }
        let wanted = usize::from(container.nics);
        if eligible.nics.count() < wanted {
            return Err(Unfit::NoNics);
        }
        if eligible.nics.and(state.nics).count() < wanted {
            return Err(Unfit::NicsBusy);
        }
        if together {
            nics += wanted;
        }
    }
    let idle = eligible
        .cards
        .iter()
        .filter(|at| state.is_idle(*at))
        .count();
    if whole > eligible.cards.count() {
        return Err(Unfit::CardModel);
    }
    if whole > idle {
        return Err(Unfit::CardsBusy);
    }
    if nics > eligible.nics.count() {
        return Err(Unfit::NoNics);
    }
    if nics > eligible.nics.and(state.nics).count() {
        return Err(Unfit::NicsBusy);
    }
    Ok(())
}

fn can_hold(card_mib: u32, amount: CardAmount) -> bool {
    match amount {
        CardAmount::Whole { at_least_mib } => at_least_mib <= card_mib,
        CardAmount::Part {
            memory: CardMemory::Mib(mib),
            ..
        } => mib <= card_mib,
        CardAmount::Part { .. } => true,
    }
}

/// Why a search found nothing.
pub(super) fn unfit(machine: &Machine, request: &PodRequest, eligible: Eligible) -> Unfit {
    let affinity = &request.affinity;
    let near = [affinity.gpu_nic, affinity.gpus, affinity.nics];
    let required = near.iter().flatten().any(|near| near.required) || affinity.nvlink == Some(true);
    let idle = place_on(machine, request, eligible, &State::idle(machine));
    match (required, idle) {
        (true, Outcome::Found(_)) => Unfit::AffinityBusy,
        (true, Outcome::Nothing) => Unfit::Affinity,
        (false, Outcome::Found(_)) => Unfit::CardsBusy,
        (false, Outcome::Nothing) => Unfit::CardModel,
        (_, Outcome::GaveUp) => Unfit::SearchLimit,
    }
}
