//! The reflex thread: what wakes it.

#![expect(clippy::unwrap_used, reason = "a test: a panic is its failure")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::node::{Layout, MIB, Node};
use katalyst_core::qos::Level;
use katalyst_node_agent::{
    metrics::AgentMetrics,
    pods::PodIndex,
    reflex::{self, Mailbox, Reflex, Snapshot, Thread},
};
use katalyst_runtime::Health;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Far longer than any of this takes; a test that reaches it has failed.
const DEADLINE: Duration = Duration::from_secs(30);

struct Running {
    mailbox: Mailbox<Reflex>,
    pods: watch::Sender<Arc<PodIndex>>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    stopping: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    /// A thread whose samples after the first two are an hour apart: what happens after them, it was woken for.
    fn start(node: &Node) -> Self {
        let (pods, index) = watch::channel(Arc::new(node.index.clone()));
        let (sender, snapshots) = watch::channel(None);
        let (mailbox, inbox) = reflex::mailbox().unwrap();
        let stopping = CancellationToken::new();
        let registry = katalyst_runtime::Metrics::new("test", "0");
        let thread = Thread {
            inbox,
            interval: Duration::from_secs(3_600),
            pods: index,
            snapshots: sender,
            metrics: AgentMetrics::register(&registry),
            beat: Health::new().heartbeat("reflex", DEADLINE),
            stopping: stopping.clone(),
        };
        let reflex = node.reflex();
        let thread = std::thread::spawn(move || thread.run(reflex).unwrap());
        let running = Self {
            mailbox,
            pods,
            snapshots,
            stopping,
            thread: Some(thread),
        };
        until("the first sample", || {
            running.snapshots.borrow().is_some().then_some(())
        });
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.mailbox.wake();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn until<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = seen() {
            return seen;
        }
        assert!(began.elapsed() < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_request_is_answered_between_samples() {
    let mut node = Node::new(Layout::V2Cgroupfs);
    node.service("dddd-4444");
    let running = Running::start(&node);
    let first = running.snapshots.borrow().as_ref().unwrap().at_nanos;
    let (pods, now) = running
        .mailbox
        .ask(DEADLINE, |_, turn| {
            (turn.index.uids().len(), turn.now_nanos)
        })
        .unwrap();
    assert_eq!(pods, 1);
    assert!(now >= first);
}

#[test]
fn a_new_pod_is_held_without_waiting_for_a_sample() {
    let mut node = Node::new(Layout::V1Systemd);
    node.service("dddd-4444");
    let running = Running::start(&node);
    node.pod("aaaa-1111", Level::Reclaimed, 1_000, 64 * MIB);
    running.pods.send_replace(Arc::new(node.index.clone()));
    running.mailbox.wake();
    until("a quota", || {
        (node.knob("aaaa-1111", "cpu.cfs_quota_us") != "-1").then_some(())
    });
}
