use rstest::rstest;

use super::machines::*;
use crate::{
    placement::{
        CardShare, NodePlacement, Scope, Unfit, fit, fit_on,
        machine::{MachineSpec, Mask},
        request::{
            Affinity, CardAmount, CardMemory, CardSelector, GpuRequest, NumaRequest, PodRequest,
            Role,
        },
    },
    qos::NumaSet,
    units::Bytes,
};

fn beside(scope: Scope) -> Affinity {
    Affinity {
        gpu_nic: required(scope),
        ..Affinity::default()
    }
}

fn any() -> Affinity {
    Affinity::default()
}

/// With whole tenants on these cards and network cards.
fn busy(cards: &[u32], nics: &[u32]) -> NodePlacement {
    let mut node = node(eight_gpus());
    for number in cards {
        let wanted = PodRequest {
            cards: CardSelector {
                uuids: [format!("GPU-{number}").into()].into(),
                ..CardSelector::default()
            },
            ..job(whole(1), 0, any())
        };
        place(&mut node, &format!("card-{number}"), &wanted).unwrap();
    }
    for number in nics {
        let affinity = Affinity {
            rails: Some(Mask::one(*number as usize)),
            ..any()
        };
        place(&mut node, &format!("nic-{number}"), &job(None, 1, affinity)).unwrap();
    }
    node
}

#[rstest]
#[case::one_from_the_broken_switch(&[0], &[], whole(1), 0, any(), &[1], &[])]
#[case::two_below_one_switch(&[0], &[], whole(2), 0, any(), &[2, 3], &[])]
#[case::four_in_one_numa_node(&[0], &[], whole(4), 0, any(), &[4, 5, 6, 7], &[])]
#[case::with_the_network_card_of_its_switch(&[], &[0, 1], whole(1), 1, beside(Scope::Switch), &[2], &[2])]
#[case::it_is_the_gpu_that_moves(&[0], &[0, 1], whole(1), 1, beside(Scope::Switch), &[2], &[2])]
#[case::two_gpus_share_one_network_card(&[], &[], whole(2), 1, beside(Scope::Switch), &[0, 1], &[0])]
#[case::each_switch_has_its_own(&[0, 1], &[], whole(4), 2, beside(Scope::Switch), &[4, 5, 6, 7], &[4, 6])]
#[case::all(&[], &[], whole(8), 8, beside(Scope::Switch), &[0, 1, 2, 3, 4, 5, 6, 7], &[0, 1, 2, 3, 4, 5, 6, 7])]
#[case::network_cards_on_one_switch(&[], &[0, 2, 4], None, 2, Affinity { nics: required(Scope::Switch), ..any() }, &[], &[6, 7])]
#[case::rails(&[], &[], None, 2, Affinity { rails: Some(Mask::one(3).with(5)), ..any() }, &[], &[3, 5])]
fn devices_are_chosen_together(
    #[case] busy_cards: &[u32],
    #[case] busy_nics: &[u32],
    #[case] gpus: Option<GpuRequest>,
    #[case] wanted_nics: u8,
    #[case] affinity: Affinity,
    #[case] expected_cards: &[u8],
    #[case] expected_nics: &[u8],
) {
    let node = busy(busy_cards, busy_nics);
    let placement = fit(&node, &job(gpus, wanted_nics, affinity)).unwrap();
    assert_eq!(cards(&placement), expected_cards);
    assert_eq!(nics(&placement), expected_nics);
}

