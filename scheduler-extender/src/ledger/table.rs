//! All nodes by name, read without a lock.
//!
//! A question names thousands of nodes, and of nearly all of them nothing has changed since the last one. What is looked at for each name therefore lies
//! close together, in the order of positions: its text, what follows it in questions, a [`Mark`]. The node itself is touched only when its mark says
//! that it changed. Spread over the heap, the same words cost five cache misses a name, which is most of the time that a question takes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::view::{NodeState, UnixMillis};
use crate::wire::Names;

/// Marks are made so many at a time.
const CHUNK: usize = 256;

/// What tells whether something is known of a node's present state.
#[derive(Debug)]
pub struct Mark {
    revision: AtomicU64,
    reported: AtomicI64,
}

impl Mark {
    /// The revision of the state. A state read afterwards is at least as new.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// When the agent made its last report.
    pub fn reported(&self) -> UnixMillis {
        self.reported.load(Ordering::Relaxed)
    }
}

/// Marks of neighbouring positions.
type Chunk = Arc<[Mark]>;

/// Marks by position.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks(Vec<Chunk>);

impl Marks {
    /// The chunk that the position's mark lies in; there are as many as it takes afterwards.
    fn chunk(&mut self, slot: u32) -> Chunk {
        let blank = |_| Mark {
            revision: AtomicU64::new(0),
            reported: AtomicI64::new(UnixMillis::MIN),
        };
        loop {
            if let Some(chunk) = self.0.get(slot as usize / CHUNK) {
                return chunk.clone();
            }
            self.0.push((0..CHUNK).map(blank).collect());
        }
    }

    fn get(&self, slot: u32) -> Option<&Mark> {
        let slot = slot as usize;
        self.0.get(slot / CHUNK)?.get(slot % CHUNK)
    }
}

/// One node in the table.
#[derive(Debug)]
pub struct NodeCell {
    /// Its position among all nodes. Used again when the node is gone; a [revision](NodeState::revision) never is.
    pub slot: u32,
    state: ArcSwap<NodeState>,
    marks: Chunk,
}

impl NodeCell {
    pub(super) fn new(slot: u32, marks: &mut Marks) -> Self {
        let cell = Self {
            slot,
            state: ArcSwap::default(),
            marks: marks.chunk(slot),
        };
        cell.mark(0, UnixMillis::MIN);
        cell
    }

    /// The node now.
    pub fn state(&self) -> Arc<NodeState> {
        self.state.load_full()
    }

    pub(super) fn publish(&self, state: NodeState) {
        let (revision, reported) = (state.revision, state.reported);
        self.state.store(Arc::new(state));
        self.mark(revision, reported);
    }

    fn mark(&self, revision: u64, reported: UnixMillis) {
        if let Some(mark) = self.marks.get(self.slot as usize % CHUNK) {
            mark.reported.store(reported, Ordering::Relaxed);
            mark.revision.store(revision, Ordering::Release);
        }
    }
}

/// Where a name lies, and what goes with it.
#[derive(Debug, Clone, Copy, Default)]
struct Named {
    from: u32,
    to: u32,
    hash: u64,
}

/// All nodes. Replaced when a node comes or goes; cells and marks live on from table to table.
#[derive(Debug, Default)]
pub struct Table {
    by_name: HashMap<Arc<str>, u32, RandomState>,
    cells: Vec<Option<Arc<NodeCell>>>,
    /// All names, one after the other.
    text: Vec<u8>,
    named: Vec<Named>,
    /// By position, what came after it in a question: kube-scheduler lists nodes in much the same order each time.
    followers: Vec<AtomicU32>,
    marks: Marks,
}

