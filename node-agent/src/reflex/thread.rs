//! The thread: samples on a steady monotonic beat, and between them whatever wakes it.
//!
//! It sleeps in one `poll` and wakes for a request of another thread or a change of the pod index (the inbox's bell), and for the next
//! look or sample (the timeout).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use katalyst_runtime::{BoxError, Heartbeat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Inbox, Mailbox, Reflex, Snapshot, Turn};
use crate::{metrics::AgentMetrics, pods::PodIndex};

/// Time between looks: a pod that just started, and a surge of services, are answered within this time.
const LOOK: Duration = Duration::from_millis(250);

/// What the thread takes from and gives to the rest of the process.
pub struct Thread {
    /// Requests.
    pub inbox: Inbox<Reflex>,
    /// Time between samples.
    pub interval: Duration,
    /// Pods as the API server knows them.
    pub pods: watch::Receiver<Arc<PodIndex>>,
    /// The last sample.
    pub snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    /// Numbers.
    pub metrics: AgentMetrics,
    /// Beaten after each sample.
    pub beat: Heartbeat,
    /// The process ends.
    pub stopping: CancellationToken,
}

impl Thread {
    /// Runs until stopping. Samples that a slow one covers are left out, not made up for.
    pub fn run(self, mut reflex: Reflex) -> Result<(), BoxError> {
        let epoch = Instant::now();
        let mut next_sample = epoch;
        let mut next_look = epoch;
        let mut known = Arc::clone(&self.pods.borrow());
        while !self.stopping.is_cancelled() {
            let now = Instant::now();
            let index = Arc::clone(&self.pods.borrow());
            let now_nanos =
                u64::try_from(now.saturating_duration_since(epoch).as_nanos()).unwrap_or(u64::MAX);
            let turn = Turn {
                now_nanos,
                index: &index,
            };
            self.inbox.run(&mut reflex, &turn);
            if now >= next_sample {
                next_sample = self.sample(&mut reflex, &turn, now, next_sample);
                next_look = now + LOOK;
            } else if now >= next_look || !Arc::ptr_eq(&known, &index) {
                if reflex.look(now_nanos, &index) {
                    self.metrics.tick(now.elapsed().as_secs_f64());
                }
                next_look = now + LOOK;
            }
            known = index;
            self.wait(next_sample.min(next_look))?;
        }
        Ok(())
    }

    /// One sample; returns when the next one is due.
    fn sample(
        &self,
        reflex: &mut Reflex,
        turn: &Turn<'_>,
        began: Instant,
        due: Instant,
    ) -> Instant {
        let snapshot = reflex.tick(turn.now_nanos, turn.index);
        self.metrics.tick(began.elapsed().as_secs_f64());
        self.beat.beat();
        // The first two readings come quickly: pods of a node whose agent was down wait for their limits.
        let pause = if snapshot.is_some() {
            self.interval
        } else {
            self.interval.min(LOOK)
        };
        if let Some(snapshot) = snapshot {
            self.snapshots.send_replace(Some(Arc::new(snapshot)));
        }
        let next = due + pause;
        let missed = Instant::now().saturating_duration_since(next).as_nanos()
            / self.interval.as_nanos().max(1);
        if missed == 0 {
            return next;
        }
        let missed = u32::try_from(missed).unwrap_or(u32::MAX);
        self.metrics.missed(u64::from(missed));
        next + self.interval.saturating_mul(missed)
    }

    /// Sleeps until somebody rings, or `until`.
    fn wait(&self, until: Instant) -> Result<(), BoxError> {
        let pause = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(pause.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(pause.subsec_nanos()),
        };
        let mut fds = [PollFd::from_borrowed_fd(self.inbox.bell(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            // A signal: look at the clock again.
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(format!("the reflex thread cannot wait: {errno}").into()),
        }
    }
}

/// Wakes the thread when the pod index changes, so that a new pod does not wait for the next look, and when the process ends.
pub async fn ring_for_pods(
    mailbox: Mailbox<Reflex>,
    mut pods: watch::Receiver<Arc<PodIndex>>,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    loop {
        let changed = tokio::select! {
            () = stopping.cancelled() => break,
            changed = pods.changed() => changed,
        };
        if changed.is_err() {
            // The watch is gone: the process ends.
            stopping.cancelled().await;
            break;
        }
        mailbox.wake();
    }
    mailbox.wake();
    Ok(())
}
