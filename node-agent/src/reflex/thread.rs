//! The thread: a steady monotonic beat, with looks for new pods and for surges between.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use katalyst_runtime::{BoxError, Heartbeat};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Reflex, Snapshot};
use crate::{metrics::AgentMetrics, pods::PodIndex};

/// Time between looks: a pod that just started, and a surge of services, are answered within this time.
const LOOK: Duration = Duration::from_millis(250);

/// Ticks until `stopping`. Ticks that a slow one covers are left out, not made up for.
pub fn run(
    mut reflex: Reflex,
    interval: Duration,
    pods: &watch::Receiver<Arc<PodIndex>>,
    snapshots: &watch::Sender<Option<Arc<Snapshot>>>,
    metrics: &AgentMetrics,
    beat: &Heartbeat,
    stopping: &CancellationToken,
) -> Result<(), BoxError> {
    let epoch = Instant::now();
    let mut next = epoch;
    while !stopping.is_cancelled() {
        let now = Instant::now();
        let index = Arc::clone(&pods.borrow());
        let at_nanos =
            u64::try_from(now.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX);
        if now < next {
            if reflex.look(at_nanos, &index) {
                metrics.tick(now.elapsed().as_secs_f64());
            }
            std::thread::sleep(LOOK.min(next.saturating_duration_since(Instant::now())));
            continue;
        }
        let snapshot = reflex.tick(at_nanos, &index);
        metrics.tick(now.elapsed().as_secs_f64());
        beat.beat();
        // The first two readings come quickly: pods of a node whose agent was down wait for their limits.
        let pause = if snapshot.is_some() {
            interval
        } else {
            interval.min(LOOK)
        };
        if let Some(snapshot) = snapshot {
            snapshots.send_replace(Some(Arc::new(snapshot)));
        }
        next += pause;
        let missed =
            Instant::now().saturating_duration_since(next).as_nanos() / interval.as_nanos().max(1);
        if missed > 0 {
            let missed = u32::try_from(missed).unwrap_or(u32::MAX);
            metrics.missed(u64::from(missed));
            next += interval.saturating_mul(missed);
        }
    }
    Ok(())
}
