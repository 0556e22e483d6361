//! A node with all that its pods hold.
//!
//! Changed pod by pod: [`NodePlacement::add`] and [`NodePlacement::remove`] are idempotent by UID and touch a few numbers. What is used is always the
//! sum over the pods, so a card that two records claim counts twice until one of them goes: it is never free too early.
//!
//! A clone shares machine, taints and allocations; a snapshot per change costs a copy of the list of pods.
//!
//! NUMA nodes are held as the pod's allocation says, or as the node's own report says where the two name the same nodes: the agent knows
//! how the parts lie. A pod that only the report names counts until the caller says that it is gone.

mod used;

pub use used::{CardUse, Used, ZoneUse};

use std::sync::Arc;

use super::{
    allocation::{Allocation, NumaShare, Uid},
    machine::Machine,
    reclaimed::ReclaimedNode,
};
use crate::{qos::Level, reclaimed::Reclaimed};

/// What a taint does to pods that do not tolerate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaintEffect {
    /// Better not here.
    PreferNoSchedule,
    /// Not here.
    NoSchedule,
    /// Not here, and those that are here go.
    NoExecute,
}

/// A taint for the pods of one quality-of-service level.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// Key.
    pub key: Box<str>,
    /// Value; may be empty.
    pub value: Box<str>,
    /// What it does.
    pub effect: TaintEffect,
    /// The level of the pods that it is for.
    pub level: Level,
}

/// What a node's report says of its use, as fractions of its capacity; 0 where it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// CPU in use.
    pub cpu: f32,
    /// Memory in use.
    pub memory: f32,
    /// Highest CPU use of services in the agent's window, or what is predicted for the next hours.
    pub predicted_cpu: f32,
    /// The same for memory.
    pub predicted_memory: f32,
}

/// What the node's report says that a pod holds of NUMA nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The pod.
    pub uid: Uid,
    /// Its parts.
    pub shares: Box<[NumaShare]>,
}

/// A pod taken from a node, to be put back as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    uid: Uid,
    allocation: Option<Arc<Allocation>>,
    reported: Option<Reported>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodePlacement {
    machine: Arc<Machine>,
    taints: Arc<[Taint]>,
    offer: Reclaimed,
    fresh: bool,
    load: Load,
    /// Ascending by UID.
    pods: Vec<(Uid, Arc<Allocation>)>,
    /// Ascending by UID.
    reported: Vec<Reported>,
    used: Used,
}

impl NodePlacement {
    /// What the node has.
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// Its taints.
    pub fn taints(&self) -> &Arc<[Taint]> {
        &self.taints
    }

    /// What its report says of its use.
    pub fn load(&self) -> Load {
        self.load
    }

    /// What its pods hold.
    pub fn used(&self) -> &Used {
        &self.used
    }

    /// Its reclaimed amounts.
    pub fn reclaimed(&self) -> ReclaimedNode {
        ReclaimedNode {
            allocatable: self.offer,
            allocated: self.used.reclaimed,
            fresh: self.fresh,
        }
    }

    /// Its pods, ascending by UID.
    pub fn pods(&self) -> impl ExactSizeIterator<Item = (&Uid, &Arc<Allocation>)> {
        self.pods.iter().map(|(uid, allocation)| (uid, allocation))
    }

    /// What a pod holds.
    pub fn pod(&self, uid: &str) -> Option<&Arc<Allocation>> {
        let at = self.find(uid).ok()?;
        self.pods.get(at).map(|(_, allocation)| allocation)
    }

    /// The machine turned out to be this one.
    pub fn set_machine(&mut self, machine: Arc<Machine>) {
        if *self.machine != *machine {
            self.machine = machine;
            self.rebuild();
        }
    }

    /// The taints are these.
    pub fn set_taints(&mut self, taints: Arc<[Taint]>) {
        self.taints = taints;
    }

    /// The reclaimed offer, and whether the node's agent reports.
    pub fn set_offer(&mut self, offer: Reclaimed, fresh: bool) {
        self.offer = offer;
        self.fresh = fresh;
    }

    /// The use that the report tells.
    pub fn set_load(&mut self, load: Load) {
        self.load = load;
    }

