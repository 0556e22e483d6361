use proptest::prelude::*;

use super::*;
use crate::packing::node::Card;
use crate::packing::{CardSet, ModelId};

fn node(cpu: u64, lefts: &[u16]) -> NodeState {
    let mut node = NodeState::new(
        cpu,
        1,
        ModelId::default(),
        lefts.iter().map(|milli| Card {
            milli: *milli,
            memory_mib: 0,
        }),
    );
    node.untouched = false;
    node
}

/// Few sequences: a debug build walks them slowly.
fn learned(classes: &[(PodClass, u64)]) -> Box<dyn PackingPolicy> {
    let mut capacity = Capacity::default();
    capacity.add(ModelId::default(), 8000);
    Rollout::new(Params {
        sequences: 32,
        ..Params::default()
    })
    .learned(&ClassTable::new(classes.to_vec()), &capacity)
}

#[test]
fn a_pod_leaves_what_others_ask_for() {
    // The tightest card has 500 left: 300 there leaves 200 that nobody wants; 300 of the whole card leaves 700.
    let policy = learned(&[
        (PodClass::gpu(1000, 700, 1), 10),
        (PodClass::gpu(1000, 500, 1), 10),
        (PodClass::gpu(1000, 300, 1), 1),
    ]);
    let placement = policy
        .place(
            &PodClass::gpu(1000, 300, 1),
            &node(64_000, &[500, 1000]),
            &mut Budget::unlimited(),
        )
        .unwrap();
    assert_eq!(placement.cards, CardSet::one(1));
}

#[test]
fn an_untouched_node_is_the_last_choice_among_equals() {
    let policy = learned(&[(PodClass::gpu(1000, 1000, 1), 1)]);
    let used = node(64_000, &[1000, 1000]);
    let mut fresh = used;
    fresh.untouched = true;
    let pod = PodClass::gpu(1000, 1000, 1);
    let budget = &mut Budget::unlimited();
    let mut cost = |node| policy.place(&pod, node, budget).unwrap().cost;
    assert!(cost(&used) < cost(&fresh));
}

#[test]
fn a_request_out_of_budget_gets_an_estimate_of_the_same_quantity() {
    let policy = learned(&[
        (PodClass::gpu(1000, 700, 1), 3),
        (PodClass::gpu(1000, 300, 1), 1),
    ]);
    let pod = PodClass::gpu(1000, 700, 1);
    let node = node(64_000, &[1000, 700, 300]);
    let mut none = Budget::new(0);
    let estimate = policy.place(&pod, &node, &mut none).unwrap();
    assert!(none.ran_short());
    let step = |cards| (node, node.with(&pod, cards));
    let (before, after) = step(estimate.cards);
    assert_eq!(policy.known(&pod, &before, &after), None);
    policy.warm(&node, &pod, &mut Budget::unlimited());
    let mut none = Budget::new(0);
    let exact = policy.place(&pod, &node, &mut none).unwrap();
    assert!(!none.ran_short(), "what was warmed costs no budget");
    assert_eq!(estimate.cards, exact.cards);
    let (before, after) = step(exact.cards);
    assert_eq!(policy.known(&pod, &before, &after), Some(exact.cost));
    assert!((estimate.cost - exact.cost).abs() < 200.0);
}

#[test]
fn room_for_cpu_only_pods_has_a_price_where_it_is_scarce_only() {
    let policy = learned(&[
        (PodClass::gpu(2000, 500, 1), 1),
        (PodClass::cpu_only(32_000), 1),
    ]);
    let pod = PodClass::gpu(2000, 500, 1);
    // The last node with room for the large pod, and one without; else equal.
    let (with, without) = (node(34_000, &[500, 500]), node(30_000, &[500, 500]));
    let extra = |policy: &dyn PackingPolicy| {
        let cost = |node| {
            policy
                .place(&pod, node, &mut Budget::unlimited())
                .unwrap()
                .cost
        };
        cost(&node(33_000, &[500, 0])) - cost(&without)
    };
    let base = extra(policy.as_ref());
    let scarce = policy.priced(&[with, without]).unwrap();
    assert!(extra(scarce.as_ref()) > base + 1.0);
    let mut plenty = vec![without; 2];
    plenty.extend(vec![node(1_000_000, &[0]); 1000]);
    let plenty = policy.priced(&plenty).unwrap();
    assert!(extra(plenty.as_ref()) < extra(scarce.as_ref()) / 2.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_step_costs_nothing(cpu in 0..64_000u64, lefts in prop::collection::vec(0..=1000u16, 0..=8)) {
        let policy = learned(&[(PodClass::gpu(1000, 450, 1), 2), (PodClass::gpu(4000, 1000, 1), 1)]);
        let node = node(cpu, &lefts);
        let nothing = PodClass::cpu_only(0);
        let after = node.with(&nothing, CardSet::EMPTY);
        prop_assert!(policy.cost(&nothing, &node, &after, &mut Budget::unlimited()).abs() < 1e-9);
    }

    #[test]
    fn the_same_inputs_give_the_same_cost(cpu in 0..64_000u64, lefts in prop::collection::vec(0..=1000u16, 1..=4), milli in 1..=1000u16) {
        let pod = PodClass::gpu(1000, milli, 1);
        let node = node(cpu, &lefts);
        let classes = [(PodClass::gpu(1000, 450, 1), 2), (pod, 1)];
        let place = || learned(&classes).place(&pod, &node, &mut Budget::unlimited());
        prop_assert_eq!(place(), place());
        if let Some(placement) = place() {
            prop_assert!(node.with(&pod, placement.cards).idle_milli() + u64::from(milli) == node.idle_milli());
        }
    }
}
