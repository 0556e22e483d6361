use futures::stream;
use k8s_openapi::api::core::v1::Node;
use katalyst_runtime::{Health, Metrics};
use kube::core::PartialObjectMeta;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;

use super::*;
use crate::sinks::NodeSink;

type Item = watcher::Result<Event<PartialObjectMeta<Node>>>;

fn node(name: &str) -> PartialObjectMeta<Node> {
    let mut node = PartialObjectMeta::<Node>::default();
    node.metadata.name = Some(name.to_owned());
    node.metadata.uid = Some(format!("uid-{name}"));
    node
}

struct Bench {
    shared: Shared,
    health: Health,
    send: mpsc::Sender<Item>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), BoxError>>,
}

fn bench() -> Bench {
    let clock = Clock::start();
    let shared = Shared {
        index: Arc::default(),
        changed: Arc::default(),
        clock,
        outage: Outage::new(clock),
        meters: Meters::new(&Metrics::new("test", "0")),
    };
    let health = Health::new();
    let (send, receive) = mpsc::channel(16);
    let events = stream::unfold(receive, |mut receive: mpsc::Receiver<Item>| async {
        Some((receive.recv().await?, receive))
    });
    let stop = CancellationToken::new();
    let gate = health.gate("cache");
    let task = tokio::spawn(run(
        events,
        NodeSink,
        shared.clone(),
        gate,
        stop.clone(),
        StdRng::seed_from_u64(1),
    ));
    Bench {
        shared,
        health,
        send,
        stop,
        task,
    }
}

impl Bench {
    /// Sends `items` and waits until the last of them is taken.
    async fn feed(&self, items: impl IntoIterator<Item = Item>) {
        for item in items {
            self.send.send(item).await.unwrap();
            self.shared.changed.notified().await;
        }
    }

    fn names(&self) -> Vec<String> {
        self.shared.index.read().names()
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_waits_for_the_whole_list() {
    let bench = bench();
    bench
        .feed([Ok(Event::Init), Ok(Event::InitApply(node("n1")))])
        .await;
    assert_eq!(bench.health.pending(), ["cache: not yet"]);
    bench.feed([Ok(Event::InitDone)]).await;
    assert!(bench.health.pending().is_empty());
    bench
        .feed([Ok(Event::Apply(node("n2"))), Ok(Event::Delete(node("n1")))])
        .await;
    assert_eq!(bench.names(), ["n2"]);
    bench.stop.cancel();
    bench.task.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_error_keeps_what_is_known_and_is_over_with_the_next_event() {
    let bench = bench();
    bench
        .feed([
            Ok(Event::Init),
            Ok(Event::InitApply(node("n1"))),
            Ok(Event::InitDone),
        ])
        .await;
    bench
        .send
        .send(Err(watcher::Error::NoResourceVersion))
        .await
        .unwrap();
    bench
        .send
        .send(Err(watcher::Error::NoResourceVersion))
        .await
        .unwrap();
    bench.feed([Ok(Event::Init)]).await;
    assert!(
        bench.shared.outage.is_down("nodes"),
        "the start of a list says nothing about the server"
    );
    assert_eq!(bench.names(), ["n1"]);
    assert!(bench.health.pending().is_empty());
    bench.feed([Ok(Event::InitApply(node("n2")))]).await;
    assert!(!bench.shared.outage.is_down("nodes"));
    bench.feed([Ok(Event::InitDone)]).await;
    assert_eq!(bench.names(), ["n2"]);
}

#[tokio::test(start_paused = true)]
async fn a_restored_watch_in_a_quiet_cluster_is_over_its_outage_soon() {
    let bench = bench();
    bench.feed([Ok(Event::Init), Ok(Event::InitDone)]).await;
    bench
        .send
        .send(Err(watcher::Error::NoResourceVersion))
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(1), async {
        while !bench.shared.outage.is_down("nodes") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    tokio::time::timeout(Duration::from_secs(30), async {
        while bench.shared.outage.is_down("nodes") {
            tokio::time::advance(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_stream_that_ends_is_an_error() {
    let bench = bench();
    drop(bench.send);
    assert!(
        bench
            .task
            .await
            .unwrap()
            .unwrap_err()
            .to_string()
            .contains("nodes")
    );
}
