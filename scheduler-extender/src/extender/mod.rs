//! The extender itself: the verbs joined with the ledger, the memories and the metrics.

mod answers;
mod closer;
mod placing;

pub use placing::charge_of;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use crate::budgets::{Budgets, LabelSets};
use crate::ledger::{Charge, Ledger, UnixMillis};
use crate::metrics::{ExtenderMetrics, Outcome, WakeupLabels};
use crate::packing::Packing;
use crate::policy::Policy;
use crate::recent::Recent;
use crate::replica::Mandate;
use crate::request::PodRequest;
use crate::verbs::Memo;
use crate::verbs::bind::Binder;
use crate::wakeup::{Touch, Waiting};

/// Pods between filter and bind whose request is remembered; for others the API is asked.
const PODS_IN_MIND: usize = 20_000;

/// A source of the time, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// See the module.
pub struct Extender {
    ledger: Arc<Ledger>,
    policy: Policy,
    binder: Binder,
    metrics: ExtenderMetrics,
    mandate: Mandate,
    packing: Packing,
    budgets: Budgets,
    labels: LabelSets,
    memo: Memo,
    closer: closer::Line,
    clock: Clock,
    in_mind: Mutex<Recent<(PodRequest, Charge)>>,
    waiting: Mutex<Waiting>,
    offers_seen: AtomicI64,
    pods_seen: AtomicI64,
}

/// An answer in JSON, and what it was.
pub type Answer = (Outcome, Result<Vec<u8>, serde_json::Error>);

impl Extender {
    /// An extender with an empty ledger, which may bind.
    pub fn new(
        ledger: Arc<Ledger>,
        policy: Policy,
        binder: Binder,
        metrics: ExtenderMetrics,
        clock: Clock,
    ) -> Self {
        let started = clock();
        Self {
            ledger,
            policy,
            binder,
            metrics,
            mandate: Mandate::always(),
            packing: Packing::default(),
            budgets: Budgets::default(),
            labels: LabelSets::default(),
            memo: Memo::default(),
            closer: closer::Line::default(),
            clock,
            in_mind: Mutex::new(Recent::new(PODS_IN_MIND)),
            waiting: Mutex::default(),
            offers_seen: AtomicI64::new(started),
            pods_seen: AtomicI64::new(started),
        }
    }

    /// Lets it bind only while `mandate` holds.
    #[must_use]
    pub fn with_mandate(mut self, mandate: Mandate) -> Self {
        self.mandate = mandate;
        self
    }

    /// Lets a policy rank nodes for pods with GPUs.
    #[must_use]
    pub fn with_packing(mut self, packing: Packing) -> Self {
        self.packing = packing;
        self
    }

    /// The policy that ranks nodes for pods with GPUs.
    pub fn packing(&self) -> &Packing {
        &self.packing
    }

    /// Disruption budgets, for preemption.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Labels of the pods that are charged, each set once.
    pub fn labels(&self) -> &LabelSets {
        &self.labels
    }

    /// The right to bind.
    pub fn mandate(&self) -> &Mandate {
        &self.mandate
    }

    /// The ledger.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// The metrics.
    pub fn metrics(&self) -> &ExtenderMetrics {
        &self.metrics
    }

    /// The binder.
    pub fn binder(&self) -> &Binder {
        &self.binder
    }

    /// The time.
    pub fn now(&self) -> UnixMillis {
        (self.clock)()
    }

    /// The node to touch now, if any.
    pub fn plan_wakeup(&self) -> Option<Touch> {
        let version = self.ledger.version();
        let table = self.ledger.table();
        self.waiting
            .lock()
            .plan(&table, version, self.now(), self.ledger.stale_after())
    }

    /// The touch was made, or failed.
    pub fn woke(&self, touch: &Touch, done: bool) {
        let now = self.now();
        let mut waiting = self.waiting.lock();
        if done {
            waiting.touched(touch, now);
        } else {
            waiting.failed(touch, now);
        }
        drop(waiting);
        let result = if done { "ok" } else { "error" };
        self.metrics
            .wakeups
            .get_or_create(&WakeupLabels { result })
            .inc();
    }

    /// A custom resource was seen.
    pub fn saw_offer(&self) {
        self.offers_seen.store(self.now(), Ordering::Relaxed);
    }

    /// A pod was seen.
    pub fn saw_pod(&self) {
        self.pods_seen.store(self.now(), Ordering::Relaxed);
    }

    /// Sets the gauges that follow from the state.
    pub fn measure(&self) {
        let age = |seen: &AtomicI64| {
            self.now()
                .saturating_sub(seen.load(Ordering::Relaxed))
                .max(0)
                / 1000
        };
        self.metrics.offers_age.set(age(&self.offers_seen));
        self.metrics.pods_age.set(age(&self.pods_seen));
        self.metrics.assumed.set(as_gauge(self.ledger.assumed()));
        self.metrics
            .doubts
            .set(as_gauge(self.ledger.doubts().len()));
        self.metrics.nodes.set(as_gauge(self.ledger.table().len()));
        self.metrics
            .waiting
            .set(as_gauge(self.waiting.lock().len()));
    }
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl std::fmt::Debug for Extender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extender")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
