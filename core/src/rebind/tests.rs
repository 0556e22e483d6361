//! Tables of the rules, and a machine on which plans are carried out.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::qos::{Level, NumaSet};
use crate::topology::{NumaNode, Topology};
use crate::units::Bytes;

use super::*;

const GIB: u64 = 1 << 30;

fn topology(nodes: u32) -> Topology {
    let node = |id| NumaNode {
        id,
        memory: Bytes::new(64 * GIB),
        ..NumaNode::default()
    };
    Topology::new([], (0..nodes).map(node))
}

fn node(id: u32, free_gib: f64) -> NodeMemory {
    NodeMemory {
        id,
        total: Bytes::new(64 * GIB),
        free: Bytes::new(GIB).scale(free_gib),
        droppable: Bytes::ZERO,
        low: Bytes::new(GIB / 8),
        pressure: None,
        exclusive: false,
    }
}

fn pod(uid: &str, level: Level, on: &[(u32, f64)]) -> MemoryPod {
    MemoryPod {
        uid: uid.to_owned(),
        level,
        bound: false,
        resident: on
            .iter()
            .map(|(id, gib)| (*id, Bytes::new(GIB).scale(*gib)))
            .collect(),
        mems: None,
        changed_seconds: None,
    }
}

fn plan(nodes: &[NodeMemory], pods: &[MemoryPod]) -> RebindPlan {
    let input = RebindInput {
        topology: &topology(nodes.len() as u32),
        nodes,
        pods,
        moved: Bytes::ZERO,
        now_seconds: 10_000.0,
    };
    plan_rebind(&input, &RebindParams::default())
}

fn moves(plan: &RebindPlan) -> Vec<(&str, String)> {
    plan.changes
        .iter()
        .map(|change| {
            (
                change.uid.as_str(),
                change
                    .mems
                    .as_ref()
                    .map_or("all".to_owned(), ToString::to_string),
            )
        })
        .collect()
}

#[test]
fn batch_leaves_a_hot_node_and_only_as_much_as_needed() {
    // Floor 1.28 GiB, so 1.56 GiB are lacking.
    let nodes = [node(0, 1.0), node(1, 30.0)];
    let pods = [
        pod("service", Level::Shared, &[(0, 2.0)]),
        pod("large", Level::Reclaimed, &[(0, 3.5)]),
        pod("right", Level::Reclaimed, &[(0, 2.0)]),
        pod("tiny", Level::Reclaimed, &[(0, 0.1)]),
    ];
    let plan = plan(&nodes, &pods);
    assert_eq!(moves(&plan), [("right", "1".to_owned())]);
    assert!(plan.hot.contains_key(&0));
}

#[test]
fn why_a_pod_stays() {
    let hot = [node(0, 1.0), node(1, 30.0)];
    let full = [node(0, 1.0), node(1, 7.0)];
    let small = pod("a", Level::Reclaimed, &[(0, 0.1)]);
    let huge = pod("a", Level::Reclaimed, &[(0, 5.0)]);
    let right = pod("a", Level::Reclaimed, &[(0, 2.0)]);
    let recent = MemoryPod {
        changed_seconds: Some(9_500.0),
        ..right.clone()
    };
    // Most of it lies elsewhere and would have to move too.
    let spread = MemoryPod {
        resident: BTreeMap::from([(0, Bytes::new(GIB / 4)), (2, Bytes::new(3 * GIB))]),
        ..right.clone()
    };
    for (nodes, pod, reason) in [
        (hot.to_vec(), small, SkipReason::Small),
        (hot.to_vec(), huge, SkipReason::Bound),
        (hot.to_vec(), recent, SkipReason::CoolDown),
        (full.to_vec(), right.clone(), SkipReason::NoTarget),
        (
            vec![node(0, 1.0), node(1, 30.0), node(2, 6.5)],
            spread,
            SkipReason::NotWorth,
        ),
    ] {
        let plan = plan(&nodes, &[pod]);
        assert_eq!(
            plan.skipped.first().map(|skip| skip.reason),
            Some(reason),
            "{plan:?}"
        );
        assert!(plan.changes.is_empty());
    }
}

#[test]
fn an_exclusive_node_is_no_target_and_a_bound_pod_is_not_moved() {
    let exclusive = NodeMemory {
        exclusive: true,
        ..node(1, 60.0)
    };
    let batch = pod("a", Level::Reclaimed, &[(0, 2.0)]);
    assert!(
        plan(&[node(0, 1.0), exclusive], std::slice::from_ref(&batch))
            .changes
            .is_empty()
    );
    let bound = MemoryPod {
        bound: true,
        ..batch
    };
    assert!(
        plan(&[node(0, 1.0), node(1, 60.0)], &[bound])
            .changes
            .is_empty()
    );
}

#[test]
fn pressure_makes_a_node_hot_before_its_floor_does() {
    let pressed = NodeMemory {
        pressure: Some(0.3),
        ..node(0, 2.0)
    };
    let batch = [pod("a", Level::Reclaimed, &[(0, 2.0)])];
    assert_eq!(plan(&[pressed, node(1, 30.0)], &batch).changes.len(), 1);
    assert!(
        plan(&[node(0, 2.0), node(1, 30.0)], &batch)
            .changes
            .is_empty()
    );
}

