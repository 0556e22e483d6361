//! How other threads reach the reflex thread: a queue of requests, and a bell (an eventfd) that wakes it.
//!
//! The state of the reflex (what is sampled, recorded, planned, written) belongs to one thread and needs no lock. Whoever needs something
//! of it - an NRI answer that must be planned before the runtime goes on, a pod that the watch has just seen - hands over a closure, which
//! the thread runs between its samples. [`Mailbox::ask`] waits for the answer, bounded; [`Mailbox::tell`] does not wait;
//! [`Mailbox::wake`] only rings, for news that the thread finds by itself.
//!
//! A request whose asker gave up is still run: what it makes true (room for a new pod) is wanted even when the answer comes too late. The
//! queue is bounded, so that a thread stuck in the kernel costs its askers an error and the process no memory.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, mpsc},
    time::Duration,
};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

use crate::pods::PodIndex;

/// Requests that may wait. A node starts tens of containers a second at most, and each waits for its own answer.
const CAPACITY: usize = 1_024;

/// The moment at which a request is run.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// Nanoseconds on the thread's monotonic clock, the same as in samples.
    pub now_nanos: u64,
    /// The pods as the API server knows them.
    pub index: &'a PodIndex,
}

type Request<S> = Box<dyn FnOnce(&mut S, &Turn<'_>) + Send>;

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Not in time; the request is run later all the same.
    #[error("the reflex thread did not answer within {0:?}")]
    Late(Duration),
    /// Too many requests wait.
    #[error("{CAPACITY} requests wait for the reflex thread")]
    Full,
    /// The thread has ended.
    #[error("the reflex thread has ended")]
    Ended,
}

struct Queue<S> {
    requests: VecDeque<Request<S>>,
    open: bool,
}

struct Shared<S> {
    queue: Mutex<Queue<S>>,
    bell: OwnedFd,
}

impl<S> Shared<S> {
    fn ring(&self) {
        // The only failure is a full counter, and then it rings already.
        rustix::io::write(&self.bell, &1_u64.to_ne_bytes()).ok();
    }
}

/// Hands requests to the thread. Clones share it.
pub struct Mailbox<S> {
    shared: Arc<Shared<S>>,
}

impl<S> Clone for Mailbox<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S> Mailbox<S> {
    /// Wakes the thread to look at what changed outside: the pod index, the wish to stop.
    pub fn wake(&self) {
        self.shared.ring();
    }

    /// Hands over a request and does not wait.
    pub fn tell(
        &self,
        request: impl FnOnce(&mut S, &Turn<'_>) + Send + 'static,
    ) -> Result<(), Unanswered> {
        {
            let mut queue = self.shared.queue.lock();
            if !queue.open {
                return Err(Unanswered::Ended);
            }
            if queue.requests.len() >= CAPACITY {
                return Err(Unanswered::Full);
            }
            queue.requests.push_back(Box::new(request));
        }
        self.shared.ring();
        Ok(())
    }

    /// Hands over a request and waits for its answer, at most `patience`. Blocks: not for a task of an async runtime.
    pub fn ask<A: Send + 'static>(
        &self,
        patience: Duration,
        request: impl FnOnce(&mut S, &Turn<'_>) -> A + Send + 'static,
    ) -> Result<A, Unanswered> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.tell(move |state, turn| {
            // Nobody listens when the asker gave up.
            answer.try_send(request(state, turn)).ok();
        })?;
        answered
            .recv_timeout(patience)
            .map_err(|error| match error {
                mpsc::RecvTimeoutError::Timeout => Unanswered::Late(patience),
                mpsc::RecvTimeoutError::Disconnected => Unanswered::Ended,
            })
    }
}

/// The thread's end. When it is dropped, waiting askers get [`Unanswered::Ended`].
pub struct Inbox<S> {
    shared: Arc<Shared<S>>,
}

impl<S> Drop for Inbox<S> {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.open = false;
        queue.requests.clear();
    }
}

impl<S> Inbox<S> {
    /// Runs what waits now, in the order it came. Requests that come meanwhile wait for the next call, so that they cannot keep the
    /// thread from its samples.
    pub fn run(&self, state: &mut S, turn: &Turn<'_>) {
        // The bell first: a request that comes in between rings again.
        rustix::io::read(&self.shared.bell, &mut [0; 8]).ok();
        let requests = std::mem::take(&mut self.shared.queue.lock().requests);
        for request in requests {
            request(state, turn);
        }
    }

