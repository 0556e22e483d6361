//! Pods that come, wait, run and leave: the other half of the truth, of which a filling benchmark shows none.
//!
//! The trace's pods arrive in random order, three times over, with their recorded lifetimes. The trace itself used one percent of its cluster, so
//! arrivals are brought closer: their rate is the one at which the pods would occupy `load` times the cluster's compute on endless room, in the mean over the
//! measured part (the last two thirds of arrivals). Gaps are exponential. A pod that finds no room waits, first come first served, but those that fit pass
//! those that do not, as in kube-scheduler. Choice of a node: all are looked at, integer scores, random ties; classes learned online.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use katalyst_core::packing::{Arrivals, CardSet, ClassTable, PackingPolicy};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::choose::Chooser;
use super::cluster::Cluster;
use super::curve::kind;
use super::fill::{Setting, capacity};

/// Times that each pod of the trace arrives.
const ROUNDS: usize = 3;
/// Part of the arrivals before measuring begins.
const WARM_UP: f64 = 1.0 / 3.0;

/// What a run showed, over the measured part.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lived {
    /// Compute allocated, percent of the cluster's, in the mean over time.
    pub allocated: f64,
    /// Seconds that a pod waited in the mean, by kind; pods still waiting at the end count up to there.
    pub waiting: [f64; 4],
    /// Pods by kind.
    pub pods: [usize; 4],
}

impl Lived {
    /// The mean waiting time of all pods.
    pub fn waiting_of_all(&self) -> f64 {
        let pods: usize = self.pods.iter().sum();
        let waited: f64 = self
            .waiting
            .iter()
            .zip(self.pods)
            .map(|(mean, pods)| mean * pods as f64)
            .sum();
        waited / pods.max(1) as f64
    }
}

/// One arrival: which pod, in units of the mean gap, and how long it runs.
struct Arrival {
    pod: usize,
    at: f64,
    lifetime: f64,
}

/// The arrivals of a seed with gaps so that the load is as wished; `None` when no pod has a lifetime and cards.
fn arrivals(setting: &Setting<'_>, seed: u64, load: f64) -> Option<Vec<Arrival>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..setting.pods.len())
        .filter(|index| {
            setting
                .pods
                .get(*index)
                .is_some_and(|pod| pod.lifetime.is_some())
        })
        .collect();
    let mut drawn = Vec::with_capacity(order.len() * ROUNDS);
    let mut at = 0.0;
    for _ in 0..ROUNDS {
        for last in (1..order.len()).rev() {
            let other = random.random_range(0..=last);
            order.swap(last, other);
        }
        for index in &order {
            let Some((from, to)) = setting.pods.get(*index).and_then(|pod| pod.lifetime) else {
                continue;
            };
            at -= (1.0 - random.random::<f64>()).ln();
            drawn.push(Arrival {
                pod: *index,
                at,
                lifetime: to - from,
            });
        }
    }
    let milli = |arrival: &Arrival| {
        setting
            .pods
            .get(arrival.pod)
            .map_or(0.0, |pod| pod.class.gpu_milli() as f64)
    };
    let end = at;
    let begin = end * WARM_UP;
    // Occupancy of endless room over the measured part, for a mean gap in seconds. Falls with the gap.
    let occupancy = |gap: f64| {
        let sum: f64 = drawn
            .iter()
            .map(|arrival| {
                let from = (arrival.at * gap).max(begin * gap);
                let to = (arrival.at * gap + arrival.lifetime).min(end * gap);
                milli(arrival) * (to - from).max(0.0)
            })
            .sum();
        sum / ((end - begin) * gap)
    };
    let wished = load * capacity(setting.nodes).total() as f64;
    let (mut short, mut long) = (1e-6f64, 1e9f64);
    if drawn.is_empty() || occupancy(short) < wished {
        return None;
    }
    for _ in 0..100 {
        let middle = (short * long).sqrt();
        if occupancy(middle) > wished {
            short = middle;
        } else {
            long = middle;
        }
    }
    for arrival in &mut drawn {
        arrival.at *= short;
    }
    Some(drawn)
}

/// A running pod, ordered by when it ends (in microseconds, so that it can be compared).
type Ending = Reverse<(u64, usize, usize, CardSetBits)>;
type CardSetBits = u16;

fn bits(cards: CardSet) -> CardSetBits {
    cards.iter().fold(0, |bits, position| bits | 1 << position)
}

fn cards(bits: CardSetBits) -> CardSet {
    (0..16)
        .filter(|position| bits >> position & 1 == 1)
        .map(CardSet::one)
        .fold(CardSet::EMPTY, CardSet::union)
}

/// The world of a run.
struct World<'a> {
    setting: &'a Setting<'a>,
    cluster: Cluster,
    running: BinaryHeap<Ending>,
    on_node: Vec<u32>,
    used: u64,
    area: f64,
    since: f64,
    begin: f64,
    end: f64,
    lived: Lived,
}

