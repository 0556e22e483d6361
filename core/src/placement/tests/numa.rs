use rstest::rstest;

use super::machines::*;
use crate::{
    placement::{
        Allocation, Unfit, fit,
        machine::{KubeletPolicy, MachineSpec, Zone},
        request::{ContainerRequest, NumaRequest, PodRequest, Role},
    },
    qos::{Level, NumaSet},
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

#[rstest]
#[case::one_node(dedicated(4, 8, false, None), vec![(0, 4_000)])]
#[case::whole_cores(dedicated(3, 8, false, None), vec![(0, 3_000)])]
#[case::two_near_nodes(dedicated(12, 8, false, None), vec![(0, 6_000), (1, 6_000)])]
#[case::memory_needs_two(dedicated(4, 40, false, None), vec![(0, 2_000), (1, 2_000)])]
#[case::as_many_as_asked(dedicated(4, 8, false, Some(3)), vec![(0, 1_000), (1, 1_000), (4, 2_000)])]
#[case::exclusive_takes_them_whole(dedicated(9, 8, true, None), vec![(0, 8_000), (1, 8_000)])]
fn fewest_and_nearest_nodes(#[case] request: PodRequest, #[case] expected: Vec<(u32, u64)>) {
    let node = node(four_nodes());
    let mut found = shares(&fit(&node, &request).unwrap());
    found.sort_unstable();
    let ids = |shares: &[(u32, u64)]| shares.iter().map(|share| share.0).collect::<Vec<_>>();
    assert_eq!(ids(&found), ids(&expected));
    let sum = |shares: &[(u32, u64)]| shares.iter().map(|share| share.1).sum::<u64>();
    assert_eq!(sum(&found), sum(&expected));
}

#[test]
fn distance_goes_before_fullness() {
    let mut node = node(four_nodes());
    // Fuller, so better fits, but far from each other.
    for (uid, id) in [("a", 1), ("b", 4)] {
        let request = PodRequest {
            numa: NumaRequest::Set {
                exclusive: false,
                count: None,
                ids: NumaSet::from_ids([id]),
                even: false,
                by_socket: false,
            },
            ..dedicated(2, 1, false, None)
        };
        place(&mut node, uid, &request).unwrap();
    }
    let both = fit(&node, &dedicated(12, 1, false, None)).unwrap();
    let ids: Vec<_> = shares(&both).iter().map(|share| share.0).collect();
    assert!(ids == [0, 1] || ids == [4, 5], "{ids:?}");
}

#[rstest]
#[case::named_and_absent(NumaSet::parse("2"), Unfit::NumaAbsent)]
#[case::named_and_too_small(NumaSet::parse("0"), Unfit::NumaTooSmall)]
fn named_nodes(#[case] ids: Option<NumaSet>, #[case] expected: Unfit) {
    let request = PodRequest {
        numa: NumaRequest::Set {
            exclusive: false,
            count: None,
            ids,
            even: false,
            by_socket: false,
        },
        ..dedicated(10, 1, false, None)
    };
    assert_eq!(fit(&node(four_nodes()), &request).unwrap_err(), expected);
}

#[test]
fn an_exclusive_node_is_nobody_elses() {
    let mut node = node(four_nodes());
    place(&mut node, "shared", &dedicated(2, 1, false, None)).unwrap();
    let alone = place(&mut node, "alone", &dedicated(20, 1, true, None)).unwrap();
    assert_eq!(shares(&alone).len(), 3, "all but the one in use");
    assert_eq!(
        fit(&node, &dedicated(1, 1, true, None)).unwrap_err(),
        Unfit::NumaNotIdle
    );
    let beside = fit(&node, &dedicated(2, 1, false, None)).unwrap();
    assert_eq!(shares(&beside), [(0, 2_000)]);
    node.remove("alone");
    assert_eq!(
        shares(&fit(&node, &dedicated(1, 1, true, None)).unwrap()).len(),
        1
    );
}

#[test]
fn others_keep_what_they_request() {
    let mut node = node(four_nodes());
    hold(
        &mut node,
        "services",
        Allocation {
            floating: Millicpu::new(9_500),
            ..Allocation::default()
        },
    );
    // 32 CPUs, 10 of them for the services.
    assert!(fit(&node, &dedicated(22, 1, false, None)).is_ok());
    assert_eq!(
        fit(&node, &dedicated(23, 1, false, None)).unwrap_err(),
        Unfit::NumaCrowded
    );
    assert_eq!(
        fit(&node, &dedicated(17, 1, true, None)).unwrap_err(),
        Unfit::NumaCrowded,
        "three whole nodes"
    );
}

#[test]
fn a_node_without_cpus_is_memory_for_nobody() {
    let mut spec = four_nodes();
    spec.zones.truncate(2);
    spec.zones.push(zone(9, 0, 0, 1_024));
    let node = node(spec);
    assert_eq!(
        fit(&node, &dedicated(4, 100, false, None)).unwrap_err(),
        Unfit::NumaTooSmall
    );
}

#[test]
fn whole_cores_are_taken() {
    let mut spec = four_nodes();
    spec.threads = 2;
    let mut node = node(spec);
    let three = place(&mut node, "three", &dedicated(3, 1, false, None)).unwrap();
    assert_eq!(shares(&three), [(0, 4_000)], "the other thread is nobody's");
    let five = fit(&node, &dedicated(5, 1, false, Some(1))).unwrap();
    assert_eq!(
        shares(&five),
        [(1, 6_000)],
        "no room for three cores beside it"
    );
}

#[test]
fn reclaimed_pods_are_bound_to_what_a_node_offers_there() {
    let mut spec = four_nodes();
    for (zone, millicpu) in spec.zones.iter_mut().zip([1_000, 3_000, 2_000, 500]) {
        zone.reclaimed = Some(Reclaimed::new(millicpu, GIB));
    }
    let mut node = node(spec);
    let batch = |millicpu| PodRequest {
        level: Level::Reclaimed,
        reclaimed: Some(Reclaimed::new(millicpu, 1)),
        numa: NumaRequest::One { among: None },
        ..PodRequest::default()
    };
    let first = place(&mut node, "first", &batch(2_000)).unwrap();
    assert_eq!(first.numa[0].id, 1);
    assert_eq!(first.numa[0].reclaimed, Reclaimed::new(2_000, 1));
    let second = place(&mut node, "second", &batch(2_000)).unwrap();
    assert_eq!(second.numa[0].id, 4);
    assert_eq!(fit(&node, &batch(2_000)).unwrap_err(), Unfit::NumaReclaimed);
    let unbound = PodRequest {
        numa: NumaRequest::None,
        ..batch(90_000)
    };
    assert!(
        fit(&node, &unbound).is_ok(),
        "as much as the node offers in all"
    );
    assert_eq!(
        fit(
            &node,
            &PodRequest {
                reclaimed: Some(Reclaimed::new(97_000, 1)),
                ..unbound
            }
        )
        .unwrap_err(),
        Unfit::Cpu
    );
}

fn guaranteed(containers: &[(Role, u64, u64)]) -> PodRequest {
    let containers: Box<[ContainerRequest]> = containers
        .iter()
        .map(|(role, cpus, gib)| ContainerRequest {
            role: *role,
            cpu: Millicpu::new(cpus * 1_000),
            memory: Bytes::new(gib * GIB),
            ..ContainerRequest::default()
        })
        .collect();
    let apps = || containers.iter().filter(|each| each.role != Role::Init);
    PodRequest {
        cpu: apps().map(|each| each.cpu).sum(),
        memory: apps().map(|each| each.memory).sum(),
        guaranteed: true,
        containers,
        ..PodRequest::default()
    }
}

const APP: Role = Role::App;

#[rstest]
#[case::lowest(KubeletPolicy::SingleNuma, false, &[(APP, 4, 8)], Ok(vec![(0, 4_000)]))]
#[case::each_container(KubeletPolicy::SingleNuma, false, &[(APP, 6, 8), (APP, 6, 8)], Ok(vec![(0, 6_000), (1, 6_000)]))]
#[case::the_pod(KubeletPolicy::SingleNuma, true, &[(APP, 6, 8), (APP, 6, 8)], Err(Unfit::NumaTooSmall))]
#[case::init_is_free_again(KubeletPolicy::SingleNuma, false, &[(Role::Init, 8, 8), (APP, 6, 8)], Ok(vec![(0, 6_000)]))]
#[case::memory_too(KubeletPolicy::SingleNuma, false, &[(APP, 1, 40)], Err(Unfit::NumaTooSmall))]
#[case::two_wide(KubeletPolicy::Restricted, false, &[(APP, 10, 40)], Ok(vec![(0, 8_000), (1, 2_000)]))]
#[case::widths_differ(KubeletPolicy::Restricted, false, &[(APP, 10, 8)], Err(Unfit::Misaligned))]
#[case::lenient(KubeletPolicy::Lenient, false, &[(APP, 30, 8)], Ok(vec![]))]
fn what_kubelet_will_do(
    #[case] policy: KubeletPolicy,
    #[case] pod_scope: bool,
    #[case] containers: &[(Role, u64, u64)],
    #[case] expected: Result<Vec<(u32, u64)>, Unfit>,
) {
    let spec = MachineSpec {
        alignment: kubelet(policy, pod_scope),
        ..four_nodes()
    };
    let found = fit(&node(spec), &guaranteed(containers));
    assert!(
        found.as_ref().is_ok_and(|placed| placed.predicted)
            || policy == KubeletPolicy::Lenient
            || found.is_err()
    );
    assert_eq!(found.map(|placed| shares(&placed)), expected);
}

#[test]
fn restricted_looks_at_what_is_free_only_after_the_width() {
    let spec = MachineSpec {
        alignment: kubelet(KubeletPolicy::Restricted, false),
        ..four_nodes()
    };
    let mut node = node(spec);
    for uid in ["a", "b", "c", "d"] {
        place(&mut node, uid, &guaranteed(&[(APP, 5, 1)])).unwrap();
    }
    assert_eq!(
        fit(&node, &guaranteed(&[(APP, 5, 1)])).unwrap_err(),
        Unfit::NumaBusy,
        "three CPUs are free in each node, and five would fit into an idle one"
    );
}

#[test]
fn zones_stand_in_order() {
    let mut spec = four_nodes();
    spec.zones.reverse();
    let node = node(spec);
    assert!(
        node.machine()
            .zones()
            .is_sorted_by_key(|zone: &Zone| zone.id)
    );
}
