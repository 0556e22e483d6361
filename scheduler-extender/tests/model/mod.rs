//! A small world to try the ledger in: an API server, two replicas of the extender with watches of their own, and bindings on their way.
//!
//! Four nodes' worth of everything that can be given out once: reclaimed amounts, two NUMA nodes, two GPUs. Every order of events that the
//! real ones allow can be played: a binding that lands late or after its sender gave up, an answer that is lost, a watch that is late, repeats
//! itself, swaps events of different pods or breaks, a pod deleted in between, a custom resource that goes and comes back, a restart, a change of leader.
//!
//! What the API server holds is read back from the records in the bindings, as the agent and a new leader read them. After each step nothing
//! may be held twice, and the leader may not count less than the API server holds.
#![allow(dead_code, unreachable_pub, reason = "each program uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod pods;
mod replica;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use katalyst_core::placement::{Machine, NodePlacement};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_scheduler_extender::ledger::{Assumption, Decision, Settlement};
use katalyst_scheduler_extender::request::PodRequest;
use katalyst_scheduler_extender::verbs::annotations;
use katalyst_scheduler_extender::watch::held;

pub use pods::PODS;
use replica::{Event, Replica};
pub use step::{Step, random_step};

/// Nodes of the world.
pub const NODES: usize = 3;
/// A node holds two small reclaimed pods, or a large one.
pub const OFFER: Reclaimed = Reclaimed::new(4000, 4000);
/// Time after which an unanswered write can no longer take effect.
const LIFETIME: i64 = 60_000;

/// A mistake that the extender does not make, for the model to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A binding without an answer counts as refused.
    TimeoutIsRefusal,
    /// A new leader binds before it has listed pods.
    NoListing,
    /// Where a pod is not on the node yet, a doubt ends at once.
    HastyResolve,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

struct Attempt {
    replica: usize,
    pod: usize,
    node: usize,
    record: BTreeMap<String, String>,
    decision: Arc<Decision>,
    landed: Option<bool>,
    awaited: bool,
}

/// See the module.
pub struct World {
    fault: Option<Fault>,
    machine: Arc<Machine>,
    templates: Arc<Vec<(Pod, PodRequest)>>,
    /// Pods of the API server that exist, with their node.
    api: Vec<Option<Placed>>,
    truth: Vec<NodePlacement>,
    attempts: Vec<Attempt>,
    replicas: [Replica; 2],
    leader: usize,
    now: i64,
    /// Bindings that took effect.
    pub bound: u64,
    /// Of them, those with devices or NUMA nodes.
    pub placed: u64,
}

/// A pod of the API server.
#[derive(Clone)]
enum Placed {
    Pending,
    On(usize, Arc<Pod>),
}

pub(crate) fn node_name(node: usize) -> String {
    format!("node-{node}")
}

impl World {
    /// All is quiet.
    pub fn new(fault: Option<Fault>) -> Self {
        let machine = Arc::new(pods::machine());
        let mut truth = vec![NodePlacement::default(); NODES];
        for node in &mut truth {
            node.set_machine(machine.clone());
        }
        Self {
            fault,
            templates: pods::templates(),
            api: vec![Some(Placed::Pending); PODS],
            truth,
            attempts: Vec::new(),
            replicas: [Replica::new(&machine), Replica::new(&machine)],
            machine,
            leader: 0,
            now: 0,
            bound: 0,
            placed: 0,
        }
    }

