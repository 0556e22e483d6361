//! What the cluster looks like, kept by watches and read by the planner.
//!
//! The index is plain synchronous state: watch events go in, [`NodeView`]s come out, and every name that an event touched is
//! remembered as dirty until the worker takes it. It holds a few hundred bytes for each node and each *reclaimed* pod, and
//! nothing at all for any other pod.
//!
//! Ages are judged by what this process saw. A report counts as new when its time stamp *changed*, not when two machines'
//! clocks agree; only the first sight of a node has to believe the time stamp. While the watch on CNRs is down no time passes,
//! so a lost API server does not make every agent look silent.

mod cnr;
mod node;
mod pod;
mod relist;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use katalyst_core::reclaimed::Reclaimed;

pub use cnr::{CnrFacts, Measured, Owner, Report};
pub use node::NodeFacts;
pub use pod::{PodFacts, PodKey, PodReading, SlimPod, read_pod};
use relist::Relist;
pub use view::NodeView;

/// The watched kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `Node`, metadata only.
    Node,
    /// `CustomNodeResource`.
    Cnr,
    /// `Pod`, of which only reclaimed ones are kept.
    Pod,
}

impl Kind {
    /// Every watched kind.
    pub const ALL: [Self; 3] = [Self::Node, Self::Cnr, Self::Pod];

    /// Name for logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "nodes",
            Self::Cnr => "customnoderesources",
            Self::Pod => "pods",
        }
    }
}

/// When an agent's report was last seen to change.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    /// The report's own time stamp, on its node's clock.
    updated: Timestamp,
    /// When this process saw it, in Unix seconds of its own clock.
    at: f64,
    /// False until it changed under this process's eyes.
    witnessed: bool,
}

#[derive(Debug, Default)]
struct Entry {
    node: Option<Arc<NodeFacts>>,
    cnr: Option<Arc<CnrFacts>>,
    seen: Option<Seen>,
    pods: BTreeMap<PodKey, Reclaimed>,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.node.is_none() && self.cnr.is_none() && self.pods.is_empty()
    }
}

/// Nodes, CNRs and reclaimed pods of the cluster.
#[derive(Debug, Default)]
pub struct Index {
    entries: BTreeMap<String, Entry>,
    /// Which node a known reclaimed pod is bound to.
    pod_nodes: HashMap<PodKey, String>,
    dirty: BTreeSet<String>,
    relist: Relist,
    /// Kinds of which a list was completed.
    listed: BTreeSet<Kind>,
    /// Since when the watch on CNRs has been down, in Unix seconds.
    reports_down_since: Option<f64>,
}

impl Index {
    /// Takes over a Node.
    pub fn apply_node(&mut self, node: NodeFacts) {
        self.relist.saw(Kind::Node, &node.name);
        let entry = self.entries.entry(node.name.clone()).or_default();
        if entry.node.as_deref() == Some(&node) {
            return;
        }
        self.dirty.insert(node.name.clone());
        entry.node = Some(Arc::new(node));
    }

    /// Forgets a Node.
    pub fn delete_node(&mut self, name: &str) {
        self.change(name, |entry| entry.node = None);
    }

    /// Takes over a CNR as a watch or a write's answer delivered it at `now` (Unix seconds). A version older than the one held,
    /// which a watch delivers after a write's answer was already applied, is dropped.
    pub fn apply_cnr(&mut self, cnr: CnrFacts, now: f64) {
        let listed = self.relist.saw(Kind::Cnr, &cnr.name);
        let entry = self.entries.entry(cnr.name.clone()).or_default();
        if let Some(held) = &entry.cnr
            && !listed
            && held.uid == cnr.uid
            && cnr.resource_version < held.resource_version
        {
            return;
        }
        if entry.cnr.as_ref().is_some_and(|held| held.uid != cnr.uid) {
            entry.seen = None;
        }
        entry.seen = match (&cnr.report, entry.seen) {
            (Report::Seen(report), Some(seen)) if seen.updated == report.updated => Some(seen),
            (Report::Seen(report), Some(_)) => Some(Seen {
                updated: report.updated,
                at: now,
                witnessed: true,
            }),
            (Report::Seen(report), None) => Some(Seen {
                updated: report.updated,
                at: seconds(report.updated).min(now),
                witnessed: false,
            }),
            (Report::Missing | Report::Malformed(_), seen) => seen,
        };
        self.dirty.insert(cnr.name.clone());
        entry.cnr = Some(Arc::new(cnr));
    }

    /// Forgets a CNR.
    pub fn delete_cnr(&mut self, name: &str) {
        self.change(name, |entry| {
            entry.cnr = None;
            entry.seen = None;
        });
    }

