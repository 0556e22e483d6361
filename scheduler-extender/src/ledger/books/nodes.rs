//! Nodes: their offers, their pods, and the states that are published of them.

use std::collections::HashSet;
use std::sync::Arc;

use katalyst_core::placement::{Allocation, NodePlacement};

use super::{Books, Offer, Report};
use crate::ledger::entry::{Entry, Place};
use crate::ledger::table::{NodeCell, Table};
use crate::ledger::view::{NodeState, UnixMillis};
use crate::request::Uid;

#[derive(Debug)]
pub(super) struct Account {
    pub(super) cell: Arc<NodeCell>,
    /// What the custom resource said, less what the published state holds already.
    heard: Heard,
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Report,
    Malformed(String),
}

impl Account {
    fn is_empty(&self) -> bool {
        self.heard == Heard::Nothing && self.cell.state().placement.pods().len() == 0
    }
}

impl Books {
    /// A listing of custom resources begins.
    pub fn begin_offers(&mut self) {
        self.listed_nodes = Some(HashSet::new());
    }

    /// A node's custom resource was seen. `now` and `stale_after` tell whether it makes a silent node speak again.
    pub fn offer(&mut self, node: &str, offer: Offer, now: UnixMillis, stale_after: i64) {
        let name = self.open(node);
        if let Some(listed) = &mut self.listed_nodes {
            listed.insert(name.clone());
        }
        let (heard, report) = match offer {
            Offer::Known(report) => (Heard::Report, report),
            Offer::Malformed { message } => (Heard::Malformed(message), Report::default()),
        };
        self.hear(&name, heard, report, Some((now, stale_after)));
    }

    /// A node's custom resource is gone.
    pub fn withdraw(&mut self, node: &str) {
        if self.nodes.contains_key(node) {
            self.hear(node, Heard::Nothing, Report::default(), None);
            self.close_if_empty(node);
        }
    }

