//! What the process says about itself: heartbeats for liveness, gates for readiness.
//!
//! A *heartbeat* belongs to one loop; a loop that has not beaten for longer than its tolerance makes the process
//! not live, and the kubelet restarts it. A *gate* is one thing the process waits for before it is useful, such as a
//! synced cache; closed gates make it not ready. Liveness never depends on the API server: a restart cannot mend that.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Registry of the heartbeats and gates of one process. Clones share the same registry.
#[derive(Clone, Debug, Default)]
pub struct Health {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    next_id: u64,
    heartbeats: BTreeMap<u64, Beat>,
    gates: BTreeMap<String, Option<String>>,
    closing: Option<String>,
}

#[derive(Debug)]
struct Beat {
    name: String,
    tolerance: Duration,
    last: Instant,
}

impl Health {
    /// An empty registry: live, and ready once every gate that is added has opened.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a loop that promises to call [`Heartbeat::beat`] at least every `tolerance`. The promise starts now
    /// and ends when the handle is dropped.
    pub fn heartbeat(&self, name: impl Into<String>, tolerance: Duration) -> Heartbeat {
        let mut inner = self.inner.lock();
        let id = inner.next_id;
        inner.next_id += 1;
        let beat = Beat {
            name: name.into(),
            tolerance,
            last: Instant::now(),
        };
        inner.heartbeats.insert(id, beat);
        Heartbeat {
            health: self.clone(),
            id,
        }
    }

    /// Registers a closed gate. Two gates of one name are one gate: the last call on either handle counts.
    pub fn gate(&self, name: impl Into<String>) -> Gate {
        let name = name.into();
        let reason = Some("not yet".to_owned());
        self.inner.lock().gates.insert(name.clone(), reason);
        Gate {
            health: self.clone(),
            name,
        }
    }

    /// Makes the process not ready for good, whatever its gates say. Used when it begins to stop.
    pub fn close(&self, reason: impl Into<String>) {
        self.inner.lock().closing.get_or_insert(reason.into());
    }

    /// Loops that are overdue, each as a line for people. Empty means live.
    pub fn overdue(&self) -> Vec<String> {
        let now = Instant::now();
        let inner = self.inner.lock();
        inner
            .heartbeats
            .values()
            .filter_map(|beat| {
                let silent = now.saturating_duration_since(beat.last);
                (silent > beat.tolerance).then(|| {
                    let Beat {
                        name, tolerance, ..
                    } = beat;
                    format!("{name}: silent for {silent:.1?}, tolerance {tolerance:.1?}")
                })
            })
            .collect()
    }

    /// What the process still waits for, each as a line for people. Empty means ready.
    pub fn pending(&self) -> Vec<String> {
        let inner = self.inner.lock();
        let gates = inner
            .gates
            .iter()
            .filter_map(|(name, reason)| reason.as_ref().map(|reason| format!("{name}: {reason}")));
        inner.closing.iter().cloned().chain(gates).collect()
    }
}

/// One loop's promise to show a sign of life. Dropping it ends the promise.
#[derive(Debug)]
#[must_use = "dropping the handle ends the watch over the loop"]
pub struct Heartbeat {
    health: Health,
    id: u64,
}

impl Heartbeat {
    /// The loop is alive and made progress.
    pub fn beat(&self) {
        if let Some(beat) = self.health.inner.lock().heartbeats.get_mut(&self.id) {
            beat.last = Instant::now();
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.health.inner.lock().heartbeats.remove(&self.id);
    }
}

/// One condition of readiness. A gate that is dropped keeps its last state.
#[derive(Clone, Debug)]
pub struct Gate {
    health: Health,
    name: String,
}

impl Gate {
    /// The condition holds.
    pub fn open(&self) {
        self.set(None);
    }

    /// The condition does not hold, and why.
    pub fn close(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, reason: Option<String>) {
        self.health
            .inner
            .lock()
            .gates
            .insert(self.name.clone(), reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_loop_is_overdue_until_it_beats_or_ends() {
        let health = Health::new();
        let reflex = health.heartbeat("reflex", Duration::from_secs(3));
        let _slow = health.heartbeat("slow", Duration::from_secs(60));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(health.overdue(), Vec::<String>::new());
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(
            health.overdue(),
            ["reflex: silent for 3.5s, tolerance 3.0s"]
        );
        reflex.beat();
        assert_eq!(health.overdue(), Vec::<String>::new());
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(health.overdue().len(), 1);
        drop(reflex);
        assert_eq!(health.overdue(), Vec::<String>::new());
    }

    #[test]
    fn readiness_lists_every_closed_gate_and_closing_is_for_good() {
        let health = Health::new();
        let (pods, nodes) = (health.gate("cache pods"), health.gate("cache nodes"));
        assert_eq!(
            health.pending(),
            ["cache nodes: not yet", "cache pods: not yet"]
        );
        pods.open();
        nodes.open();
        assert_eq!(health.pending(), Vec::<String>::new());
        nodes.close("watch broken for 60 s");
        assert_eq!(health.pending(), ["cache nodes: watch broken for 60 s"]);
        health.close("shutting down");
        health.close("again");
        nodes.open();
        assert_eq!(health.pending(), ["shutting down"]);
    }
}
