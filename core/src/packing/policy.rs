//! The one trait of all packing policies.
//!
//! ```
//! use katalyst_core::packing::{Arrivals, Budget, Capacity, Card, ModelId, NodeState, PodClass, PolicyName};
//!
//! // What the cluster has, and what arrived so far.
//! let mut capacity = Capacity::default();
//! capacity.add(ModelId::default(), 8000);
//! let mut arrivals = Arrivals::sliding(2000);
//! let pod = PodClass::gpu(4000, 300, 1);
//! // Off the request path: at each arrival that is worth it, and after each bind.
//! let mut policy = PolicyName::default().policy();
//! if arrivals.arrived(pod) {
//!     policy = policy.learned(&arrivals.table(), &capacity);
//! }
//! let node = NodeState::new(64_000, 262_144, ModelId::default(), [Card::FREE; 8]);
//! policy.warm(&node, &pod, &mut Budget::unlimited());
//! // On it: bounded, and the same budget for all nodes of a request.
//! let mut budget = Budget::new(64);
//! let placement = policy.place(&pod, &node, &mut budget).expect("it fits");
//! assert_eq!(placement.cards.len(), 1);
//! // A caller that chooses cards itself (switches, NICs) asks for the cost of its own choice.
//! let after = node.with(&pod, placement.cards);
//! assert!(policy.cost(&pod, &node, &after, &mut budget) <= placement.cost);
//! ```

use super::node::{CardSet, NodeState};
use super::pod::PodClass;
use super::table::{Capacity, ClassTable};

/// How much one request may compute anew. Counted, not timed, so that the same inputs give the same decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    values: u32,
    short: bool,
}

impl Budget {
    /// At most so many values that nobody computed before.
    pub const fn new(values: u32) -> Self {
        Self {
            values,
            short: false,
        }
    }

    /// As many as needed: off the request path.
    pub const fn unlimited() -> Self {
        Self::new(u32::MAX)
    }

    /// Takes one; false when none is left.
    pub fn take(&mut self) -> bool {
        if self.values == 0 {
            self.short = true;
            return false;
        }
        if self.values != u32::MAX {
            self.values -= 1;
        }
        true
    }

    /// True when something had to be estimated in a cheaper way.
    pub const fn ran_short(&self) -> bool {
        self.short
    }
}

/// Where on a node a pod would go, and what that costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// The cards; empty for a CPU-only pod.
    pub cards: CardSet,
    /// The cost: lower is better, comparable between nodes for the same pod, with no meaning beyond that.
    pub cost: f64,
}

/// A packing policy: which of the nodes that fit a pod, and which of their cards, leave the least behind that nobody will use.
///
/// A policy is a value that does not change: what it learns makes a new one ([`learned`](Self::learned)), so that readers keep theirs.
/// Values it computed may be kept inside; they never change an answer, except that a request out of [`Budget`] gets an estimate.
pub trait PackingPolicy: Send + Sync {
    /// The policy for these popularities and this cluster.
    fn learned(&self, table: &ClassTable, capacity: &Capacity) -> Box<dyn PackingPolicy>;

    /// The same policy with prices for what is left in the cluster now; what it computed for states stays. `None` when it has no such prices. Takes
    /// milliseconds for a thousand nodes, off the request path ([`Arrivals::prices_are_old`](super::Arrivals::prices_are_old)); costs before and after are not comparable.
    fn priced(&self, _: &[NodeState]) -> Option<Box<dyn PackingPolicy>> {
        None
    }

    /// Cost of the step from `before` to `after`, which is `before` with the pod on it.
    fn cost(
        &self,
        pod: &PodClass,
        before: &NodeState,
        after: &NodeState,
        budget: &mut Budget,
    ) -> f64;

    /// The same where nothing has to be computed for it; `None` where something would. A policy that keeps no values always knows.
    fn known(&self, pod: &PodClass, before: &NodeState, after: &NodeState) -> Option<f64> {
        Some(self.cost(pod, before, after, &mut Budget::unlimited()))
    }

    /// Computes what [`place`](Self::place) would need and keeps it. Off the request path, after a bind or for a new class.
    fn warm(&self, node: &NodeState, pod: &PodClass, budget: &mut Budget) {
        let _unused = self.place(pod, node, budget);
    }

    /// The cheapest cards of the node for the pod; `None` when it does not fit. One card: each distinct card that fits is
    /// tried, the lowest position wins a tie. Several: the tightest.
    fn place(&self, pod: &PodClass, node: &NodeState, budget: &mut Budget) -> Option<Placement> {
        if !node.fits(pod) {
            return None;
        }
        if pod.cards != 1 {
            let cards = node.tightest(pod)?;
            let cost = self.cost(pod, node, &node.with(pod, cards), budget);
            return Some(Placement { cards, cost });
        }
        let mut best: Option<Placement> = None;
        for (position, card) in node.cards().iter().enumerate() {
            // Equal cards give equal states.
            let seen = node
                .cards()
                .iter()
                .take(position)
                .any(|other| other == card);
            if seen || !card.fits(pod) {
                continue;
            }
            let cards = CardSet::one(position);
            let cost = self.cost(pod, node, &node.with(pod, cards), budget);
            if best.is_none_or(|best| cost < best.cost) {
                best = Some(Placement { cards, cost });
            }
        }
        best
    }
}