#[rstest]
#[case::none_free(&[0, 1, 2, 3, 4, 5, 6, 7], &[], whole(1), 0, any(), Unfit::CardsBusy)]
#[case::more_than_there_are(&[], &[], whole(9), 0, any(), Unfit::CardModel)]
#[case::too_large(&[], &[], part(1, 1, 90_000), 0, any(), Unfit::CardTooSmall)]
#[case::too_many_network_cards(&[], &[], None, 9, any(), Unfit::NoNics)]
#[case::network_cards_taken(&[], &[0, 1, 2, 3, 4, 5, 6, 7], None, 1, any(), Unfit::NicsBusy)]
#[case::the_near_one_is_taken(&[0, 1, 2, 3], &[4, 5, 6, 7], whole(1), 1, beside(Scope::Numa), Unfit::AffinityBusy)]
#[case::never_so_near(&[], &[], whole(3), 1, beside(Scope::Switch), Unfit::Affinity)]
#[case::no_links(&[], &[], whole(2), 0, Affinity { nvlink: Some(true), ..any() }, Unfit::Affinity)]
fn refusals_have_the_right_reason(
    #[case] busy_cards: &[u32],
    #[case] busy_nics: &[u32],
    #[case] gpus: Option<GpuRequest>,
    #[case] wanted_nics: u8,
    #[case] affinity: Affinity,
    #[case] expected: Unfit,
) {
    let node = busy(busy_cards, busy_nics);
    let refused = fit(&node, &job(gpus, wanted_nics, affinity)).unwrap_err();
    assert_eq!(refused, expected);
}

#[test]
fn a_wish_is_met_where_it_can_be_and_costs_where_not() {
    let wish = Affinity {
        gpu_nic: preferred(Scope::Switch),
        ..any()
    };
    let met = fit(&busy(&[], &[0]), &job(whole(1), 1, wish)).unwrap();
    assert_eq!((met.quality.wishes, nics(&met)), (0, vec![1]));
    let node = busy(&[2, 3, 4, 5, 6, 7], &[0, 1]);
    let unmet = fit(&node, &job(whole(1), 1, wish)).unwrap();
    assert_eq!((unmet.quality.wishes, nics(&unmet)), (2, vec![2]));
    assert!(met.quality < unmet.quality);
}

#[test]
fn whole_and_shared_tenants_never_meet_on_a_card() {
    let mut node = node(eight_gpus());
    let shared = place(&mut node, "part", &job(part(1, 30, 20_000), 0, any())).unwrap();
    for number in 0..7 {
        let one = place(&mut node, &number.to_string(), &job(whole(1), 0, any())).unwrap();
        assert_ne!(cards(&one), cards(&shared));
    }
    assert_eq!(
        fit(&node, &job(whole(1), 0, any())).unwrap_err(),
        Unfit::CardsBusy
    );
    // All that is left of the shared card, to the percent and MiB.
    let rest = job(part(1, 70, 80 * 1024 - 20_000), 0, any());
    let more = job(part(1, 71, 1), 0, any());
    let larger = job(part(1, 1, 80 * 1024 - 19_999), 0, any());
    assert_eq!(fit(&node, &more).unwrap_err(), Unfit::CardsBusy);
    assert_eq!(fit(&node, &larger).unwrap_err(), Unfit::CardsBusy);
    assert_eq!(cards(&fit(&node, &rest).unwrap()), cards(&shared));
}

#[test]
fn a_share_goes_to_the_fullest_card_that_has_room() {
    let mut node = node(eight_gpus());
    for (uid, percent) in [("a", 60), ("b", 50)] {
        place(&mut node, uid, &job(part(1, percent, 8_000), 0, any())).unwrap();
    }
    let small = fit(&node, &job(part(1, 30, 8_000), 0, any())).unwrap();
    assert_eq!(cards(&small), [0], "the first card has 40 percent left");
    let spread = fit(&node, &job(part(3, 30, 8_000), 0, any())).unwrap();
    assert_eq!(cards(&spread).len(), 3, "each on a card of its own");
}