    /// Readable while a request waits or somebody rang.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }
}

/// Both ends.
pub fn mailbox<S>() -> std::io::Result<(Mailbox<S>, Inbox<S>)> {
    let shared = Arc::new(Shared {
        queue: Mutex::new(Queue {
            requests: VecDeque::new(),
            open: true,
        }),
        bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
    });
    Ok((
        Mailbox {
            shared: Arc::clone(&shared),
        },
        Inbox { shared },
    ))
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn turn(index: &PodIndex) -> Turn<'_> {
        Turn {
            now_nanos: 7,
            index,
        }
    }

    fn rings(inbox: &Inbox<Vec<u64>>) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(inbox.bell(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() > 0
    }

    #[test]
    fn requests_run_in_order_and_answers_come_back() {
        let (mailbox, inbox) = mailbox::<Vec<u64>>().unwrap();
        assert!(!rings(&inbox));
        let asker = std::thread::spawn({
            let mailbox = mailbox.clone();
            move || {
                mailbox.tell(|state, _| state.push(1)).unwrap();
                mailbox.ask(PATIENCE, |state, turn| {
                    state.push(turn.now_nanos);
                    state.len()
                })
            }
        });
        let mut state = Vec::new();
        let index = PodIndex::default();
        while state.len() < 2 {
            poll(
                &mut [PollFd::from_borrowed_fd(inbox.bell(), PollFlags::IN)],
                None,
            )
            .unwrap();
            inbox.run(&mut state, &turn(&index));
        }
        assert_eq!(asker.join().unwrap(), Ok(2));
        assert_eq!(state, [1, 7]);
        // A request may be taken before its own ring, which then comes for nothing.
        inbox.run(&mut state, &turn(&index));
        assert_eq!(state, [1, 7]);
        assert!(!rings(&inbox), "the bell is silent once all is done");
        mailbox.wake();
        assert!(rings(&inbox));
    }

    #[test]
    fn an_asker_that_gave_up_still_gets_its_work_done() {
        let (mailbox, inbox) = mailbox::<Vec<u64>>().unwrap();
        let patience = Duration::from_millis(1);
        assert_eq!(
            mailbox.ask(patience, |state, _| state.push(1)),
            Err(Unanswered::Late(patience))
        );
        let mut state = Vec::new();
        inbox.run(&mut state, &turn(&PodIndex::default()));
        assert_eq!(state, [1]);
    }

    #[test]
    fn a_request_that_asks_again_waits_for_the_next_turn() {
        let (mailbox, inbox) = mailbox::<Vec<u64>>().unwrap();
        let again = mailbox.clone();
        mailbox
            .tell(move |_, _| again.tell(|state: &mut Vec<u64>, _| state.push(1)).unwrap())
            .unwrap();
        let mut state = Vec::new();
        let index = PodIndex::default();
        inbox.run(&mut state, &turn(&index));
        assert!(state.is_empty() && rings(&inbox));
        inbox.run(&mut state, &turn(&index));
        assert_eq!(state, [1]);
    }

    #[test]
    fn a_full_or_closed_queue_refuses() {
        let (mailbox, inbox) = mailbox::<Vec<u64>>().unwrap();
        for _ in 0..CAPACITY {
            mailbox.tell(|_, _| {}).unwrap();
        }
        assert_eq!(mailbox.tell(|_, _| {}), Err(Unanswered::Full));
        drop(inbox);
        assert_eq!(mailbox.ask(PATIENCE, |_, _| {}), Err(Unanswered::Ended));
    }

    #[test]
    fn askers_learn_that_the_thread_ended() {
        let (mailbox, inbox) = mailbox::<Vec<u64>>().unwrap();
        let asker = std::thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.ask(PATIENCE, |_, _| {})
        });
        poll(
            &mut [PollFd::from_borrowed_fd(inbox.bell(), PollFlags::IN)],
            None,
        )
        .unwrap();
        drop(inbox);
        assert_eq!(asker.join().unwrap(), Err(Unanswered::Ended));
    }
}