impl World<'_> {
    fn tick(&mut self, now: f64) {
        let from = self.since.clamp(self.begin, self.end);
        let to = now.clamp(self.begin, self.end);
        self.area += self.used as f64 * (to - from);
        self.since = now;
    }

    fn start(&mut self, arrival: &Arrival, node: usize, chosen: CardSet, now: f64) {
        let Some(pod) = self.setting.pods.get(arrival.pod) else {
            return;
        };
        self.tick(now);
        self.cluster.bind(node, &pod.class, chosen);
        if let Some(count) = self.on_node.get_mut(node) {
            *count += 1;
        }
        self.used += pod.class.gpu_milli();
        self.running.push(Reverse((
            ((now + arrival.lifetime) * 1e6) as u64,
            arrival.pod,
            node,
            bits(chosen),
        )));
        self.waited(arrival, now);
    }

    fn waited(&mut self, arrival: &Arrival, now: f64) {
        if arrival.at < self.begin {
            return;
        }
        let Some(pod) = self.setting.pods.get(arrival.pod) else {
            return;
        };
        let kind = kind(&pod.class);
        if let (Some(waiting), Some(pods)) = (
            self.lived.waiting.get_mut(kind),
            self.lived.pods.get_mut(kind),
        ) {
            *waiting += now - arrival.at;
            *pods += 1;
        }
    }

    /// Ends the pod that ends next, and returns its node.
    fn end_one(&mut self) -> Option<(f64, usize)> {
        let Reverse((micros, pod, node, chosen)) = self.running.pop()?;
        let now = micros as f64 / 1e6;
        self.tick(now);
        let pod = self.setting.pods.get(pod)?;
        let count = self.on_node.get_mut(node)?;
        *count -= 1;
        let alone = *count == 0;
        self.cluster.release(node, &pod.class, cards(chosen), alone);
        self.used -= pod.class.gpu_milli();
        Some((now, node))
    }
}

/// Runs one seed; `None` when the trace has no lifetimes.
pub fn live(
    setting: &Setting<'_>,
    seed: u64,
    load: f64,
    policy: &dyn PackingPolicy,
    mut learned: Arrivals,
) -> Option<Lived> {
    let drawn = arrivals(setting, seed, load)?;
    let capacity = capacity(setting.nodes);
    let classes = 1 + setting.classes.iter().map(|c| c.number).max().unwrap_or(0);
    let mut policy = policy.learned(&ClassTable::default(), &capacity);
    let end = drawn.last()?.at;
    let mut world = World {
        setting,
        cluster: Cluster::new(setting.nodes, classes),
        running: BinaryHeap::new(),
        on_node: vec![0; setting.nodes.len()],
        used: 0,
        area: 0.0,
        since: 0.0,
        begin: end * WARM_UP,
        end,
        lived: Lived::default(),
    };
    let mut chooser = Chooser::all_nodes(setting.nodes.len(), seed);
    let mut queue: VecDeque<&Arrival> = VecDeque::new();
    for arrival in &drawn {
        while world
            .running
            .peek()
            .is_some_and(|Reverse((micros, ..))| *micros as f64 / 1e6 <= arrival.at)
        {
            let Some((now, node)) = world.end_one() else {
                break;
            };
            // Whoever waits did not fit anywhere before; only this node has more room now.
            let mut waiting = VecDeque::with_capacity(queue.len());
            while let Some(first) = queue.pop_front() {
                let placed = place_on(&mut world, first, node, policy.as_ref());
                match placed {
                    Some(chosen) => world.start(first, node, chosen, now),
                    None => waiting.push_back(first),
                }
            }
            queue = waiting;
        }
        let (Some(pod), Some(numbered)) = (
            setting.pods.get(arrival.pod),
            setting.classes.get(arrival.pod),
        ) else {
            continue;
        };
        let anew = learned.arrived(pod.class);
        if anew {
            policy = policy.learned(&learned.table(), &capacity);
            world.cluster.forget();
        }
        if (anew || learned.prices_are_old())
            && let Some(priced) = policy.priced(world.cluster.nodes())
        {
            policy = priced;
            world.cluster.forget();
        }
        let chosen = chooser.choose(&mut world.cluster, *numbered, policy.as_ref());
        match chosen {
            Some((node, placement)) => world.start(arrival, node, placement.cards, arrival.at),
            None => queue.push_back(arrival),
        }
    }
    world.tick(end);
    for waiting in queue {
        world.waited(waiting, end);
    }
    let mut lived = world.lived;
    for (waiting, pods) in lived.waiting.iter_mut().zip(lived.pods) {
        *waiting /= pods.max(1) as f64;
    }
    lived.allocated = 100.0 * world.area / (world.end - world.begin) / capacity.total() as f64;
    Some(lived)
}

fn place_on(
    world: &mut World<'_>,
    arrival: &Arrival,
    node: usize,
    policy: &dyn PackingPolicy,
) -> Option<CardSet> {
    let pod = world.setting.pods.get(arrival.pod)?;
    let state = world.cluster.nodes().get(node)?;
    if !state.fits(&pod.class) {
        return None;
    }
    let numbered = *world.setting.classes.get(arrival.pod)?;
    world
        .cluster
        .place(node, numbered, policy)
        .map(|placement| placement.cards)
}
