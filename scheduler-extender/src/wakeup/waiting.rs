//! Pods that found no room lately, and when kube-scheduler should look at them again.
//!
//! kube-scheduler puts a pod that an extender rejected aside until something happens in its own world. A custom resource that
//! offers more is not in its world. So the extender remembers such pods, and when a node has become able to take one of them, that
//! node is to be touched. Any node's update wakes every pod that an extender rejected, so one touch is enough for all.

use std::collections::HashMap;
use std::sync::Arc;

use katalyst_core::placement::PodRequest as Request;

use crate::ledger::{Table, UnixMillis};
use crate::recent::Recent;
use crate::request::Uid;

/// Pods remembered.
const LIMIT: usize = 1024;
/// A pod that was not asked about for so long is gone or was placed: kube-scheduler retries each pending pod every 5 minutes.
const FORGET_AFTER: i64 = 11 * 60 * 1000;
/// Shortest time between two touches of one node, in milliseconds: each costs a write and wakes every watcher of the node.
pub const NODE_INTERVAL: i64 = 5_000;

#[derive(Debug, Clone)]
struct Wish {
    request: Arc<Request>,
    rejected: UnixMillis,
    /// The ledger's version the pod was judged at, or was last woken for.
    version: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Waiting {
    wishes: Recent<Wish>,
    touched: HashMap<Arc<str>, UnixMillis>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            wishes: Recent::new(LIMIT),
            touched: HashMap::new(),
        }
    }
}

/// A node to touch, and the ledger's version that the touch stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// The node.
    pub node: Arc<str>,
    /// The request it has room for.
    pub request: Arc<Request>,
    /// Pods with that request are not woken again for improvements up to this version.
    pub version: u64,
}

impl Waiting {
    /// No node had room for the pod when the ledger was at `version`.
    pub fn rejected(&mut self, uid: &Uid, request: &Arc<Request>, version: u64, now: UnixMillis) {
        self.wishes.put(
            uid.clone(),
            Wish {
                request: request.clone(),
                rejected: now,
                version,
            },
        );
    }

    /// The pod was offered a node, or was bound.
    pub fn served(&mut self, uid: &str) {
        self.wishes.take(uid);
    }

    /// How many pods wait.
    pub fn len(&self) -> usize {
        self.wishes.len()
    }

    /// True while none waits.
    pub fn is_empty(&self) -> bool {
        self.wishes.is_empty()
    }

    /// The node to touch now, if one has become able to take a pod that waits and was not touched too recently.
    pub fn plan(
        &mut self,
        table: &Table,
        version: u64,
        now: UnixMillis,
        stale_after: i64,
    ) -> Option<Touch> {
        self.wishes
            .retain(|wish| now.saturating_sub(wish.rejected) <= FORGET_AFTER);
        self.touched
            .retain(|_, at| now.saturating_sub(*at) < NODE_INTERVAL);
        // Replicas of one workload ask alike; the one judged longest ago stands for them.
        let mut oldest: Vec<Wish> = Vec::new();
        for (_, wish) in self.wishes.iter_mut() {
            match oldest
                .iter_mut()
                .find(|known| known.request == wish.request)
            {
                Some(known) => known.version = known.version.min(wish.version),
                None => oldest.push(wish.clone()),
            }
        }
        for wish in oldest {
            let node = table.iter().find(|(name, cell)| {
                let state = cell.state();
                state.improved > wish.version
                    && state.check(&wish.request, now, stale_after).is_ok()
                    && !self.touched.contains_key(*name)
            });
            if let Some((name, _)) = node {
                return Some(Touch {
                    node: name.clone(),
                    request: wish.request,
                    version,
                });
            }
        }
        None
    }

    /// The touch was made.
    pub fn touched(&mut self, touch: &Touch, now: UnixMillis) {
        self.touched.insert(touch.node.clone(), now);
        for (_, wish) in self
            .wishes
            .iter_mut()
            .filter(|(_, wish)| wish.request == touch.request)
        {
            wish.version = wish.version.max(touch.version);
        }
    }

    /// The touch failed: the node is left alone for a while, the pods stay as they were.
    pub fn failed(&mut self, touch: &Touch, now: UnixMillis) {
        self.touched.insert(touch.node.clone(), now);
    }
}

#[cfg(test)]
mod tests {
    use katalyst_core::qos::Level;
    use katalyst_core::reclaimed::Reclaimed;

