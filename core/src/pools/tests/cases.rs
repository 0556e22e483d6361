//! One rule a test, on regular machines.

use crate::cpu_set::CpuSet;
use crate::pools::{
    PodCpus, PodReason, PoolInput, PoolParams, PoolPlan, PoolPod, PoolReason, RefusalReason,
    plan_pools,
};
use crate::qos::{CpuWishes, Level, NumaSet, NumaWish};
use crate::topology::Topology;
use crate::units::Millicpu;

use super::machines::{regular, without};
use super::world::pod;

fn plan(topology: &Topology, reserved: &str, pods: &[PoolPod]) -> PoolPlan {
    plan_after(topology, reserved, pods, None, 0.0)
}

fn plan_after(
    topology: &Topology,
    reserved: &str,
    pods: &[PoolPod],
    previous: Option<&PoolPlan>,
    now_seconds: f64,
) -> PoolPlan {
    let reserved = CpuSet::parse(reserved).unwrap();
    let input = PoolInput {
        topology,
        reserved: &reserved,
        pods,
        previous,
        now_seconds,
    };
    plan_pools(&input, &PoolParams::default())
}

fn cpus(plan: &PoolPlan, uid: &str) -> String {
    plan.pods[uid].cpus.to_string()
}

fn mems(plan: &PoolPlan, uid: &str) -> Option<String> {
    plan.pods[uid].mems.as_ref().map(ToString::to_string)
}

fn refusals(plan: &PoolPlan) -> Vec<(&str, RefusalReason)> {
    plan.refused
        .iter()
        .map(|refusal| (refusal.uid.as_str(), refusal.reason))
        .collect()
}

fn dedicated(uid: &str, millicpu: u64) -> PoolPod {
    PoolPod {
        numa_binding: true,
        ..pod(uid, Level::Dedicated, millicpu)
    }
}

fn wishing(pod: PoolPod, change: impl FnOnce(&mut CpuWishes)) -> PoolPod {
    let mut pod = pod;
    change(&mut pod.wishes);
    pod
}

fn named(uid: &str, pool: &str, millicpu: u64) -> PoolPod {
    wishing(pod(uid, Level::Shared, millicpu), |wishes| {
        wishes.cpuset_pool = Some(pool.to_owned());
    })
}

#[test]
fn a_node_without_wishes_keeps_everybody_everywhere() {
    let topology = regular(2, 4, 2, 1);
    let pods = [
        pod("a", Level::Shared, 3000),
        pod("b", Level::Reclaimed, 3000),
        pod("c", Level::System, 100),
    ];
    let plan = plan(&topology, "", &pods);
    for held in plan.pods.values() {
        assert_eq!(
            (held.cpus.to_string().as_str(), &held.mems),
            ("0-15", &None)
        );
    }
}

#[test]
fn a_dedicated_pod_gets_whole_cores_of_one_node_and_others_the_rest() {
    // Cores are {0,8} to {7,15}; nodes are 0-3,8-11 and 4-7,12-15.
    let topology = regular(2, 4, 2, 1);
    let pods = [
        dedicated("a", 3000),
        pod("b", Level::Shared, 1000),
        pod("c", Level::Reclaimed, 0),
        pod("d", Level::System, 0),
    ];
    let plan = plan(&topology, "15", &pods);
    assert_eq!(
        (cpus(&plan, "a").as_str(), mems(&plan, "a")),
        ("4-5,12-13", Some("1".to_owned())),
        "best fit: node 1 has a core less"
    );
    for (uid, expected) in [
        ("b", "0-3,6-11,14"),
        ("c", "0-3,6-11,14"),
        ("d", "0-3,6-11,14-15"),
    ] {
        assert_eq!(
            (cpus(&plan, uid).as_str(), mems(&plan, uid)),
            (expected, None),
            "{uid}"
        );
    }
    assert_eq!(plan.reasons["a"], PodReason::DedicatedNew);
}

#[test]
fn a_pod_stays_in_one_last_level_cache_where_it_fits() {
    // One node of eight cores in four caches of two.
    let topology = regular(1, 8, 1, 4);
    let alone = plan(&topology, "0", &[dedicated("a", 1000)]);
    assert_eq!(cpus(&alone, "a"), "1", "the cache that is broken already");
    let pair = plan(&topology, "0", &[dedicated("a", 2000)]);
    assert_eq!(cpus(&pair, "a"), "2-3");
    let more = plan(&topology, "0", &[dedicated("a", 5000)]);
    assert_eq!(
        cpus(&more, "a"),
        "1-5",
        "two whole caches and the smallest that has the last"
    );
}

