//! What the rest of the process sees of the election.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};

/// Where this process stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Leadership {
    /// Someone else leads, or nobody is known yet.
    Waiting {
        /// The leader's identity, once seen.
        holder: Option<String>,
    },
    /// This process leads.
    Leading {
        /// How often the lease had changed hands: a later leader has a greater term.
        term: i32,
        /// End of the leadership unless it is renewed; `None` without election.
        until: Option<Instant>,
    },
    /// It led, and must not act any more.
    Lost,
    /// It gave the lease up in an orderly stop.
    Released,
}

impl Leadership {
    /// The state's name in logs and `/debug/state`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Leading { .. } => "leading",
            Self::Lost => "lost",
            Self::Released => "released",
        }
    }
}

/// A view on the election. Clones are independent views of the same state.
#[derive(Clone, Debug)]
pub struct Leader {
    state: watch::Receiver<Leadership>,
}

impl Leader {
    pub(super) const fn new(state: watch::Receiver<Leadership>) -> Self {
        Self { state }
    }

    /// A view that always leads, for a process without election.
    pub fn always() -> Self {
        let (_sender, state) = watch::channel(Leadership::Leading {
            term: 0,
            until: None,
        });
        Self { state }
    }

    /// A view fed by the caller, for tests.
    pub const fn from_channel(state: watch::Receiver<Leadership>) -> Self {
        Self { state }
    }

    /// Whether this process leads *now*, by its own clock. Ask right before each batch of writes: it turns false at the
    /// renew deadline even if the task that renews is stuck.
    pub fn is_current(&self) -> bool {
        self.remaining().is_some()
    }

    /// How long a batch of writes may take from now, or `None` without leadership. `Duration::MAX` without election.
    pub fn remaining(&self) -> Option<Duration> {
        match *self.state.borrow() {
            Leadership::Leading { until: None, .. } => Some(Duration::MAX),
            Leadership::Leading {
                until: Some(until), ..
            } => {
                let left = until.saturating_duration_since(Instant::now());
                (!left.is_zero()).then_some(left)
            }
            _ => None,
        }
    }

    /// The state as last published.
    pub fn state(&self) -> Leadership {
        self.state.borrow().clone()
    }

    /// Waits for a change that this view has not reported yet; renewals are not reported. Never returns once the
    /// election has ended.
    pub async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until this process leads.
    pub async fn elected(&self) {
        let mut view = self.clone();
        while !view.is_current() {
            view.changed().await;
        }
    }

    /// The state for `/debug/state`.
    pub fn describe(&self) -> Value {
        let state = self.state();
        let name = state.name();
        match state {
            Leadership::Waiting { holder } => json!({"state": name, "holder": holder}),
            Leadership::Leading { term, .. } => {
                let seconds = self.remaining().filter(|left| *left != Duration::MAX);
                json!({"state": name, "term": term, "secondsLeft": seconds.map(|left| left.as_secs_f64())})
            }
            Leadership::Lost | Leadership::Released => json!({"state": name}),
        }
    }
}
