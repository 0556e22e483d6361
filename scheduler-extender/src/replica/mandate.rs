//! The right to bind: this replica leads, and has seen what the leader before it has done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use katalyst_runtime::Leader;

/// See the module. Clones share it.
#[derive(Clone, Debug)]
pub struct Mandate {
    leader: Leader,
    accepted: Arc<AtomicBool>,
}

impl Mandate {
    /// For the replica that `leader` speaks of; not accepted yet.
    pub fn new(leader: Leader) -> Self {
        Self {
            leader,
            accepted: Arc::default(),
        }
    }

    /// One that always holds, for a process without election and for tests.
    pub fn always() -> Self {
        let this = Self::new(Leader::always());
        this.accept();
        this
    }

    /// Waits until this replica leads.
    pub async fn elected(&self) {
        self.leader.elected().await;
    }

    /// The state is as new as the election.
    pub fn accept(&self) {
        self.accepted.store(true, Ordering::Release);
    }

    /// Whether this replica may bind now, by its own clock. Asked right before each Binding is sent.
    pub fn holds(&self) -> bool {
        self.accepted.load(Ordering::Acquire) && self.leader.is_current()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_alone_is_not_enough() {
        let mandate = Mandate::new(Leader::always());
        assert!(!mandate.holds(), "the state may be older than the election");
        mandate.accept();
        assert!(mandate.holds());
    }
}
