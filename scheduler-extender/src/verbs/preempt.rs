//! Preempt: which of the nodes that kube-scheduler proposes would really have room for the pod.
//!
//! kube-scheduler's own dry run knows nothing of reclaimed resources. A node stays when the proposed victims free enough, or when
//! they do together with some reclaimed pods of lower priority, fewest and least important first. It is left out otherwise: a node
//! without a victim would be an error to kube-scheduler, and a node that stays too small would cost pods their life for nothing.
//! Disruption budgets of the added victims are not consulted, so the count of violations stays what kube-scheduler counted.

use std::collections::BTreeMap;

use katalyst_core::placement::reclaimed::{ReclaimedNode, fit};
use katalyst_core::qos::Level;
use katalyst_core::reclaimed::Reclaimed;

use crate::ledger::{Holder, Ledger, UnixMillis};
use crate::request::PodRequest;
use crate::wire::{MetaPod, MetaVictims, PreemptionArgs, PreemptionResult};

/// Answers the question for `pod`.
pub fn preempt(
    args: &PreemptionArgs<'_>,
    pod: &PodRequest,
    ledger: &Ledger,
    now: UnixMillis,
) -> PreemptionResult {
    let proposed = proposals(args);
    let Some(request) = pod.amount else {
        let unchanged = proposed
            .into_iter()
            .filter(|(_, victims)| !victims.pods.is_empty());
        return PreemptionResult {
            node_name_to_meta_victims: unchanged.collect(),
        };
    };
    if pod.level != Level::Reclaimed {
        return PreemptionResult::default();
    }
    let kept = proposed.into_iter().filter_map(|(node, victims)| {
        let view = ledger.table().get(node.as_str())?.view();
        if view.malformed {
            return None;
        }
        let seen = view.at(now, ledger.stale_after());
        let victims = victims_on(
            &seen,
            &ledger.holders(&node),
            victims,
            &request,
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
    node: &ReclaimedNode,
    holders: &[Holder],
    mut victims: MetaVictims,
    request: &Reclaimed,
    priority: i32,
) -> Option<MetaVictims> {
    let proposed = |holder: &Holder| victims.pods.iter().any(|victim| victim.uid == *holder.uid);
    let (leaving, staying): (Vec<&Holder>, Vec<&Holder>) =
        holders.iter().partition(|holder| proposed(holder));
    let freed: Reclaimed = leaving.iter().map(|holder| holder.charge.amount).sum();
    let fits = |freed: Reclaimed| {
        fit(
            &ReclaimedNode {
                allocated: node.allocated - freed,
                ..*node
            },
            request,
        )
        .is_ok()
    };
    if fits(freed) {
        return (!victims.pods.is_empty()).then_some(victims);
    }
    let mut lesser: Vec<&Holder> = staying
        .into_iter()
        .filter(|holder| !holder.charge.terminating && holder.charge.priority < priority)
        .collect();
    // Most important first: higher priority, then longer running, as kube-scheduler orders them.
    lesser.sort_by_key(|holder| {
        (
            std::cmp::Reverse(holder.charge.priority),
            holder.charge.created,
            holder.uid.clone(),
        )
    });
    let mut freed = freed + lesser.iter().map(|holder| holder.charge.amount).sum();
    if !fits(freed) {
        return None;
    }
    for holder in lesser {
        let without = freed - holder.charge.amount;
        if fits(without) {
            freed = without;
        } else {
            victims.pods.push(MetaPod {
                uid: holder.uid.to_string(),
            });
        }
    }
    Some(victims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Charge;

    const NODE: ReclaimedNode = ReclaimedNode {
        allocatable: Reclaimed::new(4000, 4000),
        allocated: Reclaimed::new(4000, 4000),
        fresh: true,
    };

    fn holder(uid: &str, amount: u64, priority: i32) -> Holder {
        let charge = Charge {
            amount: Reclaimed::new(amount, amount),
            priority,
            ..Charge::default()
        };
        Holder {
            uid: uid.into(),
            charge,
        }
    }

    fn victims(uids: &[&str]) -> MetaVictims {
        MetaVictims {
            pods: uids
                .iter()
                .map(|uid| MetaPod {
                    uid: (*uid).to_owned(),
                })
                .collect(),
            num_pdb_violations: 1,
        }
    }

    #[test]
    fn proposed_victims_that_free_enough_are_kept_as_they_are() {
        let holders = [holder("a", 2000, 0), holder("b", 2000, 0)];
        assert_eq!(
            victims_on(
                &NODE,
                &holders,
                victims(&["a"]),
                &Reclaimed::new(2000, 2000),
                5
            ),
            Some(victims(&["a"]))
        );
    }

    #[test]
    fn a_node_whose_victims_free_nothing_reclaimed_is_left_out() {
        let holders = [holder("a", 4000, 9)];
        assert_eq!(
            victims_on(
                &NODE,
                &holders,
                victims(&["service"]),
                &Reclaimed::new(1, 1),
                9
            ),
            None
        );
    }

    #[test]
    fn the_fewest_and_least_important_reclaimed_pods_are_added() {
        let holders = [
            holder("low", 1000, 1),
            holder("mid", 1000, 2),
            holder("high", 2000, 7),
        ];
        let answer = victims_on(
            &NODE,
            &holders,
            victims(&[]),
            &Reclaimed::new(1000, 1000),
            5,
        )
        .unwrap();
        assert_eq!(answer.pods, victims(&["low"]).pods);
    }

    #[test]
    fn a_node_that_needs_no_victim_is_left_out() {
        let node = ReclaimedNode {
            allocated: Reclaimed::ZERO,
            ..NODE
        };
        assert_eq!(
            victims_on(&node, &[], victims(&[]), &Reclaimed::new(1, 1), 5),
            None
        );
    }

    #[test]
    fn pods_that_are_leaving_already_are_not_chosen_again() {
        let mut leaving = holder("a", 4000, 0);
        leaving.charge.terminating = true;
        assert_eq!(
            victims_on(&NODE, &[leaving], victims(&[]), &Reclaimed::new(1, 1), 5),
            None
        );
    }
}
