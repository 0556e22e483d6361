//! The thread that writes memory nodes.
//!
//! The kernel moves a group's pages before the write of `cpuset.mems` returns: some seconds for many GiB, and longer where the target must reclaim. Up to 6.18
//! every write of a cpuset file waits for all moves that are under way (`cpuset_write_resmask` ends with `flush_workqueue(cpuset_migrate_mm_wq)`),
//! and so does every process that enters a cpuset, under `cgroup_mutex`. The reflex thread must wait for none of that: it
//! plans, records and hands a job over, and until the outcome has come back no other cpuset file is written by anybody here. So each file
//! still has one writer, and old values are on disk before the first write.
//!
//! One job at a time. A job stops between two writes when the process ends or a `restore` took over; a write that never returns costs
//! the moves and cpusets of this node, which a notice says, and nothing else: the process ends without it.

use std::{
    collections::BTreeSet,
    io,
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use super::{
    apply::{FaultPoint, Outcome, apply},
    knob::Knob,
    plan::Change,
    records::Records,
};
use crate::cgroup::{Hierarchy, PodUid};

/// What is to be written.
pub(super) struct Job {
    pub(super) hierarchy: Hierarchy,
    /// Where a `restore` leaves its marker.
    pub(super) state_dir: PathBuf,
    pub(super) changes: Vec<Change>,
}

/// What became of a job.
pub(super) struct Done {
    pub(super) outcome: Outcome,
    pub(super) took: Duration,
    /// Files that hold their old values again, where their writes stand.
    pub(super) restored: Vec<(PathBuf, Knob)>,
}

/// A job that was handed over.
struct UnderWay {
    since: Instant,
    pods: BTreeSet<PodUid>,
    restored: Vec<(PathBuf, Knob)>,
}

/// The near end of the thread.
pub struct MemoryWriter {
    jobs: mpsc::SyncSender<Job>,
    done: mpsc::Receiver<(Outcome, Duration)>,
    stop: Arc<AtomicBool>,
    under_way: Option<UnderWay>,
}

impl MemoryWriter {
    /// Starts the thread. `bell` is called after each job, so that its outcome need not wait for the next sample.
    pub fn start(bell: impl Fn() + Send + 'static) -> io::Result<Self> {
        Self::with(bell, |job, stop| {
            // Keeps a `restore` apart, for as long as the kernel answers.
            let _lock = Records::lock_memory(&job.state_dir).ok();
            let (stop, state_dir) = (Arc::clone(stop), job.state_dir.clone());
            let mut stopped: FaultPoint = Box::new(move |_| {
                if stop.load(Ordering::Acquire) || Records::stood_down(&state_dir) {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            apply(&job.hierarchy, &job.changes, Some(&mut stopped))
        })
    }

    /// The same with another way to carry out a job.
    pub(super) fn with(
        bell: impl Fn() + Send + 'static,
        mut carry_out: impl FnMut(&Job, &Arc<AtomicBool>) -> Outcome + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, todo) = mpsc::sync_channel::<Job>(1);
        let (tell, done) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        // Not joined at the end: it may be in the kernel for long.
        std::thread::Builder::new()
            .name("memory nodes".to_owned())
            .spawn(move || {
                for job in todo {
                    let began = Instant::now();
                    let outcome = carry_out(&job, &stopping);
                    if tell.send((outcome, began.elapsed())).is_err() {
                        break;
                    }
                    bell();
                }
            })?;
        Ok(Self {
            jobs,
            done,
            stop,
            under_way: None,
        })
    }

    /// Whether a job is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// How long the job has been under way, and whose files it writes.
    pub(super) fn under_way(&self) -> Option<(Duration, &BTreeSet<PodUid>)> {
        let under_way = self.under_way.as_ref()?;
        Some((under_way.since.elapsed(), &under_way.pods))
    }

    /// Hands a job over; false where one is under way or the thread is gone, and then nothing of it is done.
    pub(super) fn hand_over(&mut self, job: Job, restored: Vec<(PathBuf, Knob)>) -> bool {
        if self.is_busy() {
            return false;
        }
        let pods = job
            .changes
            .iter()
            .map(|change| change.pod.clone())
            .collect();
        if self.jobs.try_send(job).is_err() {
            return false;
        }
        self.under_way = Some(UnderWay {
            since: Instant::now(),
            pods,
            restored,
        });
        true
    }

    /// The outcome, where it has come back. A thread that ended without one has written an unknown part, which the next plan reads from the kernel.
    pub(super) fn take_done(&mut self, patience: Duration) -> Option<Done> {
        self.under_way.as_ref()?;
        let (outcome, took) = match self.done.recv_timeout(patience) {
            Ok(done) => done,
            Err(mpsc::RecvTimeoutError::Timeout) => return None,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let stopped = Outcome {
                    stopped: true,
                    ..Outcome::default()
                };
                (stopped, Duration::ZERO)
            }
        };
        let under_way = self.under_way.take()?;
        Some(Done {
            outcome,
            took,
            restored: under_way.restored,
        })
    }

    /// Asks the thread to stop between two writes.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
