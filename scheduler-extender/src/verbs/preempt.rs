//! Preempt: which of the nodes that kube-scheduler proposes would really have room for the pod.
//!
//! kube-scheduler's own dry run knows nothing of what is given out here. A node stays when the proposed victims free enough, or when
//! they do together with some pods of lower priority, fewest and least important first. It is left out otherwise: a node
//! without a victim would be an error to kube-scheduler, and a node that stays too small would cost pods their life for nothing.
//! Pods whose disruption budget does not let them go are added last, and counted as kube-scheduler counts its own.

use std::collections::BTreeMap;

use katalyst_core::placement::preempt::{Holder as Candidate, victims};
use katalyst_core::placement::{NodePlacement, PodRequest as Wish};

use crate::budgets::{Budgets, Tally};
use crate::ledger::{Holder, Ledger, UnixMillis};
use crate::request::{PodRequest, Uid};
use crate::wire::{MetaPod, MetaVictims, PreemptionArgs, PreemptionResult};

/// Answers the question for `pod`.
pub fn preempt(
    args: &PreemptionArgs<'_>,
    pod: &PodRequest,
    ledger: &Ledger,
    budgets: &Budgets,
    now: UnixMillis,
) -> PreemptionResult {
    let proposed = proposals(args);
    if pod.wish.is_plain() {
        let unchanged = proposed
            .into_iter()
            .filter(|(_, victims)| !victims.pods.is_empty());
        return PreemptionResult {
            node_name_to_meta_victims: unchanged.collect(),
        };
    }
    let kept = proposed.into_iter().filter_map(|(node, victims)| {
        let state = ledger.table().get(node.as_str())?.state();
        state.admits(&pod.wish, now, ledger.stale_after()).ok()?;
        let holders = ledger.holders(&node);
        let victims = victims_on(
            &state.placement,
            &holders,
            &victims,
            budgets.tally(),
            &pod.wish,
            pod.priority,
        )?;
        Some((node, victims))
    });
    PreemptionResult {
        node_name_to_meta_victims: kept.collect(),
    }
}

/// The proposals by UID, whichever form they came in.
fn proposals(args: &PreemptionArgs<'_>) -> BTreeMap<String, MetaVictims> {
    if let Some(meta) = &args.node_name_to_meta_victims {
        return meta
            .iter()
            .map(|(node, victims)| (node.clone(), victims.clone().unwrap_or_default()))
            .collect();
    }
    let by_object = args
        .node_name_to_victims
        .iter()
        .flatten()
        .map(|(node, victims)| {
            let meta = victims
                .as_ref()
                .map_or_else(MetaVictims::default, |victims| MetaVictims {
                    pods: victims
                        .pods
                        .iter()
                        .map(|pod| MetaPod {
                            uid: pod.metadata.uid.to_string(),
                        })
                        .collect(),
                    num_pdb_violations: victims.num_pdb_violations,
                });
            (node.clone(), meta)
        });
    by_object.collect()
}

/// The victims that make room on one node, or `None` where there is nobody to remove or no removal helps.
fn victims_on(
    node: &NodePlacement,
    holders: &[Holder],
    proposed: &MetaVictims,
    tally: Tally,
    wish: &Wish,
    priority: i32,
) -> Option<MetaVictims> {
    let leaving: Vec<Uid> = proposed
        .pods
        .iter()
        .map(|pod| pod.uid.as_str().into())
        .collect();
    let lesser = candidates(holders, &leaving, tally, priority);
    let chosen = victims(node, wish, &leaving, &lesser)?;
    let violating = lesser
        .iter()
        .filter(|pod| pod.violates_budget && chosen.contains(&pod.uid))
        .count();
    Some(MetaVictims {
        pods: chosen
            .iter()
            .map(|uid| MetaPod {
                uid: uid.to_string(),
            })
            .collect(),
        num_pdb_violations: proposed
            .num_pdb_violations
            .saturating_add(i64::try_from(violating).unwrap_or(i64::MAX)),
    })
}