#[test]
fn several_nodes_are_near_each_other() {
    // Pairs 0+1 and 2+3 are near. Node 0 has less room than it takes.
    let topology = regular(4, 2, 1, 1);
    let held = PoolPod {
        numa_bind_result: NumaSet::parse("0"),
        ..dedicated("a", 1000)
    };
    let plan = plan(&topology, "", &[held, dedicated("b", 4000)]);
    assert_eq!(
        (cpus(&plan, "b").as_str(), mems(&plan, "b")),
        ("4-7", Some("2-3".to_owned()))
    );
}

#[test]
fn the_schedulers_choice_and_the_pods_wishes_hold() {
    let topology = regular(4, 4, 2, 1);
    let chosen = PoolPod {
        numa_bind_result: NumaSet::parse("2"),
        ..dedicated("a", 2000)
    };
    let ids = wishing(dedicated("b", 4000), |wishes| {
        wishes.numa = NumaWish::Ids(NumaSet::parse("1,3").unwrap());
    });
    let even = wishing(dedicated("c", 3000), |wishes| {
        wishes.numa = NumaWish::Number(2);
        wishes.distribute_evenly_across_numa = true;
    });
    let plan = plan(&topology, "", &[chosen, ids, even]);
    assert_eq!(
        (cpus(&plan, "a").as_str(), mems(&plan, "a")),
        ("8,24", Some("2".to_owned()))
    );
    assert_eq!(
        (cpus(&plan, "b").as_str(), mems(&plan, "b")),
        ("4,12,20,28", Some("1,3".to_owned()))
    );
    let spread: Vec<usize> = topology
        .numa_nodes()
        .map(|node| node.cpus.intersection(&plan.pods["c"].cpus).len())
        .filter(|count| *count > 0)
        .collect();
    assert_eq!(spread, [2, 2], "3 CPUs over two nodes in whole cores");
}

#[test]
fn a_settled_choice_overrules_a_number_and_is_kept() {
    let topology = regular(2, 4, 1, 1);
    let both = wishing(
        PoolPod {
            numa_bind_result: NumaSet::parse("0-1"),
            ..dedicated("a", 4000)
        },
        |wishes| wishes.numa = NumaWish::Number(1),
    );
    let pods = [both, pod("b", Level::Shared, 100)];
    let before = plan(&topology, "", &pods);
    assert_eq!(cpus(&before, "a"), "0-1,4-5");
    assert_eq!(
        plan_after(&topology, "", &pods, Some(&before), 1.0).reasons["a"],
        PodReason::DedicatedKept
    );
}

#[test]
fn an_exclusive_node_is_nobody_elses() {
    let topology = regular(2, 4, 1, 1);
    let exclusive = PoolPod {
        numa_exclusive: true,
        ..dedicated("a", 1000)
    };
    let pods = [
        exclusive,
        pod("b", Level::Shared, 2000),
        pod("c", Level::Reclaimed, 0),
        dedicated("d", 1000),
    ];
    let plan = plan(&topology, "", &pods);
    assert_eq!(
        (cpus(&plan, "a").as_str(), mems(&plan, "a")),
        ("0-3", Some("0".to_owned()))
    );
    assert_eq!(
        (cpus(&plan, "d").as_str(), mems(&plan, "d")),
        ("4", Some("1".to_owned()))
    );
    assert_eq!((cpus(&plan, "b").as_str(), mems(&plan, "b")), ("5-7", None));
    assert_eq!(
        (cpus(&plan, "c").as_str(), mems(&plan, "c")),
        ("5-7", Some("1".to_owned())),
        "batch is kept off its memory"
    );
}

#[test]
fn kubelets_cpus_are_left_alone() {
    let topology = regular(1, 4, 1, 1);
    let pinned = PoolPod {
        kubelet_cpus: CpuSet::parse("1").unwrap(),
        ..pod("a", Level::Dedicated, 1000)
    };
    let plan = plan(
        &topology,
        "",
        &[pinned, pod("b", Level::Shared, 1000), dedicated("c", 1000)],
    );
    assert!(plan.left_alone.contains("a"));
    assert_eq!(
        (
            cpus(&plan, "a").as_str(),
            cpus(&plan, "b").as_str(),
            cpus(&plan, "c").as_str()
        ),
        ("1", "2-3", "0")
    );
}

