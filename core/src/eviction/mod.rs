//! When the offer no longer carries what is allocated, and which reclaimed pods leave.
//!
//! [`Deficit`] waits until the offer has stayed below the allocation for a tolerance time; [`plan`] then picks the fewest pods that cover the deficit, counting pods
//! that are already terminating as freed. Only fresh offers are fed in: stale data never starts an eviction (invariant 4).

use crate::reclaimed::Reclaimed;

/// What must be freed, and the measurements behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Need {
    /// How much of each resource is missing.
    pub missing: Reclaimed,
    /// Sum of the requests of the node's reclaimed pods.
    pub allocated: Reclaimed,
    /// What the node offers.
    pub offered: Reclaimed,
    /// For how many seconds it has been so.
    pub for_seconds: f64,
}

/// Watches offers fall below the allocation.
#[derive(Debug, Clone, Copy)]
pub struct Deficit {
    tolerance_seconds: f64,
    since: Option<f64>,
}

impl Deficit {
    /// Deficits shorter than `tolerance_seconds` are left alone: throttling bridges them.
    pub const fn new(tolerance_seconds: f64) -> Self {
        Self {
            tolerance_seconds,
            since: None,
        }
    }

    /// Notes a fresh offer at `now` (seconds); returns what must go when the deficit has lasted.
    pub fn observe(&mut self, now: f64, allocated: Reclaimed, offered: Reclaimed) -> Option<Need> {
        let missing = allocated - offered;
        if missing.is_zero() {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let for_seconds = (now - since).max(0.0);
        (for_seconds >= self.tolerance_seconds).then_some(Need {
            missing,
            allocated,
            offered,
            for_seconds,
        })
    }

    /// Forgets the running deficit: the offer is stale or unknown.
    pub fn reset(&mut self) {
        self.since = None;
    }
}

/// A reclaimed pod that could leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// What its departure frees.
    pub request: Reclaimed,
    /// What it uses now.
    pub usage: Reclaimed,
    /// Kubernetes priority.
    pub priority: i32,
    /// Seconds since it started: the youngest loses the least work.
    pub age_seconds: f64,
    /// It is on its way out; counts as freed and is not chosen again.
    pub terminating: bool,
    /// DaemonSet, static, mirror and critical pods are never victims (invariant 6).
    pub protected: bool,
}

/// A pod that is to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Its place in the candidates given.
    pub index: usize,
    /// Its rank among them, from 1.
    pub rank: usize,
    /// Rule, measurements and rank in one sentence.
    pub reason: String,
}

/// Who leaves, and whether that is enough.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EvictionPlan {
    /// In the order of eviction.
    pub victims: Vec<Victim>,
    /// What remains missing after them (the budget or the candidates ran out).
    pub still_missing: Reclaimed,
}