#[test]
fn memory_in_percent_is_that_of_the_card_it_lands_on() {
    let mut spec = eight_gpus();
    spec.cards.truncate(2);
    spec.cards[1].memory = Bytes::new(40 * GIB + (1 << 20));
    spec.cards[1].model = "NVIDIA A100-SXM4-40GB".to_owned();
    let mut node = node(spec);
    let half = GpuRequest {
        cards: 1,
        amount: CardAmount::Part {
            percent: 50,
            memory: CardMemory::Percent(50),
        },
    };
    let request = PodRequest {
        cards: CardSelector {
            models: ["a100".into()].into(),
            ..CardSelector::default()
        },
        ..job(Some(half), 0, any())
    };
    let placed = place(&mut node, "half", &request).unwrap();
    let share = placed.containers[0].cards[0];
    assert_eq!(
        (share.card, share.share),
        (
            1,
            CardShare::Part {
                percent: 50,
                mib: 20_481
            }
        )
    );
    // Half of an odd number is rounded up: a second half does not fit.
    assert_eq!(fit(&node, &request).unwrap_err(), Unfit::CardsBusy);
    let other = PodRequest {
        cards: CardSelector {
            models_excluded: ["a100".into(), "h100".into()].into(),
            ..CardSelector::default()
        },
        ..request
    };
    assert_eq!(fit(&node, &other).unwrap_err(), Unfit::CardModel);
}

#[test]
fn mixed_models_are_the_last_choice_and_the_small_card_the_first() {
    let mut spec = eight_gpus();
    for card in &mut spec.cards[2..4] {
        card.model = "NVIDIA A100-SXM4-40GB".to_owned();
        card.memory = Bytes::new(40 * GIB);
    }
    let mut node = node(spec);
    let one = fit(&node, &job(whole(1), 0, any())).unwrap();
    assert_eq!(cards(&one), [2], "the least card that does");
    let at_least = GpuRequest {
        cards: 1,
        amount: CardAmount::Whole {
            at_least_mib: 50_000,
        },
    };
    assert_eq!(
        cards(&fit(&node, &job(Some(at_least), 0, any())).unwrap()),
        [0]
    );
    place(&mut node, "one", &job(whole(1), 0, any())).unwrap();
    let two = fit(&node, &job(whole(3), 0, any())).unwrap();
    assert_eq!(two.quality.models, 0, "{:?}", cards(&two));
}

#[test]
fn links_decide_where_they_differ() {
    let mut spec = eight_gpus();
    // A ring of pairs: 0-2, 1-3, with 0-1 and 2-3 not linked.
    let address = |n: u32| format!("{n:04}");
    for (a, b) in [(0, 2), (1, 3)] {
        spec.cards[a as usize].links.push((address(b), 4));
        spec.cards[b as usize].links.push((address(a), 4));
    }
    let node = node(spec);
    let linked = Affinity {
        nvlink: Some(true),
        ..any()
    };
    assert_eq!(
        cards(&fit(&node, &job(whole(2), 0, linked)).unwrap()),
        [0, 2]
    );
    assert_eq!(
        fit(&node, &job(whole(3), 0, linked)).unwrap_err(),
        Unfit::Affinity
    );
}

#[test]
fn containers_share_out_and_an_earlier_choice_is_taken_back() {
    // The first container alone would take the pair below a switch with both network cards; the second needs such a pair.
    let mut node = busy(&[4, 5, 6, 7], &[2, 3]);
    let request = PodRequest {
        containers: [
            container(Role::App, whole(2), 0),
            container(Role::App, whole(2), 1),
        ]
        .into(),
        affinity: beside(Scope::Switch),
        ..PodRequest::default()
    };
    let placement = place(&mut node, "two", &request).unwrap();
    let of = |at: usize| {
        let placed = &placement.containers[at];
        placed
            .cards
            .iter()
            .map(|placed| placed.card)
            .collect::<Vec<_>>()
    };
    assert_eq!((of(0), of(1)), (vec![2, 3], vec![0, 1]));
}