/// Pods of lower priority that could go beside those that leave already, and whom of them a budget does not let go: the least important go first, so they
/// have what the budgets allow.
fn candidates(
    holders: &[Holder],
    leaving: &[Uid],
    mut tally: Tally,
    priority: i32,
) -> Vec<Candidate> {
    let (leaving, mut others): (Vec<&Holder>, Vec<&Holder>) = holders
        .iter()
        .filter(|holder| !holder.charge.terminating && holder.charge.priority < priority)
        .partition(|holder| leaving.contains(&holder.uid));
    for holder in leaving {
        tally.leaves(&holder.charge.name, &holder.charge.labels);
    }
    others.sort_by_key(|holder| {
        let charge = &holder.charge;
        (charge.priority, std::cmp::Reverse(charge.created))
    });
    others
        .into_iter()
        .map(|holder| Candidate {
            uid: holder.uid.clone(),
            priority: holder.charge.priority,
            created: holder.charge.created / 1000,
            violates_budget: tally.leaves(&holder.charge.name, &holder.charge.labels),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use katalyst_core::placement::Allocation;
    use katalyst_core::qos::Level;
    use katalyst_core::reclaimed::Reclaimed;

    use super::*;
    use crate::ledger::Charge;

    /// A pod of that name, amount and priority.
    type Held = (&'static str, u64, i32);

    fn answer(offer: u64, held: &[Held], proposed: &[&str], wants: u64) -> Option<Vec<String>> {
        leaving(offer, held, &[], proposed, wants)
    }

    fn leaving(
        offer: u64,
        held: &[Held],
        terminating: &[&str],
        proposed: &[&str],
        wants: u64,
    ) -> Option<Vec<String>> {
        let mut node = NodePlacement::default();
        node.set_offer(Reclaimed::new(offer, offer), true);
        let mut holders = Vec::new();
        for &(uid, amount, priority) in held {
            let allocation = Allocation {
                reclaimed: Reclaimed::new(amount, amount),
                ..Allocation::default()
            };
            node.add(&uid.into(), &Arc::new(allocation));
            holders.push(Holder {
                uid: uid.into(),
                charge: Charge {
                    priority,
                    terminating: terminating.contains(&uid),
                    ..Charge::default()
                },
            });
        }
        let wish = Wish {
            level: Level::Reclaimed,
            reclaimed: Some(Reclaimed::new(wants, wants)),
            ..Wish::default()
        };
        let pods = proposed
            .iter()
            .map(|uid| MetaPod {
                uid: (*uid).to_owned(),
            })
            .collect();
        let proposed = MetaVictims {
            pods,
            num_pdb_violations: 1,
        };
        let victims = victims_on(&node, &holders, &proposed, Tally::default(), &wish, 5)?;
        assert_eq!(victims.num_pdb_violations, 1);
        Some(victims.pods.into_iter().map(|pod| pod.uid).collect())
    }

    #[test]
    fn proposed_victims_that_free_enough_are_kept_as_they_are() {
        let held = [("a", 2000, 0), ("b", 2000, 0)];
        assert_eq!(answer(4000, &held, &["a"], 2000).unwrap(), ["a"]);
    }

    #[test]
    fn a_node_whose_victims_free_nothing_is_left_out() {
        assert_eq!(answer(4000, &[("a", 4000, 9)], &["service"], 1), None);
    }

    #[test]
    fn the_fewest_and_least_important_pods_are_added() {
        let held = [("low", 1000, 1), ("mid", 1000, 2), ("high", 2000, 7)];
        assert_eq!(answer(4000, &held, &[], 1000).unwrap(), ["low"]);
    }

    #[test]
    fn a_node_that_needs_no_victim_is_left_out() {
        assert_eq!(answer(4000, &[], &[], 1), None);
    }

    #[test]
    fn pods_that_are_leaving_already_are_not_chosen_again() {
        assert_eq!(leaving(4000, &[("a", 4000, 0)], &["a"], &[], 1), None);
    }

    #[test]
    fn pods_under_a_budget_go_last_and_are_counted() {
        let budgets = Budgets::default();
        budgets.saw(
            &serde_json::from_value(serde_json::json!({
                "metadata": {"name": "b", "namespace": "shop"},
                "spec": {"selector": {"matchLabels": {"app": "web"}}},
                "status": {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1},
            }))
            .unwrap(),
        );
        let mut node = NodePlacement::default();
        node.set_offer(Reclaimed::new(4000, 4000), true);
        let mut holders = Vec::new();
        for (uid, priority, app) in [("web", 0, "web"), ("job", 1, "job")] {
            let allocation = Allocation {
                reclaimed: Reclaimed::new(2000, 2000),
                ..Allocation::default()
            };
            node.add(&uid.into(), &Arc::new(allocation));
            let charge = Charge {
                priority,
                name: format!("shop/{uid}").into(),
                labels: Arc::new(BTreeMap::from([("app".to_owned(), app.to_owned())])),
                ..Charge::default()
            };
            let uid = uid.into();
            holders.push(Holder { uid, charge });
        }
        let answer = |wants| {
            let wish = Wish {
                level: Level::Reclaimed,
                reclaimed: Some(Reclaimed::new(wants, wants)),
                ..Wish::default()
            };
            let proposed = MetaVictims::default();
            let victims = victims_on(&node, &holders, &proposed, budgets.tally(), &wish, 5)?;
            let uids: Vec<String> = victims.pods.into_iter().map(|pod| pod.uid).collect();
            Some((uids, victims.num_pdb_violations))
        };
        assert_eq!(answer(2000), Some((vec!["job".to_owned()], 0)));
        let both = vec!["job".to_owned(), "web".to_owned()];
        assert_eq!(answer(4000), Some((both, 1)));
    }
}