/// Picks victims: lowest priority first, then the one that covers most of what is missing, then the youngest. At most `budget` of them.
pub fn plan(need: &Need, candidates: &[Candidate], budget: usize) -> EvictionPlan {
    let freed: Reclaimed = candidates
        .iter()
        .filter(|c| c.terminating)
        .map(|c| c.request)
        .sum();
    let mut missing = need.missing - freed;
    let mut open: Vec<(usize, &Candidate)> = candidates
        .iter()
        .enumerate()
        .filter(|(_, c)| !c.terminating && !c.protected)
        .collect();
    let total = open.len();
    let mut victims = Vec::new();
    while !missing.is_zero() && victims.len() < budget {
        let covers = |c: &Candidate| {
            let part = |have: u64, want: u64| {
                if want == 0 {
                    0.0
                } else {
                    have.min(want) as f64 / want as f64
                }
            };
            part(c.request.cpu.get(), missing.cpu.get())
                + part(c.request.memory.get(), missing.memory.get())
        };
        let best = open
            .iter()
            .enumerate()
            .filter(|(_, (_, c))| covers(c) > 0.0)
            .min_by(|(_, (_, a)), (_, (_, b))| {
                a.priority
                    .cmp(&b.priority)
                    .then_with(|| covers(b).total_cmp(&covers(a)))
                    .then_with(|| a.age_seconds.total_cmp(&b.age_seconds))
            });
        let Some(position) = best.map(|(position, _)| position) else {
            break;
        };
        let (index, victim) = open.swap_remove(position);
        let rank = victims.len() + 1;
        victims.push(Victim {
            index,
            rank,
            reason: format!(
                "reclaimed resources offered ({}) stayed below allocated ({}) for {:.0} s; rank {rank} of {total}: priority {}, requests {}, uses {}",
                need.offered, need.allocated, need.for_seconds, victim.priority, victim.request, victim.usage
            ),
        });
        missing = missing - victim.request;
    }
    EvictionPlan {
        victims,
        still_missing: missing,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(cpu: u64, priority: i32, age: f64) -> Candidate {
        Candidate {
            request: Reclaimed::new(cpu, 0),
            usage: Reclaimed::ZERO,
            priority,
            age_seconds: age,
            terminating: false,
            protected: false,
        }
    }

    fn need(cpu: u64) -> Need {
        Need {
            missing: Reclaimed::new(cpu, 0),
            allocated: Reclaimed::new(5000, 0),
            offered: Reclaimed::new(5000 - cpu, 0),
            for_seconds: 61.0,
        }
    }

    #[test]
    fn a_short_deficit_is_left_alone() {
        let mut deficit = Deficit::new(60.0);
        let allocated = Reclaimed::new(2000, 0);
        assert_eq!(
            deficit.observe(0.0, allocated, Reclaimed::new(1000, 0)),
            None
        );
        assert_eq!(
            deficit.observe(30.0, allocated, Reclaimed::new(2000, 0)),
            None
        );
        assert_eq!(
            deficit.observe(61.0, allocated, Reclaimed::new(1000, 0)),
            None,
            "the clock starts anew"
        );
        let need = deficit
            .observe(121.0, allocated, Reclaimed::new(500, 0))
            .unwrap();
        assert_eq!(need.missing, Reclaimed::new(1500, 0));
    }

    #[test]
    fn lowest_priority_then_best_cover_then_youngest() {
        let candidates = [
            candidate(1000, 5, 1.0),
            candidate(500, 0, 1.0),
            candidate(1000, 0, 9.0),
            candidate(1000, 0, 2.0),
        ];
        let plan = plan(&need(1000), &candidates, 10);
        assert_eq!(
            plan.victims.iter().map(|v| v.index).collect::<Vec<_>>(),
            [3]
        );
        assert!(
            plan.victims[0].reason.contains("rank 1 of 4"),
            "{}",
            plan.victims[0].reason
        );
    }

    #[test]
    fn terminating_pods_count_as_freed_and_protected_ones_stay() {
        let leaving = Candidate {
            terminating: true,
            ..candidate(700, 0, 1.0)
        };
        let system = Candidate {
            protected: true,
            ..candidate(1000, 0, 1.0)
        };
        let result = plan(&need(1000), &[leaving, system, candidate(400, 0, 1.0)], 10);
        assert_eq!(
            result.victims.iter().map(|v| v.index).collect::<Vec<_>>(),
            [2]
        );
        assert_eq!(
            plan(&need(700), &[leaving, candidate(400, 0, 1.0)], 10).victims,
            []
        );
    }

    #[test]
    fn the_budget_bounds_the_plan() {
        let result = plan(&need(3000), &[candidate(1000, 0, 1.0); 5], 2);
        assert_eq!(result.victims.len(), 2);
        assert_eq!(result.still_missing, Reclaimed::new(1000, 0));
    }

    proptest! {
        /// No victim is superfluous: without the last one something would still be missing.
        #[test]
        fn plans_are_no_larger_than_needed(missing in 1..5000u64, cpus in prop::collection::vec(0..2000u64, 0..20)) {
            let candidates: Vec<_> = cpus.iter().map(|cpu| candidate(*cpu, 0, 1.0)).collect();
            let result = plan(&need(missing), &candidates, usize::MAX);
            let before_last: u64 = result.victims.iter().rev().skip(1).map(|v| cpus[v.index]).sum();
            prop_assert!(result.victims.is_empty() || before_last < missing);
        }
    }
}