#[test]
fn a_wish_that_would_squeeze_others_is_refused() {
    let topology = regular(1, 4, 2, 1);
    // Three CPUs are four in whole cores; 4000 millicpu fit beside them, 4001 do not.
    let fits = plan(
        &topology,
        "",
        &[dedicated("a", 3000), pod("b", Level::Shared, 4000)],
    );
    assert_eq!(
        (cpus(&fits, "a").as_str(), fits.refused.len()),
        ("0-1,4-5", 0)
    );
    let squeezes = plan(
        &topology,
        "",
        &[dedicated("a", 3000), pod("b", Level::Shared, 4001)],
    );
    assert_eq!(refusals(&squeezes), [("a", RefusalReason::SharedRequests)]);
    assert_eq!(
        (
            cpus(&squeezes, "a").as_str(),
            squeezes.reasons["a"],
            mems(&squeezes, "a")
        ),
        ("0-7", PodReason::Refused, None)
    );
}

#[test]
fn why_a_wish_is_refused() {
    let topology = regular(2, 2, 2, 1);
    let at = |ids: &str, millicpu| PoolPod {
        numa_bind_result: NumaSet::parse(ids),
        ..dedicated("a", millicpu)
    };
    for (pod, reason) in [
        (dedicated("a", 0), RefusalReason::NoRequest),
        (at("7", 1000), RefusalReason::UnknownNuma),
        (at("1", 5000), RefusalReason::NoRoom),
        (dedicated("a", 9000), RefusalReason::NoRoom),
        (dedicated("a", 8000), RefusalReason::SharedRequests),
        (
            PoolPod {
                numa_exclusive: true,
                ..dedicated("a", 9000)
            },
            RefusalReason::NotExclusive,
        ),
        (named("a", "reclaim", 100), RefusalReason::PoolName),
        (named("a", "share-NUMA0", 100), RefusalReason::PoolName),
        (pod("", Level::Dedicated, 1000), RefusalReason::Uid),
    ] {
        let uid = pod.uid.clone();
        let plan = plan(&topology, "", &[pod]);
        assert_eq!(refusals(&plan), [(uid.as_str(), reason)], "{plan:?}");
        assert_eq!(cpus(&plan, &uid), "0-7");
    }
}

#[test]
fn two_pods_with_one_uid_are_plain() {
    let topology = regular(1, 4, 1, 1);
    let plan = plan(
        &topology,
        "",
        &[
            dedicated("a", 1000),
            dedicated("a", 2000),
            dedicated("b", 1000),
        ],
    );
    assert_eq!(refusals(&plan), [("a", RefusalReason::Uid)]);
    assert_eq!(
        (cpus(&plan, "a").as_str(), cpus(&plan, "b").as_str()),
        ("1-3", "0")
    );
}

#[test]
fn named_pools_have_their_requests_or_their_use() {
    let topology = regular(1, 8, 1, 1);
    let busy = PoolPod {
        usage: Some(Millicpu::new(2500)),
        ..named("busy", "share-b", 500)
    };
    let plan = plan(
        &topology,
        "",
        &[
            named("a", "share-a", 1500),
            busy,
            pod("c", Level::Shared, 1000),
        ],
    );
    let pool = |name: &str| (plan.pools[name].cpus.len(), plan.pools[name].reason);
    assert_eq!(pool("share-a"), (2, PoolReason::Requests));
    assert_eq!(pool("share-b"), (4, PoolReason::Use), "2500 and a quarter");
    assert_eq!(pool("share"), (2, PoolReason::Remainder));
    assert_eq!(plan.pods["c"].cpus.len(), 2);
}

#[test]
fn a_new_pod_of_a_named_pool_starts_on_everything_shared() {
    let topology = regular(1, 4, 1, 1);
    let young = |age_seconds| PoolPod {
        age_seconds,
        ..named("a", "share-a", 1000)
    };
    for (age, reason, size) in [
        (29.9, PodReason::RampUp, 4),
        (30.0, PodReason::Named, 1),
        (f64::NAN, PodReason::RampUp, 4),
    ] {
        let plan = plan(&topology, "", &[young(age), pod("b", Level::Shared, 100)]);
        assert_eq!(
            (
                plan.reasons["a"],
                plan.pods["a"].cpus.len(),
                plan.pods["b"].cpus.len()
            ),
            (reason, size, 3),
            "{age}"
        );
    }
}

#[test]
fn pools_that_do_not_fit_apart_run_together() {
    let topology = regular(1, 2, 2, 1);
    let plan = plan(
        &topology,
        "",
        &[
            named("a", "share-a", 1500),
            named("b", "share-b", 1500),
            pod("c", Level::Shared, 1000),
        ],
    );
    for uid in ["a", "b", "c"] {
        assert_eq!(cpus(&plan, uid), "0-3");
    }
    assert_eq!(plan.pools["share-a"].reason, PoolReason::Together);
}