    /// What the report says that pods hold of NUMA nodes.
    pub fn set_reported(&mut self, mut reported: Vec<Reported>) {
        reported.sort_by(|a, b| a.uid.cmp(&b.uid));
        reported.dedup_by(|a, b| a.uid == b.uid);
        if self.reported != reported {
            self.reported = reported;
            self.rebuild();
        }
    }

    /// A pod holds this. Said again it changes nothing; another allocation of the same pod takes the place of the first.
    pub fn add(&mut self, uid: &Uid, allocation: &Arc<Allocation>) {
        let place = self.find(uid);
        let before = match place {
            Ok(at) => match self.pods.get_mut(at) {
                Some((_, held)) if *held == *allocation => return,
                Some((_, held)) => Some(std::mem::replace(held, Arc::clone(allocation))),
                None => None,
            },
            Err(at) => {
                let pod = (Arc::clone(uid), Arc::clone(allocation));
                self.pods.insert(at, pod);
                None
            }
        };
        if self.is_reported(uid) {
            self.rebuild();
            return;
        }
        if let Some(before) = before {
            self.used.subtract(&self.machine, &before, &before.numa);
        }
        self.used.add(&self.machine, allocation, &allocation.numa);
    }

    /// A pod is gone; `None` where the node does not know it. The report's word on it goes with it: the next report has none.
    pub fn remove(&mut self, uid: &str) -> Option<Removed> {
        let allocation = self.find(uid).ok().map(|at| self.pods.remove(at));
        let reported = self
            .reported
            .binary_search_by(|reported| (*reported.uid).cmp(uid))
            .ok()
            .map(|at| self.reported.remove(at));
        match (&allocation, &reported) {
            (None, None) => return None,
            (Some((_, held)), None) => self.used.subtract(&self.machine, held, &held.numa),
            (_, Some(_)) => self.rebuild(),
        }
        let known = allocation.as_ref().map(|(uid, _)| Arc::clone(uid));
        Some(Removed {
            uid: known.or_else(|| reported.as_ref().map(|reported| Arc::clone(&reported.uid)))?,
            allocation: allocation.map(|(_, held)| held),
            reported,
        })
    }

    /// Puts a pod back that was removed.
    pub fn restore(&mut self, removed: Removed) {
        let Removed {
            uid,
            allocation,
            reported,
        } = removed;
        if let Some(reported) = reported
            && let Err(at) = self
                .reported
                .binary_search_by(|other| other.uid.cmp(&reported.uid))
        {
            self.reported.insert(at, reported);
            if allocation.is_none() {
                self.rebuild();
            }
        }
        if let Some(allocation) = allocation {
            self.add(&uid, &allocation);
        }
    }

    fn find(&self, uid: &str) -> Result<usize, usize> {
        self.pods.binary_search_by(|(other, _)| (**other).cmp(uid))
    }

    fn is_reported(&self, uid: &str) -> bool {
        self.reported
            .binary_search_by(|reported| (*reported.uid).cmp(uid))
            .is_ok()
    }

    fn rebuild(&mut self) {
        let mut used = Used::of(&self.machine);
        for (uid, allocation) in &self.pods {
            let reported = self
                .reported
                .binary_search_by(|reported| reported.uid.cmp(uid))
                .ok()
                .and_then(|at| self.reported.get(at));
            let shares = reported.map_or(&*allocation.numa, |reported| {
                trusted(&allocation.numa, &reported.shares)
            });
            used.add(&self.machine, allocation, shares);
        }
        let unknown = Allocation::default();
        for reported in &self.reported {
            if self.find(&reported.uid).is_err() {
                used.add(&self.machine, &unknown, &reported.shares);
            }
        }
        self.used = used;
    }
}

/// The report's word where the scheduler chose no nodes, or several and the same ones: how a pod lies over several nodes is the agent's choice.
fn trusted<'a>(chosen: &'a [NumaShare], reported: &'a [NumaShare]) -> &'a [NumaShare] {
    let same = chosen.len() > 1
        && chosen.len() == reported.len()
        && chosen
            .iter()
            .all(|share| reported.iter().any(|other| other.id == share.id));
    if chosen.is_empty() || same {
        reported
    } else {
        chosen
    }
}