impl Table {
    pub(super) fn new<'a>(
        nodes: impl Iterator<Item = (&'a Arc<str>, &'a Arc<NodeCell>)>,
        marks: &Marks,
    ) -> Self {
        let mut nodes: Vec<_> = nodes.collect();
        nodes.sort_unstable_by_key(|(_, cell)| cell.slot);
        let slots = nodes.last().map_or(0, |(_, cell)| cell.slot as usize + 1);
        let mut table = Self {
            cells: vec![None; slots],
            named: vec![Named::default(); slots],
            followers: (1..=slots as u32).map(AtomicU32::new).collect(),
            marks: marks.clone(),
            ..Self::default()
        };
        for (name, cell) in nodes {
            let slot = cell.slot as usize;
            let from = table.text.len() as u32;
            table.text.extend_from_slice(name.as_bytes());
            if let (Some(place), Some(named)) =
                (table.cells.get_mut(slot), table.named.get_mut(slot))
            {
                *place = Some(cell.clone());
                *named = Named {
                    from,
                    to: table.text.len() as u32,
                    hash: fnv1a(name.as_bytes()),
                };
                table.by_name.insert(name.clone(), cell.slot);
            }
        }
        table
    }

    /// The node of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<NodeCell>> {
        self.at(*self.by_name.get(name)?)
    }

    /// The node at that position.
    pub fn at(&self, slot: u32) -> Option<&Arc<NodeCell>> {
        self.cells.get(slot as usize)?.as_ref()
    }

    /// The mark of the node at that position.
    pub fn mark(&self, slot: u32) -> Option<&Mark> {
        self.marks.get(slot)
    }

    /// Mixes into ties between nodes of equal score.
    pub fn hash(&self, slot: u32) -> u64 {
        self.named.get(slot as usize).map_or(0, |named| named.hash)
    }

    /// Every node with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<NodeCell>)> {
        self.by_name
            .iter()
            .filter_map(|(name, slot)| Some((name, self.at(*slot)?)))
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Positions are below this.
    pub fn slots(&self) -> usize {
        self.cells.len()
    }

    fn is_named(&self, slot: u32, name: &str) -> bool {
        let named = self.named.get(slot as usize);
        let text = named.and_then(|named| self.text.get(named.from as usize..named.to as usize));
        text == Some(name.as_bytes()) && !name.is_empty()
    }
}

impl Names for Table {
    fn begins(&self, rest: &[u8], after: Option<u32>) -> Option<(u32, usize)> {
        let follower = after.and_then(|slot| self.followers.get(slot as usize));
        let expected = follower.map_or(0, |follower| follower.load(Ordering::Relaxed));
        let named = self.named.get(expected as usize)?;
        let name = self.text.get(named.from as usize..named.to as usize)?;
        let follows = rest.strip_prefix(name)?;
        (!name.is_empty() && follows.first() == Some(&b'"')).then_some((expected, name.len()))
    }

    fn find(&self, name: &str, after: Option<u32>) -> Option<u32> {
        let follower = after.and_then(|slot| self.followers.get(slot as usize));
        let expected = follower.map_or(0, |follower| follower.load(Ordering::Relaxed));
        if self.is_named(expected, name) {
            return Some(expected);
        }
        let slot = self.by_name.get(name).copied()?;
        if let Some(follower) = follower {
            follower.store(slot, Ordering::Relaxed);
        }
        Some(slot)
    }
}

/// A fixed hash, so that the same question gets the same answer in every process.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str]) -> Table {
        let mut marks = Marks::default();
        let nodes: Vec<(Arc<str>, Arc<NodeCell>)> = (0..)
            .zip(names)
            .map(|(slot, name)| ((*name).into(), Arc::new(NodeCell::new(slot, &mut marks))))
            .collect();
        Table::new(nodes.iter().map(|(name, cell)| (name, cell)), &marks)
    }

    #[test]
    fn names_are_found_in_any_order_and_whatever_came_before() {
        let table = table(&["a", "bb", "a-very-long-name", ""]);
        for before in [None, Some(0), Some(1), Some(2), Some(99)] {
            for (slot, name) in (0..).zip(["a", "bb", "a-very-long-name", ""]) {
                assert_eq!(
                    table.find(name, before),
                    Some(slot),
                    "{name} after {before:?}"
                );
                assert_eq!(table.find(name, before), Some(slot), "again");
            }
            assert_eq!(table.find("b", before), None);
            assert_eq!(table.find("bba", before), None);
        }
    }

    #[test]
    fn a_mark_tells_of_a_change_and_a_new_node_in_an_old_place_has_none() {
        let mut marks = Marks::default();
        let far = CHUNK as u32 + 3;
        let cell = NodeCell::new(far, &mut marks);
        cell.publish(NodeState {
            revision: 7,
            reported: 9,
            ..NodeState::default()
        });
        let seen = |marks: &Marks| {
            let mark = marks.get(far).unwrap();
            (mark.revision(), mark.reported())
        };
        assert_eq!(seen(&marks), (7, 9));
        let _next = NodeCell::new(far, &mut marks);
        assert_eq!(seen(&marks), (0, UnixMillis::MIN));
    }
}