#[test]
fn a_pod_gets_all_nodes_back_when_nothing_is_hot() {
    let narrowed = MemoryPod {
        mems: NumaSet::parse("1"),
        changed_seconds: Some(9_000.0),
        ..pod("a", Level::Reclaimed, &[(1, 2.0)])
    };
    let by_other = MemoryPod {
        changed_seconds: None,
        ..narrowed.clone()
    };
    let cool = [node(0, 30.0), node(1, 30.0)];
    assert_eq!(
        moves(&plan(&cool, std::slice::from_ref(&narrowed))),
        [("a", "all".to_owned())]
    );
    assert!(plan(&cool, &[by_other]).changes.is_empty());
    assert!(
        plan(&[node(0, 2.0), node(1, 30.0)], &[narrowed])
            .changes
            .is_empty()
    );
}

fn any_node() -> impl Strategy<Value = (f64, f64, bool, Option<f64>)> {
    (
        0.0..14.0_f64,
        0.0..4.0_f64,
        prop::bool::weighted(0.15),
        prop::option::of(0.0..0.5_f64),
    )
}

fn any_pod() -> impl Strategy<Value = MemoryPod> {
    let level = prop::sample::select(Level::ALL.to_vec());
    let mems = prop::option::of(prop::collection::btree_set(0..6_u32, 1..4));
    (
        level,
        any::<[bool; 2]>(),
        prop::collection::btree_map(0..6_u32, 0.0..3.0_f64, 0..4),
        mems,
    )
        .prop_map(|(level, [bound, free], on, mems)| MemoryPod {
            bound: bound && free,
            mems: mems.and_then(NumaSet::from_ids),
            ..pod("", level, &on.into_iter().collect::<Vec<_>>())
        })
}

proptest! {
    /// Carried out on a machine whose pages go where they are sent, at worst all to one target: no pod without a memory node, never more bytes than the bound,
    /// no target below its reserve, nobody sent to an exclusive node, no pod twice in a cool-down, and at rest soon.
    #[test]
    fn plans_are_bounded_and_come_to_rest(nodes in prop::collection::vec(any_node(), 1..6), pods in prop::collection::vec(any_pod(), 0..12)) {
        let params = RebindParams::default();
        let topology = topology(nodes.len() as u32);
        let mut nodes: Vec<NodeMemory> = (0..).zip(nodes).map(|(id, (free, droppable, exclusive, pressure))| NodeMemory {
            droppable: Bytes::new(GIB).scale(droppable), exclusive, pressure, ..node(id, free)
        }).collect();
        let mut pods: Vec<MemoryPod> = (0..).zip(pods).map(|(index, pod): (u32, _)| MemoryPod { uid: format!("{:02}", index * 7 % 30), ..pod }).collect();
        let mut now = 0.0;
        let mut rounds_with_moves = 0;
        for _ in 0..20 {
            let input = RebindInput { topology: &topology, nodes: &nodes, pods: &pods, moved: Bytes::ZERO, now_seconds: now };
            let plan = plan_rebind(&input, &params);
            let mut backwards = pods.clone();
            backwards.reverse();
            prop_assert_eq!(&plan_rebind(&RebindInput { pods: &backwards, ..input }, &params), &plan);
            prop_assert!(plan.changes.iter().map(|change| change.bytes).sum::<Bytes>() <= params.most_in_interval);
            rounds_with_moves += u32::from(plan.changes.iter().any(|change| change.kind == RebindKind::Leave));
            for change in &plan.changes {
                let pod = pods.iter_mut().find(|pod| pod.uid == change.uid).unwrap();
                prop_assert!(!pod.bound && pod.level <= Level::Shared);
                prop_assert!(pod.changed_seconds.is_none_or(|changed| now - changed >= params.cool_down_seconds), "ping-pong of {}", pod.uid);
                pod.changed_seconds = Some(now);
                let before = pod.mems.clone();
                pod.mems.clone_from(&change.mems);
                let Some(mems) = &change.mems else { continue };
                prop_assert!(mems.iter().all(|id| nodes.iter().any(|node| node.id == id && !node.exclusive)));
                prop_assert!(before.is_none_or(|before| mems.iter().all(|id| before.contains(id))));
                prop_assert!(!mems.contains(change.from.unwrap()));
                prop_assert!(change.relief_seconds > change.cost_seconds);
                // All pages that have to go, go to the fullest target.
                let target = mems.iter().min_by_key(|id| nodes[*id as usize].available()).unwrap();
                let leaving: Vec<u32> = pod.resident.keys().copied().filter(|id| !mems.contains(*id)).collect();
                for id in leaving {
                    let bytes = pod.resident.remove(&id).unwrap();
                    if let Some(node) = nodes.get_mut(id as usize) { node.free += bytes; }
                    let to = &mut nodes[target as usize];
                    prop_assert!(to.available().get() >= bytes.get());
                    let dropped = bytes - to.free;
                    to.free = to.free - bytes;
                    to.droppable = to.droppable - dropped;
                    *pod.resident.entry(target).or_default() += bytes;
                }
                let to = &nodes[target as usize];
                prop_assert!(to.is_cool(&params) && to.available() >= to.total.scale(params.reserve_fraction), "{to:?} has given its reserve");
            }
            now += 60.0;
        }
        prop_assert!(rounds_with_moves <= 12, "{rounds_with_moves} rounds with moves");
    }
}