    /// A listing of custom resources is complete: nodes that were not in it are withdrawn.
    pub fn finish_offers(&mut self) {
        let listed = self.listed_nodes.take().unwrap_or_default();
        let gone: Vec<Arc<str>> = self
            .nodes
            .iter()
            .filter(|(name, account)| account.heard != Heard::Nothing && !listed.contains(*name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.withdraw(&name);
        }
    }

    /// What is wrong with a node's custom resource.
    pub fn defect(&self, node: &str) -> Option<&str> {
        match &self.nodes.get(node)?.heard {
            Heard::Malformed(message) => Some(message),
            Heard::Nothing | Heard::Report => None,
        }
    }

    /// The pods charged to a node.
    pub fn pods_on(&self, node: &str) -> Vec<(&Uid, &Entry)> {
        let Some(account) = self.nodes.get(node) else {
            return Vec::new();
        };
        let state = account.cell.state();
        let uids = state.placement.pods().map(|(uid, _)| uid);
        uids.filter_map(|uid| self.pods.get_key_value(uid))
            .collect()
    }

    /// A new table, if nodes came or went since the last call and no listing is under way.
    pub fn changed_table(&mut self) -> Option<Table> {
        if !self.table_changed || self.listed_nodes.is_some() || self.listed_pods.is_some() {
            return None;
        }
        self.table_changed = false;
        let nodes = self.nodes.iter();
        Some(Table::new(
            nodes.map(|(name, account)| (name, &account.cell)),
            &self.marks,
        ))
    }

    /// A node now; one about which nothing is known where there is none.
    pub fn state(&self, node: &str) -> Arc<NodeState> {
        let account = self.nodes.get(node);
        account.map_or_else(Arc::default, |account| account.cell.state())
    }

    pub(super) fn open(&mut self, node: &str) -> Arc<str> {
        if let Some((name, _)) = self.nodes.get_key_value(node) {
            return name.clone();
        }
        let name: Arc<str> = node.into();
        let fresh = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let slot = self.free_slots.pop().unwrap_or(fresh);
        let account = Account {
            cell: Arc::new(NodeCell::new(slot, &mut self.marks)),
            heard: Heard::Nothing,
        };
        self.nodes.insert(name.clone(), account);
        self.table_changed = true;
        name
    }

    fn close_if_empty(&mut self, node: &str) {
        if self.nodes.get(node).is_some_and(Account::is_empty)
            && let Some(account) = self.nodes.remove(node)
        {
            self.free_slots.push(account.cell.slot);
            self.table_changed = true;
        }
    }

    /// Charges a pod to a node.
    pub(super) fn attach(&mut self, uid: &Uid, node: &str, allocation: &Arc<Allocation>) {
        let less = |placement: &NodePlacement| {
            let held = placement.pod(uid);
            held.is_some_and(|held| **held != **allocation)
        };
        // Another allocation of the same pod may be smaller.
        let improves = self
            .nodes
            .get(node)
            .is_some_and(|account| less(&account.cell.state().placement));
        self.change(node, improves, |placement| {
            placement.add(uid, allocation);
        });
    }

    /// Takes a pod from a node.
    pub(super) fn detach(&mut self, uid: &Uid, node: &str) {
        self.change(node, true, |placement| {
            placement.remove(uid);
        });
        self.close_if_empty(node);
    }

    pub(super) fn retain_places(&mut self, uid: &str, keep: impl Fn(&Place) -> bool) {
        let Some((uid, entry)) = self.pods.get_key_value(uid) else {
            return;
        };
        let uid = uid.clone();
        let dropped: Vec<Arc<str>> = entry
            .places
            .iter()
            .filter(|place| !keep(place))
            .map(|place| place.node.clone())
            .collect();
        let mut empty = entry.places.is_empty();
        if let Some(entry) = self.pods.get_mut(&uid) {
            entry.places.retain(&keep);
            empty = entry.places.is_empty();
        }
        for node in dropped {
            self.detach(&uid, &node);
        }
        if empty {
            self.pods.remove(&uid);
        }
    }

    fn hear(&mut self, node: &str, heard: Heard, report: Report, clock: Option<(UnixMillis, i64)>) {
        let Some(account) = self.nodes.get_mut(node) else {
            return;
        };
        let old = account.cell.state();
        let mut next = (*old).clone();
        next.malformed = matches!(heard, Heard::Malformed(_));
        account.heard = heard;
        let (before, after) = (&old.placement, &mut next.placement);
        let more = report.machine != *before.machine()
            || *report.taints != **before.taints()
            || report.allocatable.cpu > before.reclaimed().allocatable.cpu
            || report.allocatable.memory > before.reclaimed().allocatable.memory;
        after.set_machine(report.machine);
        after.set_taints(report.taints);
        after.set_offer(report.allocatable, report.agent_ready);
        after.set_load(report.load);
        after.set_reported(report.held);
        next.reported = report.reported;
        let speaks_again = clock.is_some_and(|(now, stale_after)| {
            next.is_fresh(now, stale_after) && !old.is_fresh(now, stale_after)
        });
        let freed = next.placement.used() != before.used();
        self.publish(node, next, more || speaks_again || freed);
    }

    fn change(&mut self, node: &str, improves: bool, change: impl FnOnce(&mut NodePlacement)) {
        if let Some(account) = self.nodes.get(node) {
            let mut next = (*account.cell.state()).clone();
            change(&mut next.placement);
            self.publish(node, next, improves);
        }
    }

    /// The state goes out before the version: whoever reads the new version sees the new state.
    fn publish(&mut self, node: &str, mut state: NodeState, improved: bool) {
        let Some(account) = self.nodes.get(node) else {
            return;
        };
        let charges = state.placement.pods().filter_map(|(uid, _)| {
            let entry = self.pods.get(uid)?;
            (!entry.charge.terminating).then_some(entry.charge.priority)
        });
        state.lowest_priority = charges.min().unwrap_or(i32::MAX);
        self.revision += 1;
        state.revision = self.revision;
        if improved {
            state.improved = self.version + 1;
        }
        account.cell.publish(state);
        if improved {
            self.version += 1;
        }
    }
}
