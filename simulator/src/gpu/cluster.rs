//! The cluster of a run: states of its nodes, and the cost of each class on each of them, computed once for each state.

use katalyst_core::packing::{Budget, CardSet, NodeState, PackingPolicy, Placement, PodClass};

use super::trace::{TraceNode, TracePod};

/// A class with its number in this run.
#[derive(Debug, Clone, Copy)]
pub struct Numbered {
    /// The class.
    pub class: PodClass,
    /// The number.
    pub number: usize,
}

/// Numbers of the classes of a list of pods, by position.
pub fn number(pods: &[TracePod]) -> Vec<Numbered> {
    let mut known = std::collections::HashMap::new();
    pods.iter()
        .map(|pod| {
            let next = known.len();
            Numbered {
                class: pod.class,
                number: *known.entry(pod.class).or_insert(next),
            }
        })
        .collect()
}

/// What is known of a class on a node.
#[derive(Debug, Clone, Copy)]
enum Cost {
    Unknown,
    Unfit,
    Known(Placement),
}

/// Nodes and what was computed for them.
pub struct Cluster {
    nodes: Vec<NodeState>,
    costs: Vec<Vec<Cost>>,
}

impl Cluster {
    /// All nodes empty, for pods of so many classes.
    pub fn new(nodes: &[TraceNode], classes: usize) -> Self {
        Self {
            nodes: nodes.iter().map(|node| node.state).collect(),
            costs: vec![vec![Cost::Unknown; classes]; nodes.len()],
        }
    }

    /// States.
    pub fn nodes(&self) -> &[NodeState] {
        &self.nodes
    }

    /// Forgets all costs: the policy changed.
    pub fn forget(&mut self) {
        for row in &mut self.costs {
            row.fill(Cost::Unknown);
        }
    }

    /// The best cards of a node for a class, and the cost.
    pub fn place(
        &mut self,
        node: usize,
        pod: Numbered,
        policy: &dyn PackingPolicy,
    ) -> Option<Placement> {
        let state = self.nodes.get(node)?;
        let cell = self.costs.get_mut(node)?.get_mut(pod.number)?;
        if matches!(cell, Cost::Unknown) {
            let placement = policy.place(&pod.class, state, &mut Budget::unlimited());
            *cell = placement.map_or(Cost::Unfit, Cost::Known);
        }
        match cell {
            Cost::Known(placement) => Some(*placement),
            Cost::Unfit | Cost::Unknown => None,
        }
    }

    /// Puts a pod on a node.
    pub fn bind(&mut self, node: usize, class: &PodClass, cards: CardSet) {
        self.change(node, |state| *state = state.with(class, cards));
    }

    /// Takes a pod off it. `alone` when it was the last.
    pub fn release(&mut self, node: usize, class: &PodClass, cards: CardSet, alone: bool) {
        self.change(node, |state| {
            state.cpu_milli += class.cpu_milli;
            state.memory_mib += class.memory_mib;
            state.untouched = alone;
            for (position, card) in state.cards_mut().iter_mut().enumerate() {
                if cards.contains(position) {
                    card.milli += class.card_milli;
                    card.memory_mib += class.card_memory_mib;
                }
            }
        });
    }

    fn change(&mut self, node: usize, change: impl FnOnce(&mut NodeState)) {
        if let Some(state) = self.nodes.get_mut(node) {
            change(state);
        }
        if let Some(row) = self.costs.get_mut(node) {
            row.fill(Cost::Unknown);
        }
    }
}
