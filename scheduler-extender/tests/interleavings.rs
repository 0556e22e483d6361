//! Whatever the order in which bindings, answers, deletions, watch events, broken watches, restarts and changes of leader come: nothing is
//! given twice, the leader never counts less than the API server holds, and when all is quiet it counts exactly that. `make soak` plays a
//! million of them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod model;

use model::{Fault, Step, Violation, World, random_step};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rstest::rstest;

/// Steps of an interleaving.
const STEPS: usize = 60;

fn play(seed: u64, fault: Option<Fault>) -> Result<World, Violation> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new(fault);
    for _ in 0..STEPS {
        world.take(random_step(&mut random))?;
    }
    world.settle_down()?;
    Ok(world)
}

#[test]
fn a_short_soak_finds_nothing() {
    let mut bound = 0;
    for seed in 0..2000 {
        let world = play(seed, None).unwrap_or_else(|found| panic!("seed {seed}: {}", found.0));
        bound += world.bound;
    }
    assert!(bound > 2000, "only {bound} bindings took effect");
}

#[rstest]
#[case(Fault::TimeoutIsRefusal)]
#[case(Fault::NoListing)]
#[case(Fault::HastyResolve)]
fn a_planted_fault_is_found(#[case] fault: Fault) {
    let found = (0..5000).find_map(|seed| play(seed, Some(fault)).err());
    assert!(found.is_some(), "{fault:?} was not found");
}

fn step() -> impl Strategy<Value = Step> {
    any::<u64>().prop_map(|seed| random_step(&mut StdRng::seed_from_u64(seed)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// As the soak, and a failure is reduced to the fewest steps.
    #[test]
    fn nothing_is_given_twice_and_nothing_is_lost(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new(None);
        for step in steps {
            world.take(step).map_err(|found| TestCaseError::fail(format!("after {step:?}: {}", found.0)))?;
        }
        world.settle_down().map_err(|found| TestCaseError::fail(found.0))?;
    }
}

/// A binding succeeds, the pod ends while the watch is away, and only then does the answer arrive: no event will ever tell.
#[test]
fn a_pod_that_came_and_went_unseen_is_looked_at() {
    let mut world = World::new(None);
    for step in [
        Step::Bind(0, 0),
        Step::Land(0),
        Step::BreakWatch(0),
        Step::Delete(0),
        Step::TakeList(0),
        Step::FinishList(0),
        Step::Answer(0),
        Step::Resolve,
    ] {
        world.take(step).unwrap();
    }
    world.settle_down().unwrap();
}
