//! The published workloads and results, on the openb traces themselves: run where `OPENB` names their folder or the default one exists.
//! Where they do not, the tests say so and pass: the generator's own vectors are tested without.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a helper of tests only"
)]

use std::path::PathBuf;

use katalyst_core::packing::{Fgd, Rounding};
use katalyst_simulator::gpu::choose::Chooser;
use katalyst_simulator::gpu::cluster::number;
use katalyst_simulator::gpu::fill::{Learning, Setting, fill};
use katalyst_simulator::gpu::golden;
use katalyst_simulator::gpu::trace::{self, Models, TraceNode, TracePod};
use katalyst_simulator::gpu::workload::{Workload, oracle};

const TRACE: &str = "openb_pod_list_default";

fn read() -> Option<(Vec<TraceNode>, Vec<TracePod>)> {
    let folder = std::env::var_os("OPENB").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../shared/data/openb"
            ))
        },
        PathBuf::from,
    );
    let Some(folder) = trace::find(&folder)
        .ok()
        .filter(|found| found.pods.contains_key(TRACE))
    else {
        println!("NOT TESTED: no {TRACE}.csv in {}", folder.display());
        return None;
    };
    let mut models = Models::default();
    let (nodes, _) = trace::nodes(&folder.nodes, &mut models).unwrap();
    let (pods, _) = trace::pods(&folder.pods[TRACE], &mut models).unwrap();
    Some((nodes, pods))
}

/// Seed; pods and their compute and CPU; the first three, the first two copies and the last; nodes of rank 0, 1, 2. As published.
type Drawn = (
    i64,
    usize,
    u64,
    u64,
    [usize; 3],
    [usize; 2],
    usize,
    [usize; 3],
);
const DRAWN: [Drawn; 4] = [
    (
        42,
        10_866,
        8_075_080,
        113_251_596,
        [255, 1685, 6784],
        [3888, 5689],
        5877,
        [260, 858, 619],
    ),
    (
        43,
        10_793,
        8_074_900,
        113_234_880,
        [2283, 7248, 5897],
        [7760, 4474],
        6778,
        [764, 33, 1085],
    ),
    (
        45,
        10_813,
        8_082_190,
        113_680_096,
        [1603, 6756, 139],
        [1676, 4922],
        17,
        [1116, 124, 496],
    ),
    (
        51,
        10_859,
        8_074_900,
        113_771_426,
        [7151, 7598, 3598],
        [882, 6873],
        1596,
        [216, 280, 921],
    ),
];

#[test]
fn workloads_are_drawn_as_published() {
    let Some((nodes, pods)) = read() else { return };
    for (seed, count, gpu, cpu, first, copies, last, ranks) in DRAWN {
        let drawn = Workload::draw(&pods, &nodes, seed);
        let sum = |what: fn(&TracePod) -> u64| -> u64 {
            drawn.order.iter().map(|index| what(&pods[*index])).sum()
        };
        assert_eq!(drawn.order.len(), count, "seed {seed}");
        assert_eq!(sum(|pod| pod.class.gpu_milli()), gpu, "seed {seed}");
        assert_eq!(sum(|pod| pod.class.cpu_milli), cpu, "seed {seed}");
        let pod = |at: usize| format!("openb-pod-{:04}", drawn.order[at]);
        let named = |number: usize| format!("openb-pod-{number:04}");
        for (at, number) in first.into_iter().enumerate() {
            assert_eq!(pod(at), named(number), "seed {seed}");
        }
        for (at, number) in copies.into_iter().enumerate() {
            assert_eq!(pod(pods.len() + at), named(number), "seed {seed}");
        }
        assert_eq!(pod(count - 1), named(last), "seed {seed}");
        let by_rank: Vec<usize> = drawn.by_rank.iter().take(3).copied().collect();
        assert_eq!(by_rank, ranks, "seed {seed}");
    }
}

#[test]
fn typical_pods_are_the_published_ones() {
    let Some((_, pods)) = read() else { return };
    let typical: Vec<_> = oracle(&pods).typical().collect();
    assert_eq!(typical.len(), 35);
    let (class, p) = typical[0];
    assert_eq!(
        (class.cpu_milli, class.card_milli, class.cards),
        (3152, 810, 1)
    );
    assert!((p - 0.134_818).abs() < 1e-6);
    let (class, p) = typical[34];
    assert_eq!(
        (class.cpu_milli, class.card_milli, class.cards),
        (4152, 810, 1)
    );
    assert!((p - 0.003_992).abs() < 1e-6);
}

#[test]
fn fgd_ends_as_published() {
    let Some((nodes, pods)) = read() else { return };
    let (classes, oracle) = (number(&pods), oracle(&pods));
    let setting = Setting {
        nodes: &nodes,
        pods: &pods,
        classes: &classes,
        oracle: &oracle,
    };
    let workload = Workload::draw(&pods, &nodes, 42);
    let chooser = Chooser::LowestRank(workload.by_rank.clone());
    let policy = Fgd::new(Rounding::Down(100));
    let mut run = fill(&setting, &workload, &policy, Learning::Oracle, chooser);
    assert_eq!(golden::check(TRACE, "06-FGD", 42, &run), Ok(true));
    assert_eq!(
        golden::check("openb_pod_list_other", "06-FGD", 42, &run),
        Ok(false)
    );
    run.used += 10;
    assert!(
        golden::check(TRACE, "06-FGD", 42, &run).is_err(),
        "a difference is seen"
    );
}