#[test]
fn a_pool_grows_at_once_and_shrinks_late_to_the_most_it_wanted() {
    let topology = regular(1, 16, 1, 1);
    let using = |used| {
        [
            PoolPod {
                usage: Some(Millicpu::new(used)),
                ..named("a", "share-a", 1000)
            },
            pod("b", Level::Shared, 100),
        ]
    };
    let mut previous: Option<PoolPlan> = None;
    for (now, used, size) in [
        (0.0, 800, 1),
        (10.0, 6400, 8),
        (20.0, 800, 8),
        (50.0, 3200, 8),
        (60.0, 800, 8),
        (79.9, 800, 8),
        (80.0, 800, 4),
        (139.0, 800, 4),
        (140.0, 800, 1),
    ] {
        let plan = plan_after(&topology, "", &using(used), previous.as_ref(), now);
        assert_eq!(plan.pools["share-a"].cpus.len(), size, "at {now}");
        let gone_back = plan_after(&topology, "", &using(used), Some(&plan), -5.0);
        assert_eq!(
            gone_back.pools["share-a"].cpus, plan.pools["share-a"].cpus,
            "a clock that goes back shrinks nothing"
        );
        previous = Some(plan);
    }
}

#[test]
fn bound_shared_pods_have_a_pool_in_their_node() {
    let topology = regular(2, 4, 1, 1);
    let bound = |uid: &str, node: Option<&str>| PoolPod {
        numa_binding: true,
        numa_bind_result: node.and_then(NumaSet::parse),
        ..pod(uid, Level::Shared, 1500)
    };
    let plan = plan(
        &topology,
        "",
        &[
            bound("a", Some("1")),
            bound("b", None),
            bound("c", Some("1")),
            pod("d", Level::Shared, 2000),
        ],
    );
    assert_eq!(plan.pods["a"].pool, "share-NUMA1");
    assert_eq!(
        (cpus(&plan, "a").as_str(), mems(&plan, "a")),
        ("4-6", Some("1".to_owned())),
        "two of 1500"
    );
    assert_eq!(cpus(&plan, "c"), "4-6");
    assert_eq!(
        (cpus(&plan, "b").as_str(), mems(&plan, "b")),
        ("0-1", Some("0".to_owned())),
        "where most is left"
    );
    assert_eq!(cpus(&plan, "d"), "2-3,7");
}

#[test]
fn wild_pods_are_isolated_within_bounds() {
    let topology = regular(1, 16, 1, 1);
    let wild = |uid: &str| PoolPod {
        runs_wild: true,
        limit: Some(Millicpu::new(2000)),
        ..pod(uid, Level::Shared, 1000)
    };
    let plan = plan(
        &topology,
        "",
        &[
            wild("a"),
            wild("b"),
            wild("c"),
            pod("d", Level::Shared, 1000),
            pod("e", Level::Shared, 1000),
        ],
    );
    // 3 CPUs are a fifth of 16: one pod gets its limit, one its request. 2 of 5 pods are half.
    assert_eq!(
        (cpus(&plan, "a").as_str(), cpus(&plan, "b").as_str()),
        ("0-1", "2")
    );
    assert_eq!(refusals(&plan), [("c", RefusalReason::IsolationLimit)]);
    assert_eq!(
        (cpus(&plan, "c").as_str(), cpus(&plan, "d").as_str()),
        ("3-15", "3-15")
    );
    let only = plan_after(&topology, "", &[wild("a")], None, 0.0);
    assert_eq!(cpus(&only, "a"), "0-15", "never all of a pool");
}

#[test]
fn an_isolated_pod_stays_so_where_whole_cores_are_more_than_the_bound() {
    // A fifth of 28 CPUs are 5, which are 8 in cores of four.
    let topology = regular(1, 7, 4, 1);
    let wild = PoolPod {
        runs_wild: true,
        limit: Some(Millicpu::new(9000)),
        ..pod("a", Level::Shared, 4500)
    };
    let pods = [wild, pod("b", Level::Shared, 100)];
    let before = plan(&topology, "", &pods);
    assert_eq!(
        (before.pods["a"].cpus.len(), before.reasons["a"]),
        (8, PodReason::Isolated)
    );
    let after = plan_after(&topology, "", &pods, Some(&before), 1.0);
    assert_eq!(after.pods["a"].cpus, before.pods["a"].cpus);
}

