//! Nothing is given twice, whatever came and went before.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;

use super::{brute, machines::*};
use crate::{
    placement::{
        Allocation, CardShare, NodePlacement, NumaShare, Uid, fit,
        node::Reported,
        request::{NumaRequest, PodRequest},
    },
    qos::{Level, NumaSet},
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

/// One thing that happens to a node.
#[derive(Debug, Clone)]
enum Event {
    /// A pod is placed, if it fits.
    Place(u8, Box<PodRequest>),
    /// A pod is gone.
    Remove(u8),
    /// A pod is told of again.
    Repeat(u8),
    /// The agent reports what bound pods hold.
    Report,
    /// The machine is lost for a while and comes back.
    Flap,
}

fn bound() -> impl Strategy<Value = PodRequest> {
    let ids = prop::option::of(prop::sample::subsequence(vec![0_u32, 1], 1..=2));
    (
        1_u64..80,
        1_u64..600,
        any::<bool>(),
        prop::option::of(1_u32..3),
        ids,
    )
        .prop_map(|(cpus, gib, exclusive, count, ids)| PodRequest {
            numa: NumaRequest::Set {
                exclusive,
                count: count.filter(|_| ids.is_none()),
                ids: ids.and_then(NumaSet::from_ids),
                even: false,
                by_socket: false,
            },
            ..dedicated(cpus, gib, exclusive, None)
        })
}

fn batch() -> impl Strategy<Value = PodRequest> {
    (1_u64..40_000, 1_u64..40, any::<bool>()).prop_map(|(millicpu, gib, binds)| PodRequest {
        level: Level::Reclaimed,
        reclaimed: Some(Reclaimed::new(millicpu, gib * GIB)),
        numa: if binds {
            NumaRequest::One { among: None }
        } else {
            NumaRequest::None
        },
        ..PodRequest::default()
    })
}

fn pod() -> impl Strategy<Value = PodRequest> {
    let with_devices = (bound(), brute::pod()).prop_map(|(bound, devices)| PodRequest {
        containers: devices.containers,
        affinity: devices.affinity,
        ..bound
    });
    prop_oneof![3 => brute::pod(), 2 => bound(), 2 => batch(), 1 => with_devices]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0_u8..12, pod()).prop_map(|(uid, pod)| Event::Place(uid, Box::new(pod))),
        3 => (0_u8..12).prop_map(Event::Remove),
        1 => (0_u8..12).prop_map(Event::Repeat),
        1 => Just(Event::Report),
        1 => Just(Event::Flap),
    ]
}

fn machine() -> NodePlacement {
    let mut spec = eight_gpus();
    for zone in &mut spec.zones {
        zone.reclaimed = Some(Reclaimed::new(30_000, 60 * GIB));
    }
    node(spec)
}

