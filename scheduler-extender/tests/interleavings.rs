//! Whatever the order in which bindings, answers, deletions, watch events, broken watches and restarts come: a node is never
//! given away twice, the ledger never counts less than the API server holds, and when all is quiet it counts exactly that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, VecDeque};

use katalyst_core::reclaimed::Reclaimed;
use katalyst_scheduler_extender::ledger::{Assumption, Charge, Ledger, Offer, Settlement};
use katalyst_scheduler_extender::request::Uid;
use proptest::prelude::*;

const NODES: usize = 3;
const PODS: usize = 8;
/// A node holds two small pods, or a large one.
const OFFER: Reclaimed = Reclaimed::new(4000, 4000);
const LIFETIME: i64 = 60_000;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// kube-scheduler asks to bind a pod to a node.
    Bind(usize, usize),
    /// A binding under way reaches the API server.
    Land(usize),
    /// The API server's answer reaches the extender.
    Answer(usize),
    /// The extender waits no longer; whether its look at the pod is answered too.
    GiveUp(usize, bool),
    Delete(usize),
    /// The next event of the watch of pods.
    Deliver,
    BreakWatch,
    TakeList,
    FinishList,
    /// More than the lifetime of a request passes.
    Pass,
    /// The extender looks at the doubtful bindings.
    Resolve,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let any_flight = 0..4usize;
    prop_oneof![
        6 => (0..PODS, 0..NODES).prop_map(|(pod, node)| Step::Bind(pod, node)),
        5 => any_flight.clone().prop_map(Step::Land),
        4 => any_flight.clone().prop_map(Step::Answer),
        2 => (any_flight, any::<bool>()).prop_map(|(flight, look)| Step::GiveUp(flight, look)),
        2 => (0..PODS).prop_map(Step::Delete),
        5 => Just(Step::Deliver),
        1 => Just(Step::BreakWatch),
        2 => Just(Step::TakeList),
        2 => Just(Step::FinishList),
        1 => Just(Step::Pass),
        2 => Just(Step::Resolve),
        1 => Just(Step::Restart),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Flight {
    Sent,
    Landed { accepted: bool },
}

#[derive(Debug)]
struct Attempt {
    pod: usize,
    node: usize,
    flight: Flight,
    awaited: bool,
}

enum Event {
    Seen(usize, usize),
    Gone(usize),
}

/// Where the watch of pods is between breaking and going on.
enum Listing {
    None,
    Begun,
    Taken(Vec<(usize, usize)>),
}

struct World {
    ledger: Ledger,
    /// Pods of the API server that exist, with their node.
    api: BTreeMap<usize, Option<usize>>,
    attempts: Vec<Attempt>,
    watch: VecDeque<Event>,
    listing: Listing,
    now: i64,
}

fn uid(pod: usize) -> Uid {
    format!("pod-{pod}").into()
}

fn node_name(node: usize) -> String {
    format!("node-{node}")
}

fn charge(pod: usize) -> Charge {
    let amount = if pod.is_multiple_of(3) { 4000 } else { 2000 };
    Charge {
        amount: Reclaimed::new(amount, amount),
        ..Charge::default()
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            ledger: Ledger::new(i64::MAX),
            api: (0..PODS).map(|pod| (pod, None)).collect(),
            attempts: Vec::new(),
            watch: VecDeque::new(),
            listing: Listing::None,
            now: 0,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.ledger = Ledger::new(i64::MAX);
        for node in 0..NODES {
            self.ledger.offer(
                &node_name(node),
                Offer::Known {
                    allocatable: OFFER,
                    agent_ready: true,
                    reported: 0,
                },
                0,
            );
        }
        self.break_watch();
        self.take_list();
        self.finish_list();
    }

    fn break_watch(&mut self) {
        self.watch.clear();
        self.ledger.begin_pods();
        self.listing = Listing::Begun;
    }

    fn take_list(&mut self) {
        if matches!(self.listing, Listing::Begun) {
            let placed = self
                .api
                .iter()
                .filter_map(|(pod, node)| node.map(|node| (*pod, node)));
            self.listing = Listing::Taken(placed.collect());
            self.watch.clear();
        }
    }

    fn finish_list(&mut self) {
        if let Listing::Taken(list) = &self.listing {
            for (pod, node) in list {
                self.ledger
                    .seen(&uid(*pod), &node_name(*node), charge(*pod));
            }
            self.ledger.finish_pods(self.now);
            self.listing = Listing::None;
        }
    }

    fn deliver(&mut self) -> bool {
        if !matches!(self.listing, Listing::None) {
            return false;
        }
        match self.watch.pop_front() {
            Some(Event::Seen(pod, node)) => {
                self.ledger.seen(&uid(pod), &node_name(node), charge(pod));
            }
            Some(Event::Gone(pod)) => self.ledger.gone(&uid(pod)),
            None => return false,
        }
        true
    }

    /// What the extender concludes from a look at the pod; `unbound` where it is on no node.
    fn look(&self, pod: usize, node: usize, unbound: Settlement) -> Settlement {
        match self.api.get(&pod) {
            Some(Some(at)) if *at == node => Settlement::Bound,
            Some(None) => unbound,
            Some(Some(_)) | None => Settlement::Refused,
        }
    }

    fn answer(&mut self, index: usize) {
        let Some(&Attempt {
            pod,
            node,
            flight: Flight::Landed { accepted },
            awaited: true,
        }) = self.attempts.get(index)
        else {
            return;
        };
        let settlement = if accepted {
            Settlement::Bound
        } else {
            self.look(pod, node, Settlement::Refused)
        };
        self.ledger
            .settle(&uid(pod), &node_name(node), settlement, self.now);
        self.attempts.remove(index);
    }

    fn give_up(&mut self, index: usize, look: bool) {
        let Some(&Attempt {
            pod,
            node,
            flight,
            awaited: true,
        }) = self.attempts.get(index)
        else {
            return;
        };
        let settlement = if look {
            self.look(pod, node, Settlement::Unknown)
        } else {
            Settlement::Unknown
        };
        self.ledger
            .settle(&uid(pod), &node_name(node), settlement, self.now);
        match flight {
            Flight::Sent => self.attempts[index].awaited = false,
            Flight::Landed { .. } => drop(self.attempts.remove(index)),
        }
    }

    fn land(&mut self, index: usize) {
        let Some(Attempt {
            pod,
            node,
            flight,
            awaited,
        }) = self.attempts.get_mut(index)
        else {
            return;
        };
        if *flight != Flight::Sent {
            return;
        }
        let place = self.api.get_mut(pod).filter(|place| place.is_none());
        let accepted = place.is_some();
        if let Some(place) = place {
            *place = Some(*node);
            self.watch.push_back(Event::Seen(*pod, *node));
        }
        *flight = Flight::Landed { accepted };
        if !*awaited {
            self.attempts.remove(index);
        }
    }

    fn pass(&mut self) {
        for index in (0..self.attempts.len()).rev() {
            self.give_up(index, false);
        }
        self.attempts.clear();
        self.now += LIFETIME + 1;
    }

    fn resolve(&mut self) {
        for doubt in self.ledger.doubts() {
            let pod: usize = doubt.uid.trim_start_matches("pod-").parse().unwrap();
            let node: usize = doubt.node.trim_start_matches("node-").parse().unwrap();
            let unbound = if self.now - doubt.since > LIFETIME {
                Settlement::Refused
            } else {
                Settlement::Unknown
            };
            let settlement = self.look(pod, node, unbound);
            self.ledger.resolve(&doubt, settlement);
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Bind(pod, node) => {
                if self
                    .ledger
                    .assume(&uid(pod), &node_name(node), charge(pod), self.now)
                    == Ok(Assumption::Charged)
                {
                    self.attempts.push(Attempt {
                        pod,
                        node,
                        flight: Flight::Sent,
                        awaited: true,
                    });
                }
            }
            Step::Land(index) => self.land(index),
            Step::Answer(index) => self.answer(index),
            Step::GiveUp(index, look) => self.give_up(index, look),
            Step::Delete(pod) => {
                if let Some(Some(_)) = self.api.remove(&pod) {
                    self.watch.push_back(Event::Gone(pod));
                }
            }
            Step::Deliver => drop(self.deliver()),
            Step::BreakWatch => self.break_watch(),
            Step::TakeList => self.take_list(),
            Step::FinishList => self.finish_list(),
            Step::Pass => self.pass(),
            Step::Resolve => self.resolve(),
            Step::Restart => {
                self.attempts.clear();
                self.start();
            }
        }
    }

    fn truth(&self, node: usize) -> Reclaimed {
        self.api
            .iter()
            .filter(|(_, at)| **at == Some(node))
            .map(|(pod, _)| charge(*pod).amount)
            .sum()
    }

    fn check(&self, after: Step) {
        for node in 0..NODES {
            let (truth, booked) = (self.truth(node), self.ledger.allocated(&node_name(node)));
            assert!(
                truth.fits_in(&OFFER),
                "node {node} was given twice after {after:?}: {truth}"
            );
            assert!(
                truth.fits_in(&booked),
                "node {node} holds {truth}, the ledger says {booked} after {after:?}"
            );
        }
    }

    fn settle_down(&mut self) {
        self.take_list();
        self.finish_list();
        // The second round ends the doubts that the first one's listing left.
        for _ in 0..2 {
            self.pass();
            while self.deliver() {}
            self.resolve();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_node_is_never_given_twice_and_nothing_is_lost(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check(step);
        }
        world.settle_down();
        for node in 0..NODES {
            prop_assert_eq!(world.ledger.allocated(&node_name(node)), world.truth(node), "node {}", node);
        }
        prop_assert_eq!(world.ledger.doubts(), vec![]);
        prop_assert_eq!(world.ledger.assumed(), 0);
    }
}

/// A binding succeeds, the pod ends while the watch is away, and only then does the answer arrive: no event will ever tell.
#[test]
fn a_pod_that_came_and_went_unseen_is_looked_at() {
    let mut world = World::new();
    for step in [
        Step::Bind(0, 0),
        Step::Land(0),
        Step::BreakWatch,
        Step::Delete(0),
        Step::TakeList,
        Step::FinishList,
        Step::Answer(0),
    ] {
        world.take(step);
        world.check(step);
    }
    assert_eq!(world.ledger.doubts().len(), 1);
    world.resolve();
    assert_eq!(world.ledger.allocated("node-0"), Reclaimed::ZERO);
}
