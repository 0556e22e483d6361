//! Watches that keep the [`Index`] current.
//!
//! The three watches share one loop. An error never ends it: what was last known stays, the list is taken again when it must be,
//! and [`Outage`] tells people once.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use katalyst_runtime::backoff::Backoff;
use katalyst_runtime::{BoxError, Gate};
use kube::runtime::watcher::{self, Event};
use parking_lot::RwLock;
use rand::Rng;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::causes::with_causes;
use crate::clock::Clock;
use crate::index::{Index, Kind};
use crate::metrics::Meters;
use crate::outage::Outage;

/// Waits between attempts to restore a watch. Short, because what we know grows old meanwhile; jittered, so that replicas spread.
const RESTORE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));

/// A restored watch that is this long without an error works, even if nothing happens in the cluster. Longer than a connection
/// attempt may take.
const QUIET: Duration = Duration::from_secs(15);

/// What the watches share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The state they keep.
    pub index: Arc<RwLock<Index>>,
    /// Told after each change.
    pub changed: Arc<Notify>,
    /// The process's clock.
    pub clock: Clock,
    /// Whether the API server answers.
    pub outage: Outage,
    /// What is counted.
    pub meters: Meters,
}

/// How objects of one kind enter the index. `now` is in Unix seconds.
pub trait Sink<K>: Send {
    /// The kind.
    const KIND: Kind;
    /// An object is there, new or changed.
    fn apply(&mut self, index: &RwLock<Index>, object: K, now: f64);
    /// An object is gone.
    fn delete(&mut self, index: &RwLock<Index>, object: K, now: f64);
}

/// Feeds `events` to `sink` until `stopping`. `synced` opens once the first list is complete.
pub async fn run<K: Send, S: Sink<K>>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send,
    mut sink: S,
    shared: Shared,
    synced: Gate,
    stopping: CancellationToken,
    mut rng: impl Rng,
) -> Result<(), BoxError> {
    let source = S::KIND.as_str();
    let mut restore = RESTORE.start();
    let mut events = std::pin::pin!(events);
    loop {
        let down = shared.outage.is_down(source);
        let next = tokio::select! {
            biased;
            () = stopping.cancelled() => return Ok(()),
            next = events.next() => next,
            () = tokio::time::sleep(QUIET), if down => {
                works(&shared, S::KIND);
                continue;
            }
        };
        match next {
            Some(Ok(event)) => {
                // `Init` comes before the list is even asked for.
                if !matches!(event, Event::Init) {
                    restore.reset();
                    if down {
                        works(&shared, S::KIND);
                    }
                }
                let done = matches!(event, Event::InitDone);
                take(&shared, &mut sink, event);
                if done {
                    synced.open();
                }
                shared.changed.notify_one();
            }
            Some(Err(error)) => {
                shared
                    .index
                    .write()
                    .watch_failed(S::KIND, shared.clock.now());
                shared.meters.watch_failed(S::KIND);
                shared.outage.failed(source, &with_causes(&error));
                tokio::select! {
                    () = stopping.cancelled() => return Ok(()),
                    () = tokio::time::sleep(restore.next_delay(&mut rng)) => {}
                }
            }
            None => return Err(format!("the watch on {source} ended").into()),
        }
    }
}

fn works(shared: &Shared, kind: Kind) {
    shared.index.write().watch_works(kind, shared.clock.now());
    shared.outage.works(kind.as_str());
}

fn take<K, S: Sink<K>>(shared: &Shared, sink: &mut S, event: Event<K>) {
    let now = shared.clock.now();
    match event {
        Event::Init => shared.index.write().begin_list(S::KIND),
        Event::InitDone => shared.index.write().end_list(S::KIND),
        Event::InitApply(object) | Event::Apply(object) => sink.apply(&shared.index, object, now),
        Event::Delete(object) => sink.delete(&shared.index, object, now),
    }
}

#[cfg(test)]
mod tests;