/// Counted from the allocations alone, without the sums of the node.
fn check(node: &NodePlacement, held: &BTreeMap<u8, Arc<Allocation>>) -> Result<(), TestCaseError> {
    let machine = node.machine();
    let mut reclaimed = Reclaimed::ZERO;
    let mut cards: BTreeMap<&str, (u32, u64, u32, u32)> = BTreeMap::new();
    let mut nics: BTreeMap<&str, u32> = BTreeMap::new();
    let mut zones: BTreeMap<u32, (Millicpu, Bytes, Reclaimed, u32, u32)> = BTreeMap::new();
    for allocation in held.values() {
        reclaimed = reclaimed + allocation.reclaimed;
        for card in &allocation.cards {
            let (percent, mib, parts, whole) = cards.entry(&card.uuid).or_default();
            match card.share {
                CardShare::Whole => *whole += 1,
                CardShare::Part { percent: p, mib: m } => {
                    *percent += u32::from(p);
                    *mib += u64::from(m);
                    *parts += 1;
                }
            }
        }
        for nic in &allocation.nics {
            *nics.entry(nic).or_default() += 1;
        }
        for share in &allocation.numa {
            let zone = zones.entry(share.id).or_default();
            zone.0 += share.cpu;
            zone.1 += share.memory;
            zone.2 = zone.2 + share.reclaimed;
            zone.3 += 1;
            zone.4 += u32::from(allocation.exclusive);
        }
    }
    prop_assert!(reclaimed.fits_in(&node.reclaimed().allocatable));
    for (uuid, (percent, mib, parts, whole)) in cards {
        let card = machine
            .cards()
            .iter()
            .find(|card| *card.uuid == *uuid)
            .unwrap();
        prop_assert!(
            percent <= 100 && mib <= u64::from(card.mib),
            "{uuid}: {percent} {mib}"
        );
        prop_assert!(
            whole == 0 || (whole == 1 && parts == 0),
            "{uuid}: {whole} {parts}"
        );
    }
    prop_assert!(nics.values().all(|holders| *holders == 1), "{nics:?}");
    for (id, (cpu, memory, reclaimed, holders, exclusive)) in zones {
        let zone = &machine.zones()[machine.zone_position(id).unwrap()];
        prop_assert!(
            cpu <= zone.cpu && memory <= zone.memory,
            "node {id}: {cpu} {memory}"
        );
        prop_assert!(
            reclaimed.fits_in(&zone.reclaimed.unwrap()),
            "node {id}: {reclaimed}"
        );
        prop_assert!(
            exclusive == 0 || holders == 1,
            "node {id}: {holders} {exclusive}"
        );
    }
    Ok(())
}

fn name(uid: u8) -> Uid {
    format!("pod-{uid}").into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nothing_is_given_twice(events in prop::collection::vec(event(), 1..60)) {
        let mut node = machine();
        let whole = Arc::clone(node.machine());
        let mut held: BTreeMap<u8, Arc<Allocation>> = BTreeMap::new();
        for event in events {
            match event {
                Event::Place(uid, request) if !held.contains_key(&uid) => {
                    if let Ok(placement) = fit(&node, &request) {
                        let allocation = Arc::new(placement.allocation(node.machine(), &request));
                        node.add(&name(uid), &allocation);
                        held.insert(uid, allocation);
                    }
                }
                Event::Place(uid, _) | Event::Repeat(uid) => {
                    if let Some(allocation) = held.get(&uid) {
                        node.add(&name(uid), allocation);
                    }
                }
                Event::Remove(uid) => {
                    let known = held.remove(&uid);
                    prop_assert_eq!(node.remove(&name(uid)).is_some(), known.is_some());
                }
                Event::Report => {
                    let report = |(uid, allocation): (&u8, &Arc<Allocation>)| Reported {
                        uid: name(*uid),
                        shares: allocation.numa.clone(),
                    };
                    let bound = held.iter().filter(|(_, allocation)| !allocation.numa.is_empty());
                    node.set_reported(bound.map(report).collect());
                }
                Event::Flap => {
                    node.set_machine(Arc::default());
                    node.set_machine(Arc::clone(&whole));
                }
            }
            check(&node, &held)?;
            // From scratch it is the same node.
            let mut fresh = machine();
            for (uid, allocation) in held.iter().rev() {
                fresh.add(&name(*uid), allocation);
            }
            prop_assert_eq!(fresh.used(), node.used());
        }
    }

    #[test]
    fn what_was_removed_comes_back_as_it_was(pods in prop::collection::vec(pod(), 1..8), at in any::<prop::sample::Index>()) {
        let mut node = machine();
        for (number, pod) in pods.iter().enumerate() {
            place(&mut node, &number.to_string(), pod).ok();
        }
        let reported = Reported {
            uid: "stranger".into(),
            shares: [NumaShare { id: 1, cpu: Millicpu::new(500), ..NumaShare::default() }].into(),
        };
        node.set_reported(vec![reported]);
        let before = node.clone();
        let uid = if at.index(9) == 8 { "stranger".to_owned() } else { at.index(pods.len()).to_string() };
        if let Some(removed) = node.remove(&uid) {
            node.restore(removed);
        }
        prop_assert_eq!(node, before);
    }
}
