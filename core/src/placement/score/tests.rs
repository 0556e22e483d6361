//! Which of two nodes is better.

use rstest::rstest;

use super::{amounts::ShapeError, *};
use crate::{
    placement::{
        NumaShare, Quality,
        fit::ContainerPlacement,
        machine::{Machine, MachineSpec, ZoneSpec},
        node::{Load, Taint, TaintEffect},
    },
    qos::Level,
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

fn node(load: f32) -> NodePlacement {
    let mut node = NodePlacement::default();
    let zone = |id| ZoneSpec {
        id,
        cpu: Millicpu::new(10_000),
        memory: Bytes::new(1_000),
        ..ZoneSpec::default()
    };
    node.set_machine(
        Machine::new(MachineSpec {
            zones: vec![zone(0), zone(1)],
            ..MachineSpec::default()
        })
        .into(),
    );
    node.set_offer(Reclaimed::new(10_000, 1_000), true);
    node.set_load(Load {
        predicted_cpu: load,
        ..Load::default()
    });
    node
}

fn batch(millicpu: u64, bytes: u64) -> PodRequest {
    PodRequest {
        level: Level::Reclaimed,
        reclaimed: Some(Reclaimed::new(millicpu, bytes)),
        ..PodRequest::default()
    }
}

fn policy(shape: Option<&[(u8, u8)]>, balance: f64, load: f64) -> Scoring {
    Scoring {
        shape: shape.map(|points| Shape::new(points).unwrap()),
        weights: Weights {
            balance,
            load,
            ..Weights::default()
        },
        ..Scoring::default()
    }
}

#[rstest]
#[case::spread(policy(None, 0.0, 0.0), 75)]
#[case::falling(policy(Some(&[(0, 10), (100, 0)]), 0.0, 0.0), 75)]
#[case::rising(policy(Some(&[(0, 0), (100, 10)]), 0.0, 0.0), 25)]
#[case::knee(policy(Some(&[(20, 0), (30, 10)]), 0.0, 0.0), 50)]
#[case::beyond_the_ends(policy(Some(&[(90, 3), (100, 10)]), 0.0, 0.0), 30)]
#[case::balanced(policy(None, 1.0, 0.0), 85)]
#[case::loaded(policy(None, 0.0, 1.0), 75)]
fn terms_and_weights(#[case] policy: Scoring, #[case] expected: u32) {
    // 20 and 30 percent of the offer; half of the CPU is expected to be busy.
    let score = rank(
        &node(0.5),
        &batch(2_000, 300),
        &Placement::default(),
        &policy,
    );
    assert_eq!(score, expected);
}

#[test]
fn the_strategy_ranks_as_before() {
    let node = node(0.0);
    for strategy in [Strategy::Spread, Strategy::Binpack] {
        let policy = Scoring {
            reclaimed: strategy,
            ..Scoring::default()
        };
        let amount = Reclaimed::new(7_000, 100);
        assert_eq!(
            rank(&node, &batch(7_000, 100), &Placement::default(), &policy),
            crate::placement::reclaimed::score(&node.reclaimed(), &amount, strategy)
        );
    }
}

#[test]
fn a_taint_that_would_rather_not_halves_the_score() {
    let mut node = node(0.0);
    let before = rank(
        &node,
        &batch(2_000, 200),
        &Placement::default(),
        &Scoring::default(),
    );
    let taint = Taint {
        key: "k".into(),
        value: "".into(),
        effect: TaintEffect::PreferNoSchedule,
        level: Level::Reclaimed,
    };
    node.set_taints([taint].into());
    let after = rank(
        &node,
        &batch(2_000, 200),
        &Placement::default(),
        &Scoring::default(),
    );
    assert_eq!((before, after), (80, 40));
}

#[rstest]
#[case(NumaStrategy::MostAllocated, 20, 65)]
#[case(NumaStrategy::LeastAllocated, 80, 35)]
#[case(NumaStrategy::BalancedAllocation, 100, 50)]
#[case(NumaStrategy::LeastNumaNodes, 100, 100)]
fn strategies_of_numa_nodes(#[case] numa: NumaStrategy, #[case] even: u32, #[case] uneven: u32) {
    let placement = |cpu, memory| Placement {
        numa: [NumaShare {
            id: 0,
            cpu: Millicpu::new(cpu),
            memory: Bytes::new(memory),
            ..NumaShare::default()
        }]
        .into_iter()
        .collect(),
        ..Placement::default()
    };
    let policy = Scoring {
        numa,
        ..Scoring::default()
    };
    let of = |cpu, memory| {
        rank(
            &node(0.0),
            &PodRequest::default(),
            &placement(cpu, memory),
            &policy,
        )
    };
    assert_eq!((of(2_000, 200), of(4_000, 900)), (even, uneven));
}

#[test]
fn devices_that_are_near_and_break_nothing_are_better() {
    let of = |quality| {
        let placement = Placement {
            containers: [ContainerPlacement::default()].into_iter().collect(),
            quality,
            ..Placement::default()
        };
        rank(
            &node(0.0),
            &PodRequest::default(),
            &placement,
            &Scoring::default(),
        )
    };
    let best = of(Quality::default());
    assert_eq!(best, MAX_SCORE);
    let worse = [
        Quality {
            wishes: 1,
            ..Quality::default()
        },
        Quality {
            spread: 64,
            ..Quality::default()
        },
        Quality {
            broken: 3,
            ..Quality::default()
        },
        Quality {
            left: 500,
            ..Quality::default()
        },
    ]
    .map(of);
    assert!(worse.iter().all(|score| *score < best), "{worse:?}");
    assert_eq!(worse[0], 50);
}

#[rstest]
#[case(&[], ShapeError::Empty)]
#[case(&[(10, 1), (10, 2)], ShapeError::Order(10))]
#[case(&[(101, 1)], ShapeError::Utilization(101))]
#[case(&[(1, 11)], ShapeError::Score(11))]
fn points_that_make_no_shape(#[case] points: &[(u8, u8)], #[case] expected: ShapeError) {
    assert_eq!(Shape::new(points), Err(expected));
}
