//! The ledger: what nodes have and offer, from custom resources, and what pods hold of it, from the watch and from bindings.
//!
//! One writer at a time under one lock; each operation takes microseconds and none waits for anything, so the lock serves as every
//! node's lock. Readers do not take it: filter reads an immutable table of nodes, and of each node an immutable state.

mod books;
mod entry;
mod table;
mod view;

pub use books::{Assumption, Books, Offer, Refusal, Report, Settlement};
pub use entry::{Charge, Decision, Doubt, Entry, Place};
pub use table::{Mark, NodeCell, Table, fnv1a};
pub use view::{NodeState, Rejection, UnixMillis, not_reclaimed};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use katalyst_core::placement::{Allocation, NodePlacement};
use katalyst_core::reclaimed::Reclaimed;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::request::{PodRequest, Uid};

/// A pod that preemption may consider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The pod.
    pub uid: Uid,
    /// Who it is.
    pub charge: Charge,
}

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    books: Mutex<Books>,
    table: ArcSwap<Table>,
    version: AtomicU64,
    improved: Notify,
    stale_after: i64,
}

impl Ledger {
    /// An empty ledger. A node whose last report is older than `stale_after` milliseconds takes no pod.
    pub fn new(stale_after: i64) -> Self {
        Self {
            books: Mutex::default(),
            table: ArcSwap::default(),
            version: AtomicU64::new(0),
            improved: Notify::new(),
            stale_after,
        }
    }

    /// Age in milliseconds beyond which a node's report counts for nothing.
    pub fn stale_after(&self) -> i64 {
        self.stale_after
    }

    /// All nodes now.
    pub fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// Grows each time some node becomes able to take more. Read it before the nodes: what improves later has a higher version.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Waits until some node becomes able to take more. A change between two calls is not lost.
    pub async fn improvement(&self) {
        self.improved.notified().await;
    }

    /// Changes the books and publishes what changed.
    fn write<T>(&self, change: impl FnOnce(&mut Books) -> T) -> T {
        let mut books = self.books.lock();
        let before = books.version();
        let result = change(&mut books);
        if let Some(table) = books.changed_table() {
            self.table.store(Arc::new(table));
        }
        let version = books.version();
        self.version.store(version, Ordering::Release);
        drop(books);
        if version > before {
            self.improved.notify_one();
        }
        result
    }

    /// See [`Books::begin_offers`].
    pub fn begin_offers(&self) {
        self.write(Books::begin_offers);
    }

    /// See [`Books::offer`].
    pub fn offer(&self, node: &str, offer: Offer, now: UnixMillis) {
        self.write(|books| books.offer(node, offer, now, self.stale_after));
    }

    /// See [`Books::withdraw`].
    pub fn withdraw(&self, node: &str) {
        self.write(|books| books.withdraw(node));
    }

    /// See [`Books::finish_offers`].
    pub fn finish_offers(&self) {
        self.write(Books::finish_offers);
    }

    /// See [`Books::begin_pods`].
    pub fn begin_pods(&self) {
        self.write(Books::begin_pods);
    }

    /// See [`Books::seen`].
    pub fn seen(&self, uid: &Uid, node: &str, charge: Charge, allocation: Allocation) {
        self.write(|books| books.seen(uid, node, charge, Arc::new(allocation)));
    }

    /// See [`Books::gone`].
    pub fn gone(&self, uid: &str) {
        self.write(|books| books.gone(uid));
    }

    /// See [`Books::finish_pods`].
    pub fn finish_pods(&self, now: UnixMillis) {
        self.write(|books| books.finish_pods(now));
    }

    /// See [`Books::assume`].
    pub fn assume(
        &self,
        pod: &PodRequest,
        node: &str,
        charge: Charge,
        now: UnixMillis,
    ) -> Result<Assumption, Refusal> {
        self.write(|books| books.assume(pod, node, charge, now, self.stale_after))
    }

    /// See [`Books::settle`].
    pub fn settle(
        &self,
        uid: &str,
        node: &str,
        decision: &Arc<Decision>,
        settlement: Settlement,
        now: UnixMillis,
    ) {
        self.write(|books| books.settle(uid, node, decision, settlement, now));
    }

    /// See [`Books::resolve`].
    pub fn resolve(&self, doubt: &Doubt, settlement: Settlement) {
        self.write(|books| books.resolve(doubt, settlement));
    }

    /// See [`Books::doubts`].
    pub fn doubts(&self) -> Vec<Doubt> {
        self.books.lock().doubts()
    }

    /// How many pods are charged without the watch having shown them on their node.
    pub fn assumed(&self) -> usize {
        self.books
            .lock()
            .pods()
            .filter(|(_, entry)| entry.assumed())
            .count()
    }

    /// How many pods are charged to a node.
    pub fn pods(&self) -> usize {
        self.books.lock().pods().count()
    }

    /// Whether the pod is charged to a node.
    pub fn knows(&self, uid: &str) -> bool {
        self.books.lock().pod(uid).is_some()
    }

    /// The pods charged to a node.
    pub fn holders(&self, node: &str) -> Vec<Holder> {
        let books = self.books.lock();
        let pods = books.pods_on(node).into_iter();
        pods.map(|(uid, entry)| Holder {
            uid: uid.clone(),
            charge: entry.charge.clone(),
        })
        .collect()
    }

    /// What is wrong with a node's custom resource, if anything.
    pub fn defect(&self, node: &str) -> Option<String> {
        self.books.lock().defect(node).map(str::to_owned)
    }

    /// A node with all that is charged to it, as the books have it: the table may lack a node that has come during a listing.
    pub fn node(&self, node: &str) -> NodePlacement {
        self.books.lock().state(node).placement.clone()
    }

    /// Reclaimed amounts that are charged to a node.
    pub fn allocated(&self, node: &str) -> Reclaimed {
        self.node(node).reclaimed().allocated
    }
}