    /// Takes over a pod: `None` for one that holds no reclaimed capacity (any other class, not bound, or finished).
    pub fn apply_pod(&mut self, key: PodKey, facts: Option<PodFacts>) {
        let Some(facts) = facts else {
            return self.delete_pod(&key);
        };
        self.relist.saw(Kind::Pod, key.as_str());
        if self
            .pod_nodes
            .get(&key)
            .is_some_and(|node| *node != facts.node)
        {
            // The same name on another node: a pod that was deleted and recreated between two events.
            self.delete_pod(&key);
        }
        let entry = self.entries.entry(facts.node.clone()).or_default();
        if entry.pods.insert(key.clone(), facts.request) == Some(facts.request) {
            return;
        }
        self.dirty.insert(facts.node.clone());
        self.pod_nodes.insert(key, facts.node);
    }

    /// Forgets a pod.
    pub fn delete_pod(&mut self, key: &PodKey) {
        if let Some(node) = self.pod_nodes.remove(key) {
            self.change(&node, |entry| {
                entry.pods.remove(key);
            });
        }
    }

    /// A watch starts its list again: what it does not name until [`Index::end_list`] is gone.
    pub fn begin_list(&mut self, kind: Kind) {
        self.relist.begin(kind);
    }

    /// The list that [`Index::begin_list`] announced is complete.
    pub fn end_list(&mut self, kind: Kind) {
        let Some(listed) = self.relist.end(kind) else {
            return;
        };
        self.listed.insert(kind);
        match kind {
            Kind::Node => {
                for name in self.names_where(|entry| entry.node.is_some(), &listed) {
                    self.delete_node(&name);
                }
            }
            Kind::Cnr => {
                for name in self.names_where(|entry| entry.cnr.is_some(), &listed) {
                    self.delete_cnr(&name);
                }
            }
            Kind::Pod => {
                let gone: Vec<PodKey> = self
                    .pod_nodes
                    .keys()
                    .filter(|key| !listed.contains(key.as_str()))
                    .cloned()
                    .collect();
                for key in gone {
                    self.delete_pod(&key);
                }
            }
        }
    }

    /// True once every kind was listed in full.
    pub fn is_complete(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.listed.contains(kind))
    }

    /// A watch failed at `now` (Unix seconds): reports stop ageing until it is back.
    pub fn watch_failed(&mut self, kind: Kind, now: f64) {
        if kind == Kind::Cnr {
            self.reports_down_since.get_or_insert(now);
        }
    }

    /// A watch works again at `now` (Unix seconds): the outage is not counted as silence of the agents.
    pub fn watch_works(&mut self, kind: Kind, now: f64) {
        if kind != Kind::Cnr {
            return;
        }
        if let Some(since) = self.reports_down_since.take() {
            let outage = (now - since).max(0.0);
            for seen in self
                .entries
                .values_mut()
                .filter_map(|entry| entry.seen.as_mut())
            {
                // A report that arrived during the outage (in the list that ended it) is younger than the outage.
                seen.at = (seen.at + outage).min(now);
            }
        }
    }

    /// The names touched since the last call, in order.
    pub fn take_dirty(&mut self) -> Vec<String> {
        std::mem::take(&mut self.dirty).into_iter().collect()
    }

    /// Names of all nodes and CNRs, in order.
    pub fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// Everything known about one node at `now` (Unix seconds); `None` for a name nothing is known about.
    pub fn view(&self, name: &str, now: f64) -> Option<NodeView> {
        let entry = self.entries.get(name)?;
        let clock = self.reports_down_since.unwrap_or(now);
        Some(NodeView {
            name: name.to_owned(),
            node: entry.node.clone(),
            cnr: entry.cnr.clone(),
            allocated: entry.pods.values().copied().sum(),
            pods: entry.pods.len(),
            report_age_seconds: entry
                .seen
                .map_or(f64::INFINITY, |seen| (clock - seen.at).max(0.0)),
            report_witnessed: entry.seen.is_some_and(|seen| seen.witnessed),
        })
    }

    /// How many objects of `kind` are held.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Node => self
                .entries
                .values()
                .filter(|entry| entry.node.is_some())
                .count(),
            Kind::Cnr => self
                .entries
                .values()
                .filter(|entry| entry.cnr.is_some())
                .count(),
            Kind::Pod => self.pod_nodes.len(),
        }
    }

    fn names_where(&self, held: impl Fn(&Entry) -> bool, listed: &BTreeSet<String>) -> Vec<String> {
        let unlisted = |(name, entry): &(&String, &Entry)| held(entry) && !listed.contains(*name);
        self.entries
            .iter()
            .filter(unlisted)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Changes an entry, marks it dirty and drops it once nothing is known about it any more.
    fn change(&mut self, name: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(name) {
            change(entry);
            self.dirty.insert(name.to_owned());
            if entry.is_empty() {
                self.entries.remove(name);
            }
        }
    }
}

fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}