    /// Plays one step and checks the world.
    pub fn take(&mut self, step: Step) -> Result<(), Violation> {
        self.play(step);
        self.check()
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Bind(pod, node) => self.bind(pod, node),
            Step::Land(index) => self.land(index),
            Step::Answer(index) => self.answer(index),
            Step::GiveUp(index, look) => self.give_up(index, look),
            Step::Delete(pod) => self.delete(pod),
            Step::Deliver(replica) => drop(self.replicas[replica].deliver(self.now)),
            Step::Repeat(replica) => self.replicas[replica].repeat(self.now),
            Step::Swap(replica) => self.replicas[replica].swap(),
            Step::BreakWatch(replica) => self.replicas[replica].break_watch(),
            Step::TakeList(replica) => self.take_list(replica),
            Step::FinishList(replica) => self.replicas[replica].finish_list(self.now),
            Step::Vanish(replica, node) => self.replicas[replica].vanish(node),
            Step::Appear(replica, node) => {
                self.replicas[replica].appear(node, &self.machine, self.now);
            }
            Step::Pass => self.pass(),
            Step::Resolve => self.resolve(),
            Step::Restart(replica) => self.restart(replica),
            Step::ChangeLeader(land) => self.change_leader(land),
        }
    }

    fn uid(&self, pod: usize) -> &Arc<str> {
        &self.templates[pod].1.uid
    }

    fn bind(&mut self, pod: usize, node: usize) {
        let leader = &self.replicas[self.leader];
        if !leader.synced {
            return;
        }
        let request = &self.templates[pod].1;
        let charge = pods::charge(pod);
        let assumed = leader
            .ledger
            .assume(request, &node_name(node), charge, self.now);
        if let Ok(Assumption::Charged(decision)) = assumed {
            self.attempts.push(Attempt {
                replica: self.leader,
                pod,
                node,
                record: annotations(&request.wish, &decision).unwrap(),
                decision,
                landed: None,
                awaited: true,
            });
        }
    }

    fn land(&mut self, index: usize) {
        let Some(attempt) = self.attempts.get_mut(index) else {
            return;
        };
        if attempt.landed.is_some() {
            return;
        }
        let (pod, node) = (attempt.pod, attempt.node);
        let accepted = matches!(self.api[pod], Some(Placed::Pending));
        attempt.landed = Some(accepted);
        if accepted {
            let mut object = self.templates[pod].0.clone();
            let record = std::mem::take(&mut attempt.record);
            self.placed += u64::from(record.len() > usize::from(record.contains_key(RECLAIMED)));
            object
                .metadata
                .annotations
                .get_or_insert_default()
                .extend(record);
            object.spec.as_mut().unwrap().node_name = Some(node_name(node));
            let (allocation, defect) = held(&object);
            assert_eq!(defect, None, "a record that cannot be read");
            self.truth[node].add(&self.templates[pod].1.uid, &Arc::new(allocation));
            let object = Arc::new(object);
            self.api[pod] = Some(Placed::On(node, object.clone()));
            self.bound += 1;
            for replica in &mut self.replicas {
                replica.queue.push_back(Event::Seen(object.clone()));
            }
        }
        if !self.attempts[index].awaited {
            self.attempts.remove(index);
        }
    }

    /// What the extender concludes from a look at the pod; `unbound` where it is on no node.
    fn look(&self, pod: usize, node: usize, unbound: Settlement) -> Settlement {
        match &self.api[pod] {
            Some(Placed::On(at, _)) if *at == node => Settlement::Bound,
            Some(Placed::Pending) => unbound,
            Some(Placed::On(..)) | None => Settlement::Refused,
        }
    }

    fn settle(&mut self, index: usize, settlement: Settlement) {
        let attempt = &self.attempts[index];
        let ledger = &self.replicas[attempt.replica].ledger;
        ledger.settle(
            self.uid(attempt.pod),
            &node_name(attempt.node),
            &attempt.decision,
            settlement,
            self.now,
        );
    }

    fn answer(&mut self, index: usize) {
        let Some(attempt) = self.attempts.get(index).filter(|attempt| attempt.awaited) else {
            return;
        };
        let settlement = match attempt.landed {
            None => return,
            Some(true) => Settlement::Bound,
            Some(false) => self.look(attempt.pod, attempt.node, Settlement::Refused),
        };
        self.settle(index, settlement);
        self.attempts.remove(index);
    }

    fn give_up(&mut self, index: usize, look: bool) {
        let Some(attempt) = self.attempts.get(index).filter(|attempt| attempt.awaited) else {
            return;
        };
        let unknown = if self.fault == Some(Fault::TimeoutIsRefusal) {
            Settlement::Refused
        } else {
            Settlement::Unknown
        };
        let settlement = if look {
            self.look(attempt.pod, attempt.node, unknown)
        } else {
            unknown
        };
        let landed = attempt.landed.is_some();
        self.settle(index, settlement);
        if landed {
            self.attempts.remove(index);
        } else {
            self.attempts[index].awaited = false;
        }
    }

    fn delete(&mut self, pod: usize) {
        let uid = self.uid(pod).clone();
        if let Some(Placed::On(node, _)) = self.api[pod].take() {
            self.truth[node].remove(&uid);
            for replica in &mut self.replicas {
                replica.queue.push_back(Event::Gone(uid.clone()));
            }
        }
    }

    fn take_list(&mut self, replica: usize) {
        let placed = self.api.iter().filter_map(|pod| match pod {
            Some(Placed::On(_, object)) => Some(object.clone()),
            Some(Placed::Pending) | None => None,
        });
        self.replicas[replica].take_list(placed.collect());
    }

    /// Everything on its way ends.
    fn pass(&mut self) {
        for index in (0..self.attempts.len()).rev() {
            self.give_up(index, false);
        }
        self.attempts.clear();
        self.now += LIFETIME + 1;
    }

    fn resolve(&mut self) {
        let leader = &self.replicas[self.leader];
        for doubt in leader.ledger.doubts() {
            let pod = pods::number(&doubt.uid);
            let node: usize = doubt.node.trim_start_matches("node-").parse().unwrap();
            let over = self.now - doubt.since > LIFETIME;
            let unbound = if over || self.fault == Some(Fault::HastyResolve) {
                Settlement::Refused
            } else {
                Settlement::Unknown
            };
            let settlement = self.look(pod, node, unbound);
            leader.ledger.resolve(&doubt, settlement);
        }
    }

    /// A process is replaced: nobody waits for its bindings any more. One that led leads no more.
    fn restart(&mut self, replica: usize) {
        for attempt in &mut self.attempts {
            if attempt.replica == replica {
                attempt.awaited = false;
            }
        }
        if replica == self.leader {
            self.change_leader(true);
        } else {
            self.replicas[replica] = Replica::empty(&self.machine);
        }
    }

    /// The other replica leads. What the one before has sent takes effect or is dropped before the new one's listing: it gives a Binding
    /// up within the gap between the renew deadline and the lease's end.
    fn change_leader(&mut self, land: bool) {
        let before = self.leader;
        if land {
            for index in (0..self.attempts.len()).rev() {
                self.land(index);
            }
        }
        self.attempts.retain(|attempt| attempt.replica != before);
        self.replicas[before] = Replica::empty(&self.machine);
        self.leader = 1 - before;
        let leader = &mut self.replicas[self.leader];
        leader.synced = self.fault == Some(Fault::NoListing);
        if !leader.synced {
            leader.break_watch();
        }
    }

    fn check(&self) -> Result<(), Violation> {
        let leader = &self.replicas[self.leader];
        for (node, truth) in self.truth.iter().enumerate() {
            given_once(node, truth)?;
            if leader.synced && leader.offers[node] {
                let counted = leader.ledger.node(&node_name(node));
                counts_all(node, truth, &counted)?;
            }
        }
        Ok(())
    }

    /// Lets everything end, and checks that the leader then counts exactly what there is.
    pub fn settle_down(&mut self) -> Result<(), Violation> {
        for node in 0..NODES {
            self.play(Step::Appear(self.leader, node));
        }
        let leader = self.leader;
        self.take_list(leader);
        self.replicas[leader].finish_list(self.now);
        // The second round ends the doubts that the first one's listing left.
        for _ in 0..2 {
            self.pass();
            while self.replicas[leader].deliver(self.now) {}
            self.resolve();
        }
        self.check()?;
        let ledger = &self.replicas[leader].ledger;
        for (node, truth) in self.truth.iter().enumerate() {
            let counted = ledger.node(&node_name(node));
            if counted.used() != truth.used() {
                return Err(Violation(format!(
                    "node {node} holds {:?}, the leader counts {:?}",
                    truth.used(),
                    counted.used()
                )));
            }
        }
        let (doubts, assumed) = (ledger.doubts().len(), ledger.assumed());
        if doubts + assumed > 0 {
            return Err(Violation(format!(
                "{doubts} doubts and {assumed} assumed pods remain"
            )));
        }
        Ok(())
    }
}

