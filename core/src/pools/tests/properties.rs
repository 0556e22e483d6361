//! What holds of every plan, over random machines and histories. [`World::step`](super::world::World::step) checks the invariants of a single plan.

use proptest::prelude::*;

use crate::cpu_set::CpuSet;
use crate::pools::{PodReason, PoolInput, PoolParams, PoolPlan, plan_pools};
use crate::qos::{Level, NumaSet};

use super::machines::machine;
use super::world::{World, any_pod, event, placed, pod, settled};

fn reserved() -> impl Strategy<Value = CpuSet> {
    prop_oneof![
        2 => Just(CpuSet::new()),
        1 => prop::collection::vec(0..8_u32, 1..3).prop_map(|ids| ids.into_iter().collect())
    ]
}

fn params() -> impl Strategy<Value = PoolParams> {
    any::<bool>().prop_map(|reclaimed_overlaps| PoolParams {
        reclaimed_overlaps,
        ..PoolParams::default()
    })
}

proptest! {
    /// Invariants 1 and 3, whatever happens: no pod without CPU or memory node, no exclusive CPU or node twice, no request squeezed by a wish.
    #[test]
    fn every_plan_of_any_history_holds(
        topology in machine(), reserved in reserved(), params in params(), events in prop::collection::vec(event(false), 1..24),
    ) {
        let mut world = World::new(topology, reserved, params);
        for event in &events {
            world.happen(event);
            world.step()?;
        }
    }

    /// The same input gives the same plan, whatever the order of the pods; and the plan itself as the previous one moves nothing; where cores are unequal, after a few plans.
    #[test]
    fn plans_are_determined_and_at_rest(
        topology in machine(), reserved in reserved(), params in params(), events in prop::collection::vec(event(false), 1..16),
    ) {
        let mut world = World::new(topology, reserved, params);
        for event in &events {
            world.happen(event);
            let mut backwards = world.pods.clone();
            backwards.reverse();
            let input = PoolInput { pods: &backwards, ..world.input() };
            let other = plan_pools(&input, &world.params);
            let mut plan = world.step()?;
            prop_assert_eq!(&other, &plan);
            let mut again = plan_pools(&world.input(), &world.params);
            // Where cores are not equally wide, a pool may find a fitting one only once another has moved.
            for _ in 0..if world.has_equal_cores() { 0 } else { 3 } {
                if again.pools == plan.pools && placed(&again) == placed(&plan) { break; }
                plan = again;
                world.plan = Some(plan.clone());
                again = plan_pools(&world.input(), &world.params);
            }
            prop_assert_eq!(placed(&again), placed(&plan));
            prop_assert_eq!(&again.pools, &plan.pools);
        }
    }

    /// Invariant 5: what the kernel holds is enough to plan the same again.  Pods that warm up are on whatever is shared.
    #[test]
    fn a_lost_state_moves_nobody(
        topology in machine(), reserved in reserved(), params in params(), events in prop::collection::vec(event(true), 1..16),
    ) {
        let mut world = World::new(topology, reserved, params);
        for event in &events {
            world.happen(event);
            let plan = world.step()?;
            let forgotten = world.forgotten();
            let input = PoolInput { pods: &forgotten, previous: None, ..world.input() };
            let rebuilt = plan_pools(&input, &world.params);
            let settled = settled(&plan, !world.params.reclaimed_overlaps || !world.has_equal_cores());
            let rebuilt: Vec<_> = placed(&rebuilt).into_iter().filter(|(uid, ..)| settled.iter().any(|(other, ..)| other == uid)).collect();
            prop_assert_eq!(rebuilt, settled);
        }
    }

    /// A dedicated pod stays where it is while others come and go.
    #[test]
    fn a_dedicated_pod_never_moves(
        topology in machine(), params in params(), events in prop::collection::vec(event(true), 1..24),
    ) {
        let mut world = World::new(topology, CpuSet::new(), params);
        for event in &events {
            let before = world.plan.clone();
            world.happen(event);
            let plan = world.step()?;
            let Some(before) = before else { continue };
            for (uid, held) in &before.pods {
                let dedicated = matches!(before.reasons[uid], PodReason::DedicatedKept | PodReason::DedicatedNew);
                if dedicated && let Some(now) = plan.pods.get(uid) {
                    prop_assert_eq!(&now.cpus, &held.cpus, "{} moved", uid);
                }
            }
        }
    }

    /// Invariant 7: a pod with nonsense in it costs the others no more than a plain one with the same request.
    #[test]
    fn a_malformed_pod_costs_only_itself(
        topology in machine(), pods in prop::collection::vec(any_pod(), 0..8), request in 0..3000_u64, nonsense in 0..5_u8,
    ) {
        let mut world = World::new(topology, CpuSet::new(), PoolParams::default());
        for pod in pods { world.arrive(pod); }
        let plain = pod("odd", Level::Shared, request);
        let mut odd = plain.clone();
        match nonsense {
            0 => { odd.level = Level::Dedicated; odd.numa_bind_result = NumaSet::parse("900"); }
            1 => { odd.level = Level::Dedicated; odd.request = crate::units::Millicpu::new(u64::MAX); }
            2 => { odd.numa_binding = true; odd.numa_bind_result = NumaSet::parse("1000-1023"); }
            3 => { odd.wishes.cpuset_pool = Some("reclaim".to_owned()); odd.age_seconds = f64::NAN; }
            _ => { odd.wishes.cpuset_pool = Some("share-NUMA0".to_owned()); }
        }
        let plain = crate::pools::PoolPod { request: odd.request, age_seconds: odd.age_seconds, ..plain };
        let plan = |extra: &crate::pools::PoolPod| {
            let mut pods = world.pods.clone();
            pods.push(extra.clone());
            plan_pools(&PoolInput { pods: &pods, ..world.input() }, &world.params)
        };
        let (with_odd, with_plain) = (plan(&odd), plan(&plain));
        prop_assert_eq!(placed(&with_odd), placed(&with_plain));
        prop_assert!(with_odd.refused.iter().any(|refusal| refusal.uid == "odd"));
    }

    /// A crash while a plan is carried out: some pods hold what it says, others what they held before, and nobody remembers either. The next plan holds, and whoever had
    /// CPUs of his own before and after still has them.
    #[test]
    fn a_crash_in_the_middle_heals(
        topology in machine(), reserved in reserved(), params in params(), events in prop::collection::vec(event(true), 1..12), done in prop::collection::vec(any::<bool>(), 16),
    ) {
        let mut world = World::new(topology, reserved, params);
        for event in &events {
            let before = world.plan.clone();
            world.happen(event);
            let held: Vec<_> = world.pods.iter().map(|pod| pod.current.clone()).collect();
            let plan = world.step()?;
            let (pods, remembered) = (world.pods.clone(), world.plan.take());
            for ((pod, held), done) in world.pods.iter_mut().zip(held).zip(done.iter().cycle()) {
                if !done { pod.current = held; }
            }
            world.pods = world.forgotten();
            let healed = world.step()?;
            for (uid, held) in before.iter().flat_map(|plan| &plan.pods) {
                let own = |plan: &PoolPlan| matches!(plan.reasons.get(uid), Some(PodReason::DedicatedKept | PodReason::DedicatedNew));
                if before.as_ref().is_some_and(own) && own(&plan) {
                    prop_assert_eq!(&healed.pods[uid].cpus, &held.cpus, "{} moved", uid);
                }
            }
            (world.pods, world.plan) = (pods, remembered);
        }
    }
}
