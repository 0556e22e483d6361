//! The thread: samples on a steady monotonic beat, and between them whatever wakes it.
//!
//! It sleeps in one `poll`. What wakes it, and what it does then:
//!
//! | | |
//! |---|---|
//! | a request of another thread, a change of the pod index (the inbox's bell) | runs the request; looks for new pods |
//! | a pod's group that came or went (inotify) | looks for new pods |
//! | services that wait for CPU (pressure triggers) | glances for a surge, and then more often |
//! | the next glance (the timeout) | glances for a surge |
//! | the next look | looks for new pods and surges: the backstop for all of the above |
//! | the next sample | samples everything |

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

/// Time between looks that nothing asked for, and between the first two samples.
const LOOK: Duration = Duration::from_millis(250);

/// How long the end of the process waits for pages that are being moved.
const LAST_MOVE: Duration = Duration::from_secs(2);

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
        let mut woken = Woken::default();
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
            if woken.pressed {
                reflex.pressed(now_nanos);
            }
            let arrivals = woken.groups || !Arc::ptr_eq(&known, &index);
            if now >= next_sample {
                next_sample = self.sample(&mut reflex, &turn, now, next_sample);
                next_look = now + LOOK;
            } else {
                let acted = if arrivals || now >= next_look {
                    next_look = now + LOOK;
                    reflex.look(now_nanos, &index)
                } else if woken.pressed || woken.timeout {
                    reflex.glance(now_nanos, &index)
                } else {
                    false
                };
                if acted {
                    self.metrics.tick(now.elapsed().as_secs_f64());
                }
            }
            known = index;
            let mut until = next_sample.min(next_look);
            if let Some(pause) = reflex.glance_pause(now_nanos) {
                until = until.min(now + pause);
            }
            woken = self.wait(&mut reflex, until)?;
        }
        reflex.executor.finish(LAST_MOVE);
        let at_end = Instant::now().saturating_duration_since(epoch);
        reflex.save_peaks(u64::try_from(at_end.as_nanos()).unwrap_or(u64::MAX));
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

    /// Sleeps until something happens, or `until`.
    fn wait(&self, reflex: &mut Reflex, until: Instant) -> Result<Woken, BoxError> {
        let pause = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(pause.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(pause.subsec_nanos()),
        };
        let mut woken = Woken::default();
        let mut dead: Vec<usize> = Vec::new();
        {
            let groups = reflex.sampler.changes();
            let first_trigger = 1 + usize::from(groups.is_some());
            let mut fds: Vec<PollFd<'_>> = std::iter::once(self.inbox.bell())
                .chain(groups)
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .chain(
                    reflex
                        .triggers
                        .fds()
                        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::PRI)),
                )
                .collect();
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => woken.timeout = true,
                // A signal: look at the clock again.
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => {
                    return Err(format!("the reflex thread cannot wait: {errno}").into());
                }
            }
            for (at, fd) in fds.iter().enumerate() {
                let seen = fd.revents();
                match at.checked_sub(first_trigger) {
                    None => woken.groups |= at > 0 && !seen.is_empty(),
                    Some(trigger) if seen.contains(PollFlags::ERR) => dead.push(trigger),
                    Some(_) => woken.pressed |= seen.contains(PollFlags::PRI),
                }
            }
        }
        if !dead.is_empty() {
            reflex.triggers.drop_dead(|at| dead.contains(&at));
        }
        Ok(woken)
    }
}

/// What ended a sleep.
#[derive(Debug, Clone, Copy, Default)]
struct Woken {
    timeout: bool,
    groups: bool,
    pressed: bool,
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
