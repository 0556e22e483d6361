//! One message when the API server goes away and one when it is back, however many watches and writes notice.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::Clock;

/// What does not reach the API server now, and since when. Clones share the same state.
#[derive(Debug, Clone)]
pub struct Outage {
    clock: Clock,
    down: Arc<Mutex<BTreeMap<&'static str, f64>>>,
}

impl Outage {
    /// Everything works.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            down: Arc::default(),
        }
    }

    /// `source` can't reach the API server. Only the first of an outage is told to people.
    pub fn failed(&self, source: &'static str, error: &str) {
        let mut down = self.down.lock();
        if down.is_empty() {
            tracing::warn!(
                source,
                error,
                "the API server does not answer; nothing is written and what was last known is kept until it is back"
            );
        } else {
            tracing::debug!(source, error, "the API server does not answer");
        }
        let now = self.clock.now();
        down.entry(source).or_insert(now);
    }

    /// `source` reaches the API server. True when it did not before.
    pub fn works(&self, source: &'static str) -> bool {
        let mut down = self.down.lock();
        let Some(since) = down.remove(source) else {
            return false;
        };
        if down.is_empty() {
            let seconds = self.clock.now() - since;
            tracing::info!(seconds, "the API server answers again");
        }
        true
    }

    /// True while `source` can't reach the API server.
    pub fn is_down(&self, source: &'static str) -> bool {
        self.down.lock().contains_key(source)
    }

    /// The sources that can't reach the API server, and since when, in Unix seconds.
    pub fn down(&self) -> BTreeMap<&'static str, f64> {
        self.down.lock().clone()
    }
}