#[test]
fn batch_apart_gets_what_services_do_not_want() {
    let topology = regular(1, 8, 1, 1);
    let params = PoolParams {
        reclaimed_overlaps: false,
        ..PoolParams::default()
    };
    let plan = |requested, reserved: &str| {
        let reserved = CpuSet::parse(reserved).unwrap();
        let input = PoolInput {
            topology: &topology,
            reserved: &reserved,
            pods: &[
                pod("a", Level::Shared, requested),
                pod("b", Level::Reclaimed, 100),
            ],
            previous: None,
            now_seconds: 0.0,
        };
        plan_pools(&input, &params)
    };
    let apart = plan(3000, "");
    assert_eq!(apart.pods["a"].cpus.len() + apart.pods["b"].cpus.len(), 8);
    assert!(
        apart.pods["a"].cpus.is_disjoint(&apart.pods["b"].cpus) && apart.pods["a"].cpus.len() == 3
    );
    let full = plan(8000, "");
    assert_eq!(
        (cpus(&full, "b").as_str(), full.pools["reclaim"].reason),
        ("6-7", PoolReason::Overlap),
        "its least size, lent"
    );
}

#[test]
fn a_changed_request_moves_as_little_as_it_can() {
    let topology = regular(2, 4, 2, 1);
    let sized = |millicpu| [dedicated("a", millicpu), pod("b", Level::Shared, 500)];
    let before = plan(&topology, "", &sized(4000));
    assert_eq!(cpus(&before, "a"), "0-1,8-9");
    let grown = plan_after(&topology, "", &sized(6000), Some(&before), 1.0);
    assert_eq!(
        (cpus(&grown, "a").as_str(), grown.reasons["a"]),
        ("0-2,8-10", PodReason::DedicatedKept)
    );
    let shrunk = plan_after(&topology, "", &sized(2000), Some(&grown), 2.0);
    assert_eq!(cpus(&shrunk, "a"), "0,8");
}

#[test]
fn cpus_that_vanish_are_replaced_nearby() {
    let topology = regular(2, 4, 1, 1);
    let pods = [dedicated("a", 2000), pod("b", Level::Shared, 500)];
    let before = plan(&topology, "", &pods);
    assert_eq!(cpus(&before, "a"), "0-1");
    let smaller = without(&topology, &CpuSet::parse("1").unwrap());
    let after = plan_after(&smaller, "", &pods, Some(&before), 1.0);
    assert_eq!(cpus(&after, "a"), "0,2");
}

#[test]
fn a_new_claim_without_names_is_not_taken_for_a_pods_own() {
    // After a lost state: "a" was refused and runs with "b" on all that is shared, which happens to be as large as it asked for.
    let topology = regular(1, 4, 1, 1);
    let on = |pod: PoolPod, cpus: &str| PoolPod {
        current: Some(PodCpus {
            cpus: CpuSet::parse(cpus).unwrap(),
            ..PodCpus::default()
        }),
        ..pod
    };
    let pods = [
        on(dedicated("a", 2000), "2-3"),
        on(pod("b", Level::Shared, 1000), "2-3"),
        on(dedicated("c", 2000), "0-1"),
    ];
    let plan = plan(&topology, "", &pods);
    assert_eq!(
        (
            cpus(&plan, "a").as_str(),
            cpus(&plan, "b").as_str(),
            cpus(&plan, "c").as_str()
        ),
        ("2-3", "2-3", "0-1")
    );
    assert_eq!(refusals(&plan), [("a", RefusalReason::SharedRequests)]);
}

#[test]
fn a_plan_explains_itself() {
    let topology = regular(1, 8, 1, 1);
    let apart = wishing(dedicated("b", 2000), |wishes| {
        wishes.numa = NumaWish::Ids(NumaSet::parse("7").unwrap());
    });
    let pods = [dedicated("a", 1000), apart, named("c", "share-c", 500)];
    let plan = plan(&topology, "3", &pods);
    assert_eq!(
        plan.explain(),
        [
            "dedicated: 1 CPUs (0): what its pods were given; 1 pods request 1 and use 0",
            "reclaim: 6 CPUs (1-2,4-7): what nobody else has; 0 pods request 0 and use 0",
            "reserve: 1 CPUs (3): as configured; 0 pods request 0 and use 0",
            "share: 5 CPUs (2,4-7): what nobody else has; 1 pods request 2 and use 0",
            "share-c: 1 CPUs (1): its requests in whole cores; 1 pods request 500m and use 0",
            "pod b: unknown-numa (needs 2 CPUs, 0 available); it runs as a shared pod",
        ]
    );
    let line = |uid| plan.explain_pod(uid).unwrap();
    assert_eq!(
        line("a"),
        "dedicated-new in pool dedicated: CPUs 0, memory nodes 0"
    );
    assert!(line("b").starts_with(
        "refused in pool share: CPUs 2,4-7, memory nodes all; refused: pod b: unknown-numa"
    ));
}
