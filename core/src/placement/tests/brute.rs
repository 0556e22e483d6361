//! The search against all ways there are, on small machines.

use proptest::prelude::*;

use super::machines::*;
use crate::placement::{
    NodePlacement, Scope, Unfit, fit,
    machine::{Machine, MachineSpec, Mask},
    request::{
        Affinity, CardAmount, CardMemory, ContainerRequest, GpuRequest, Near, PodRequest, Role,
    },
};

/// What is free on each card: percent, MiB, and whether nobody is on it; and which network cards.
#[derive(Clone)]
struct Free {
    cards: Vec<(u32, u64, bool)>,
    nics: Mask,
}

fn free(node: &NodePlacement) -> Free {
    let used = node.used();
    let cards = node
        .machine()
        .cards()
        .iter()
        .zip(&used.cards)
        .map(|(card, used)| {
            if used.whole > 0 {
                return (0, 0, false);
            }
            (
                100 - used.percent,
                u64::from(card.mib) - used.mib,
                used.is_idle(),
            )
        });
    Free {
        cards: cards.collect(),
        nics: used.free_nics(),
    }
}

fn subsets(of: usize, count: usize) -> impl Iterator<Item = Vec<usize>> {
    (0_u32..1 << of)
        .filter(move |bits| bits.count_ones() as usize == count)
        .map(move |bits| (0..of).filter(|at| bits >> at & 1 == 1).collect())
}

fn exists(
    machine: &Machine,
    containers: &[ContainerRequest],
    affinity: &Affinity,
    free: &Free,
) -> bool {
    let Some((first, rest)) = containers.split_first() else {
        return true;
    };
    let wanted = first.gpus.map_or(0, |gpus| usize::from(gpus.cards));
    subsets(machine.cards().len(), wanted).any(|cards| {
        let mut after = free.clone();
        for at in &cards {
            let (percent, mib, idle) = free.cards[*at];
            match first.gpus.unwrap().amount {
                CardAmount::Whole { .. } if idle => after.cards[*at] = (0, 0, false),
                CardAmount::Part {
                    percent: p,
                    memory: CardMemory::Mib(m),
                } if u32::from(p) <= percent && percent > 0 && u64::from(m) <= mib => {
                    after.cards[*at] = (percent - u32::from(p), mib - u64::from(m), false);
                }
                _ => return false,
            }
        }
        subsets(machine.nics().len(), usize::from(first.nics)).any(|nics| {
            if !nics.iter().all(|at| free.nics.contains(*at))
                || !near(machine, affinity, &cards, &nics)
            {
                return false;
            }
            let mut after = after.clone();
            after.nics = after.nics.without(nics.into_iter().collect());
            exists(machine, rest, affinity, &after)
        })
    })
}

fn near(machine: &Machine, affinity: &Affinity, cards: &[usize], nics: &[usize]) -> bool {
    let card = |at: &usize, scope| machine.cards()[*at].groups.at(scope);
    let nic = |at: &usize, scope| machine.nics()[*at].groups.at(scope);
    let required = |near: Option<Near>| near.filter(|near| near.required).map(|near| near.scope);
    required(affinity.gpus).is_none_or(|scope| {
        cards
            .iter()
            .all(|at| card(at, scope) == card(&cards[0], scope))
    }) && required(affinity.nics)
        .is_none_or(|scope| nics.iter().all(|at| nic(at, scope) == nic(&nics[0], scope)))
        && required(affinity.gpu_nic).is_none_or(|scope| {
            cards.is_empty()
                || nics.is_empty()
                || (cards
                    .iter()
                    .all(|a| nics.iter().any(|b| card(a, scope) == nic(b, scope)))
                    && nics
                        .iter()
                        .all(|b| cards.iter().any(|a| card(a, scope) == nic(b, scope))))
        })
}

prop_compose! {
    fn machine()(
        cards in prop::collection::vec(0_u32..3, 1..6),
        nics in prop::collection::vec(0_u32..3, 0..5),
    ) -> MachineSpec {
        let switch = |number: u32| format!("switch-{number}");
        MachineSpec {
            zones: vec![zone(0, 0, 8, 32), zone(1, 1, 8, 32)],
            cards: (0..).zip(cards).map(|(n, at)| card(n, &switch(at), at / 2)).collect(),
            nics: (0..).zip(nics).map(|(n, at)| nic(n, &switch(at), at / 2)).collect(),
            ..MachineSpec::default()
        }
    }
}

fn gpus() -> impl Strategy<Value = Option<GpuRequest>> {
    let amount = prop_oneof![
        Just(CardAmount::Whole { at_least_mib: 0 }),
        (1_u8..=100, 1_u32..82_000).prop_map(|(percent, mib)| CardAmount::Part {
            percent,
            memory: CardMemory::Mib(mib),
        }),
    ];
    prop::option::weighted(
        0.8,
        (1_u8..4, amount).prop_map(|(cards, amount)| GpuRequest { cards, amount }),
    )
}

fn nearness() -> impl Strategy<Value = Option<Near>> {
    let scope = prop::sample::select(vec![Scope::Switch, Scope::Numa]);
    prop::option::weighted(
        0.4,
        (scope, prop::bool::weighted(0.7)).prop_map(|(scope, required)| Near { scope, required }),
    )
}

prop_compose! {
    pub(super) fn pod()(
        containers in prop::collection::vec((gpus(), 0_u8..3), 1..3),
        gpu_nic in nearness(),
        gpus in nearness(),
        nics in nearness(),
    ) -> PodRequest {
        PodRequest {
            containers: containers.into_iter().map(|(gpus, nics)| container(Role::App, gpus, nics)).collect(),
            affinity: Affinity { gpu_nic, gpus, nics, ..Affinity::default() },
            ..PodRequest::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_search_finds_a_placement_where_there_is_one(
        spec in machine(),
        before in prop::collection::vec(pod(), 0..4),
        request in pod(),
    ) {
        let mut node = node(spec);
        for (number, pod) in before.iter().enumerate() {
            place(&mut node, &number.to_string(), pod).ok();
        }
        let there_is = exists(node.machine(), &request.containers, &request.affinity, &free(&node));
        let found = fit(&node, &request);
        prop_assert_eq!(found.is_ok(), there_is, "{:?}", found);
        if let Err(unfit) = found {
            let mut idle = node.clone();
            let uids: Vec<_> = idle.pods().map(|(uid, _)| uid.clone()).collect();
            for uid in uids {
                idle.remove(&uid);
            }
            let could = exists(idle.machine(), &request.containers, &request.affinity, &free(&idle));
            // The cheap answers may hope in vain, but none gives up where there is hope.
            let cheap = matches!(unfit, Unfit::CardsBusy | Unfit::NicsBusy);
            prop_assert!(unfit.resolvable() || !could, "{:?}", unfit);
            prop_assert!(could || cheap || !unfit.resolvable(), "{:?}", unfit);
            prop_assert_ne!(unfit, Unfit::SearchLimit);
        }
    }
}
