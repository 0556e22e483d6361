//! One replica of the extender: its ledger, and where its watches are.

use std::collections::VecDeque;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use katalyst_core::placement::Machine;
use katalyst_scheduler_extender::ledger::{Charge, Ledger, Offer, Report};
use katalyst_scheduler_extender::watch::held;

use super::{NODES, OFFER, node_name};

/// An event of the watch of pods.
#[derive(Clone)]
pub enum Event {
    /// A pod on a node.
    Seen(Arc<Pod>),
    /// It is gone.
    Gone(Arc<str>),
}

impl Event {
    fn uid(&self) -> &str {
        match self {
            Self::Seen(pod) => pod.metadata.uid.as_deref().unwrap(),
            Self::Gone(uid) => uid,
        }
    }
}

/// Where the watch of pods is between breaking and going on.
enum Listing {
    None,
    Begun,
    Taken(Vec<Arc<Pod>>),
}

/// See the module.
pub struct Replica {
    /// What it knows.
    pub ledger: Ledger,
    /// Events on their way to it.
    pub queue: VecDeque<Event>,
    listing: Listing,
    last: Option<Event>,
    /// It has listed pods since it started, or since it leads. A watch that breaks later keeps nobody from binding.
    pub synced: bool,
    /// Nodes whose custom resource it knows.
    pub offers: [bool; NODES],
}

impl Replica {
    /// One that knows all nodes and that there is no pod.
    pub fn new(machine: &Arc<Machine>) -> Self {
        let mut replica = Self::empty(machine);
        replica.take_list(Vec::new());
        replica.finish_list(0);
        replica
    }

    /// One that has just started: it knows all nodes, and no pod yet.
    pub fn empty(machine: &Arc<Machine>) -> Self {
        let mut replica = Self {
            ledger: Ledger::new(i64::MAX),
            queue: VecDeque::new(),
            listing: Listing::None,
            last: None,
            synced: false,
            offers: [false; NODES],
        };
        for node in 0..NODES {
            replica.appear(node, machine, 0);
        }
        replica.break_watch();
        replica
    }

    pub fn appear(&mut self, node: usize, machine: &Arc<Machine>, now: i64) {
        self.offers[node] = true;
        let report = Report {
            allocatable: OFFER,
            agent_ready: true,
            reported: now,
            machine: machine.clone(),
            ..Report::default()
        };
        self.ledger
            .offer(&node_name(node), Offer::Known(report), now);
    }

    pub fn vanish(&mut self, node: usize) {
        self.offers[node] = false;
        self.ledger.withdraw(&node_name(node));
    }

    pub fn break_watch(&mut self) {
        self.queue.clear();
        self.last = None;
        self.ledger.begin_pods();
        self.listing = Listing::Begun;
    }

    pub fn take_list(&mut self, placed: Vec<Arc<Pod>>) {
        if matches!(self.listing, Listing::Begun) {
            self.listing = Listing::Taken(placed);
            self.queue.clear();
        }
    }

    pub fn finish_list(&mut self, now: i64) {
        if !matches!(self.listing, Listing::Taken(_)) {
            return;
        }
        if let Listing::Taken(list) = std::mem::replace(&mut self.listing, Listing::None) {
            for pod in &list {
                self.see(pod);
            }
        }
        self.ledger.finish_pods(now);
        self.synced = true;
    }

    /// The next event; false where there is none.
    pub fn deliver(&mut self, now: i64) -> bool {
        if !matches!(self.listing, Listing::None) {
            return false;
        }
        let Some(event) = self.queue.pop_front() else {
            return false;
        };
        self.apply(&event, now);
        self.last = Some(event);
        true
    }

    /// The event that came last comes again.
    pub fn repeat(&mut self, now: i64) {
        if matches!(self.listing, Listing::None)
            && let Some(event) = self.last.clone()
        {
            self.apply(&event, now);
        }
    }

    /// The next two events change places, where they are of different pods.
    pub fn swap(&mut self) {
        let different = match (self.queue.front(), self.queue.get(1)) {
            (Some(one), Some(other)) => one.uid() != other.uid(),
            _ => false,
        };
        if different {
            self.queue.swap(0, 1);
        }
    }

    fn apply(&mut self, event: &Event, _now: i64) {
        match event {
            Event::Seen(pod) => self.see(pod),
            Event::Gone(uid) => self.ledger.gone(uid),
        }
    }

    fn see(&mut self, pod: &Pod) {
        let uid: Arc<str> = pod.metadata.uid.as_deref().unwrap().into();
        let node = pod.spec.as_ref().unwrap().node_name.as_deref().unwrap();
        let charge = Charge {
            name: format!("n/{uid}").into(),
            ..Charge::default()
        };
        self.ledger.seen(&uid, node, charge, held(pod).0);
    }
}
