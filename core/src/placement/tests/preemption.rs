use super::machines::*;
use crate::placement::{
    Holder, NodePlacement, Scope, Uid,
    request::{Affinity, PodRequest},
    victims,
};

fn holder(uid: &str, priority: i32, created: i64, violates_budget: bool) -> Holder {
    Holder {
        uid: uid.into(),
        priority,
        created,
        violates_budget,
    }
}

/// Each card taken by a pod named like it.
fn full() -> NodePlacement {
    let mut node = node(eight_gpus());
    for number in 0..8 {
        place(&mut node, &number.to_string(), &whole_card()).unwrap();
    }
    node
}

fn whole_card() -> PodRequest {
    job(whole(1), 0, Affinity::default())
}

fn names(victims: Option<Vec<Uid>>) -> Option<Vec<String>> {
    let mut names: Vec<String> = victims?.iter().map(ToString::to_string).collect();
    names.sort();
    Some(names)
}

#[test]
fn the_lowest_priority_goes_and_among_equals_the_youngest() {
    let node = full();
    let holders = [
        holder("0", 5, 10, false),
        holder("1", 1, 10, false),
        holder("2", 1, 20, false),
        holder("3", 0, 0, true),
    ];
    let one = victims(&node, &whole_card(), &[], &holders);
    assert_eq!(names(one), Some(vec!["2".to_owned()]));
}

#[test]
fn who_need_not_go_stays() {
    let node = full();
    // Two below one switch: 0 and 1, or 2 and 3. Going by priority, 4 goes first, and does not help.
    let request = job(
        whole(2),
        0,
        Affinity {
            gpus: required(Scope::Switch),
            ..Affinity::default()
        },
    );
    let holders = [
        holder("4", 0, 0, false),
        holder("2", 1, 0, false),
        holder("3", 2, 0, false),
        holder("0", 3, 0, false),
        holder("1", 4, 0, false),
    ];
    let two = victims(&node, &request, &[], &holders);
    assert_eq!(names(two), Some(vec!["2".to_owned(), "3".to_owned()]));
    let chosen = victims(&node, &request, &["5".into()], &holders);
    assert_eq!(
        names(chosen),
        Some(vec!["4".to_owned(), "5".to_owned()]),
        "one is leaving anyway"
    );
}

#[test]
fn nobody_goes_in_vain() {
    let node = full();
    let too_many = job(whole(9), 0, Affinity::default());
    let holders: Vec<Holder> = (0..8)
        .map(|n| holder(&n.to_string(), 0, 0, false))
        .collect();
    assert_eq!(victims(&node, &too_many, &[], &holders), None);
    let two = job(whole(2), 0, Affinity::default());
    assert_eq!(victims(&node, &two, &[], &holders[..1]), None);
}