    use super::*;
    use crate::ledger::{Ledger, Offer, Report};

    const STALE: i64 = 60_000;

    fn wish() -> Arc<Request> {
        Arc::new(Request {
            level: Level::Reclaimed,
            reclaimed: Some(Reclaimed::new(1000, 1000)),
            ..Request::default()
        })
    }

    fn offer(ledger: &Ledger, node: &str, amount: u64, now: UnixMillis) {
        ledger.offer(
            node,
            Offer::Known(Report {
                allocatable: Reclaimed::new(amount, amount),
                agent_ready: true,
                reported: now,
                ..Report::default()
            }),
            now,
        );
    }

    fn plan(waiting: &mut Waiting, ledger: &Ledger, now: UnixMillis) -> Option<Arc<str>> {
        let version = ledger.version();
        let touch = waiting.plan(&ledger.table(), version, now, STALE)?;
        waiting.touched(&touch, now);
        Some(touch.node)
    }

    #[test]
    fn a_node_that_grows_enough_is_touched_once() {
        let (ledger, mut waiting) = (Ledger::new(STALE), Waiting::default());
        offer(&ledger, "n", 500, 0);
        waiting.rejected(&"a".into(), &wish(), ledger.version(), 0);
        assert_eq!(plan(&mut waiting, &ledger, 1), None);
        offer(&ledger, "n", 1000, 2);
        assert_eq!(plan(&mut waiting, &ledger, 2).as_deref(), Some("n"));
        assert_eq!(
            plan(&mut waiting, &ledger, 10_000),
            None,
            "nothing improved since"
        );
    }

    #[test]
    fn room_that_was_there_before_the_pod_was_judged_wakes_nobody() {
        let (ledger, mut waiting) = (Ledger::new(STALE), Waiting::default());
        offer(&ledger, "tainted", 5000, 0);
        waiting.rejected(&"a".into(), &wish(), ledger.version(), 0);
        assert_eq!(plan(&mut waiting, &ledger, 1), None);
    }

    #[test]
    fn a_node_is_touched_at_most_once_in_five_seconds() {
        let (ledger, mut waiting) = (Ledger::new(STALE), Waiting::default());
        waiting.rejected(&"a".into(), &wish(), ledger.version(), 0);
        offer(&ledger, "n", 1000, 1);
        assert!(plan(&mut waiting, &ledger, 1).is_some());
        waiting.rejected(&"a".into(), &wish(), ledger.version(), 2);
        offer(&ledger, "n", 2000, 3);
        assert_eq!(plan(&mut waiting, &ledger, 3), None);
        assert_eq!(
            plan(&mut waiting, &ledger, 1 + NODE_INTERVAL).as_deref(),
            Some("n")
        );
    }

    #[test]
    fn a_failed_touch_is_made_again() {
        let (ledger, mut waiting) = (Ledger::new(STALE), Waiting::default());
        waiting.rejected(&"a".into(), &wish(), ledger.version(), 0);
        offer(&ledger, "n", 1000, 1);
        let touch = waiting
            .plan(&ledger.table(), ledger.version(), 1, STALE)
            .unwrap();
        waiting.failed(&touch, 1);
        assert_eq!(plan(&mut waiting, &ledger, 2), None);
        assert_eq!(
            plan(&mut waiting, &ledger, 1 + NODE_INTERVAL).as_deref(),
            Some("n")
        );
    }

    #[test]
    fn served_and_forgotten_pods_wake_nobody() {
        let (ledger, mut waiting) = (Ledger::new(i64::MAX), Waiting::default());
        waiting.rejected(&"a".into(), &wish(), ledger.version(), 0);
        waiting.rejected(&"b".into(), &wish(), ledger.version(), 0);
        waiting.served("a");
        offer(&ledger, "n", 1000, 1);
        assert_eq!(plan(&mut waiting, &ledger, FORGET_AFTER + 1), None);
        assert!(waiting.is_empty());
    }

    #[test]
    fn a_silent_node_that_speaks_again_counts_as_grown() {
        let (ledger, mut waiting) = (Ledger::new(STALE), Waiting::default());
        offer(&ledger, "n", 1000, 0);
        waiting.rejected(&"a".into(), &wish(), ledger.version(), STALE + 1);
        offer(&ledger, "n", 1000, STALE + 2);
        assert_eq!(plan(&mut waiting, &ledger, STALE + 3).as_deref(), Some("n"));
    }
}