const RECLAIMED: &str = "katalyst.kubewharf.io/reclaimed_allocation";

/// Nothing is held twice.
fn given_once(node: usize, truth: &NodePlacement) -> Result<(), Violation> {
    let twice = |what: String| Err(Violation(format!("node {node}: {what} was given twice")));
    let used = truth.used();
    if !used.reclaimed.fits_in(&OFFER) {
        return twice(format!("{} of {OFFER}", used.reclaimed));
    }
    for (card, held) in truth.machine().cards().iter().zip(&used.cards) {
        let shared = held.whole > 0 && held.parts > 0;
        if held.whole > 1 || shared || held.percent > 100 || held.mib > u64::from(card.mib) {
            return twice(format!("card {} ({held:?})", card.uuid));
        }
    }
    for (nic, holders) in truth.machine().nics().iter().zip(&used.nics) {
        if *holders > 1 {
            return twice(format!("network card {}", nic.name));
        }
    }
    for (zone, held) in truth.machine().zones().iter().zip(&used.zones) {
        let shared = held.exclusive > 0 && held.holders > 1;
        if shared || held.cpu > zone.cpu || held.memory > zone.memory {
            return twice(format!("NUMA node {} ({held:?})", zone.id));
        }
    }
    Ok(())
}

/// The leader counts at least what there is.
fn counts_all(
    node: usize,
    truth: &NodePlacement,
    counted: &NodePlacement,
) -> Result<(), Violation> {
    let (held, counted) = (truth.used(), counted.used());
    let cards = held.cards.iter().zip(&counted.cards);
    let zones = held.zones.iter().zip(&counted.zones);
    let nics = held.nics.iter().zip(&counted.nics);
    let less = !held.reclaimed.fits_in(&counted.reclaimed)
        || cards.clone().any(|(held, counted)| {
            held.percent > counted.percent
                || held.mib > counted.mib
                || held.whole > counted.whole
                || held.parts > counted.parts
        })
        || zones.clone().any(|(held, counted)| {
            held.cpu > counted.cpu
                || held.memory > counted.memory
                || held.exclusive > counted.exclusive
        })
        || nics.clone().any(|(held, counted)| held > counted);
    if less {
        return Err(Violation(format!(
            "node {node} holds {held:?}, the leader counts {counted:?}"
        )));
    }
    Ok(())
}