#[test]
fn an_init_container_takes_turns_and_a_sidecar_does_not() {
    let mut spec = eight_gpus();
    spec.cards.truncate(2);
    let of = |roles: [(Role, u8); 2]| PodRequest {
        containers: roles
            .map(|(role, cards)| container(role, whole(cards), 0))
            .into(),
        ..PodRequest::default()
    };
    let mut node = node(spec);
    assert_eq!(
        fit(&node, &of([(Role::Sidecar, 1), (Role::App, 2)])).unwrap_err(),
        Unfit::CardModel
    );
    let request = of([(Role::Init, 2), (Role::App, 1)]);
    place(&mut node, "turns", &request).unwrap();
    assert_eq!(node.pod("turns").unwrap().cards.len(), 2);
    node.remove("turns");
    place(&mut node, "one", &job(whole(1), 0, any())).unwrap();
    let again = place(&mut node, "again", &of([(Role::Init, 1), (Role::App, 1)])).unwrap();
    assert_eq!(cards(&again), [1, 1], "the same card, one after the other");
}

#[test]
fn devices_of_a_bound_pod_come_from_its_numa_nodes() {
    let node = node(eight_gpus());
    let bound = |ids: &str, gpus| PodRequest {
        numa: NumaRequest::Set {
            exclusive: false,
            count: None,
            ids: NumaSet::parse(ids),
            even: false,
            by_socket: false,
        },
        containers: [container(Role::App, whole(gpus), gpus)].into(),
        ..dedicated(8, 8, false, None)
    };
    assert_eq!(cards(&fit(&node, &bound("1", 2)).unwrap()), [4, 5]);
    assert_eq!(fit(&node, &bound("1", 5)).unwrap_err(), Unfit::CardModel);
    let wider = PodRequest {
        containers: [container(Role::App, whole(5), 5)].into(),
        ..dedicated(8, 8, false, None)
    };
    let placement = fit(&node, &wider).unwrap();
    assert_eq!(
        shares(&placement).len(),
        2,
        "CPUs need one NUMA node, GPUs two"
    );
}

#[test]
fn pairs_follow_the_rails() {
    let placement = fit(
        &busy(&[0], &[3]),
        &job(
            whole(4),
            3,
            Affinity {
                rail_order: true,
                ..any()
            },
        ),
    )
    .unwrap();
    let placed = &placement.containers[0];
    let switches = |at: usize| (placed.cards[at].card / 2, placed.nics[at] / 2);
    for pair in 0..3 {
        let (card, nic) = switches(pair);
        assert_eq!(card, nic, "{placed:?}");
    }
    assert!(placed.nics.is_sorted(), "{placed:?}");
}

#[test]
fn a_card_that_is_chosen_for_us_is_the_only_one_tried() {
    let node = busy(&[3], &[]);
    let request = job(part(1, 10, 100), 0, any());
    assert_eq!(cards(&fit_on(&node, &request, Mask::one(5)).unwrap()), [5]);
    assert_eq!(
        fit_on(&node, &request, Mask::one(3)).unwrap_err(),
        Unfit::CardsBusy
    );
}

#[test]
fn a_search_without_end_ends() {
    // 16 cards that all differ in their free percent, and two containers that want eight of them each with too much.
    let mut spec = MachineSpec {
        zones: vec![zone(0, 0, 64, 512)],
        ..MachineSpec::default()
    };
    spec.cards = (0..32).map(|n| card(n, &format!("s{n}"), 0)).collect();
    let mut node = node(spec);
    for number in 0..32_u32 {
        let request = PodRequest {
            cards: CardSelector {
                uuids: [format!("GPU-{number}").into()].into(),
                ..CardSelector::default()
            },
            ..job(part(1, 1 + number as u8, 100), 0, any())
        };
        place(&mut node, &number.to_string(), &request).unwrap();
    }
    let request = PodRequest {
        containers: [
            container(Role::App, part(16, 50, 100), 0),
            container(Role::App, part(17, 50, 100), 0),
        ]
        .into(),
        ..PodRequest::default()
    };
    assert_eq!(fit(&node, &request).unwrap_err(), Unfit::SearchLimit);
}

#[test]
fn without_cards_there_is_one_plain_reason() {
    let node = node(four_nodes());
    assert_eq!(
        fit(&node, &job(whole(1), 0, any())).unwrap_err(),
        Unfit::NoCards
    );
    assert!(!Unfit::NoCards.resolvable());
}
