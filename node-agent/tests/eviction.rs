//! Who is evicted, and how the API server is asked.

mod api;

use std::time::Duration;

use api::{pod, snapshot};
use jiff::Timestamp;
use katalyst_core::{qos::Level, reclaimed::Reclaimed};
use katalyst_node_agent::{
    cgroup::PodUid,
    eviction::{Round, Rounds, RoundsConfig},
    pods::{PodIndex, PodInfo},
    reflex::Snapshot,
};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn rounds() -> Rounds {
    Rounds::new(RoundsConfig {
        tolerance: Duration::from_secs(60),
        budget: 2,
        pause: Duration::from_secs(10),
    })
}

fn index(pods: &[PodInfo]) -> PodIndex {
    pods.iter().cloned().collect()
}

/// Two pods of 2 CPUs each.
fn two() -> [PodInfo; 2] {
    [
        pod("a", Level::Reclaimed, 2_000),
        pod("b", Level::Reclaimed, 2_000),
    ]
}

fn decide(
    rounds: &mut Rounds,
    now: f64,
    offer: Option<u64>,
    index: &PodIndex,
    snapshot: &Snapshot,
) -> Vec<String> {
    let offer = offer.map(|cpu| Reclaimed::new(cpu, 0));
    let Round { victims } = rounds.decide(now, NOW, offer, index, snapshot);
    victims.into_iter().map(|victim| victim.pod.name).collect()
}

#[test]
fn a_deficit_that_lasts_evicts_and_says_why() {
    let (mut rounds, index, tight) = (rounds(), index(&two()), snapshot(1_000));
    assert!(decide(&mut rounds, 0.0, Some(2_500), &index, &tight).is_empty());
    assert!(decide(&mut rounds, 59.0, Some(2_500), &index, &tight).is_empty());
    let round = rounds.decide(60.0, NOW, Some(Reclaimed::new(2_500, 0)), &index, &tight);
    assert_eq!(round.victims.len(), 1, "one pod covers 1.5 CPUs");
    let reason = &round.victims[0].reason;
    assert!(
        reason.contains("2500m") && reason.contains("rank 1 of 2"),
        "{reason}"
    );
}

#[test]
fn doubt_never_evicts_and_starts_the_clock_anew() {
    let (mut rounds, index, tight) = (rounds(), index(&two()), snapshot(1_000));
    decide(&mut rounds, 0.0, Some(1_000), &index, &tight);
    assert!(
        decide(&mut rounds, 100.0, None, &index, &tight).is_empty(),
        "a stale offer"
    );
    assert!(
        decide(&mut rounds, 101.0, Some(1_000), &index, &tight).is_empty(),
        "the clock starts again"
    );
    let mut unsynced = index.clone();
    unsynced.synced = false;
    assert!(
        decide(&mut rounds, 200.0, Some(1_000), &unsynced, &tight).is_empty(),
        "pods are not known"
    );
}

#[test]
fn a_low_offer_that_the_node_itself_contradicts_evicts_nobody() {
    let (mut rounds, index, roomy) = (rounds(), index(&two()), snapshot(4_000));
    for now in 0..300 {
        assert!(decide(&mut rounds, f64::from(now), Some(0), &index, &roomy).is_empty());
    }
}

#[test]
fn services_daemons_and_pods_on_their_way_out_are_spared() {
    let [a, b] = two();
    let pods = [
        PodInfo {
            protected: true,
            ..a.clone()
        },
        PodInfo {
            terminating: true,
            ..b.clone()
        },
        pod("c", Level::Shared, 4_000),
        pod("d", Level::Reclaimed, 1_000),
    ];
    let (mut rounds, index, tight) = (rounds(), index(&pods), snapshot(100));
    // 5 CPUs allocated, 1 offered; 2 are on their way out, so 2 are missing, and only `d` may go.
    decide(&mut rounds, 0.0, Some(1_000), &index, &tight);
    assert_eq!(
        decide(&mut rounds, 60.0, Some(1_000), &index, &tight),
        ["d"]
    );
}

#[test]
fn an_accepted_eviction_counts_before_the_watch_tells_it() {
    let (mut rounds, index, tight) = (rounds(), index(&two()), snapshot(100));
    decide(&mut rounds, 0.0, Some(2_000), &index, &tight);
    let first = decide(&mut rounds, 60.0, Some(2_000), &index, &tight);
    rounds.asked(60.0, &PodUid::new(first[0].as_str()));
    assert!(
        decide(&mut rounds, 71.0, Some(2_000), &index, &tight).is_empty(),
        "what is leaving is enough"
    );
}

#[test]
fn rounds_pause_and_a_refusal_pauses_longer() {
    let (mut rounds, index, tight) = (rounds(), index(&two()), snapshot(100));
    decide(&mut rounds, 0.0, Some(0), &index, &tight);
    assert_eq!(decide(&mut rounds, 60.0, Some(0), &index, &tight).len(), 2);
    assert!(decide(&mut rounds, 65.0, Some(0), &index, &tight).is_empty());
    rounds.back_off(65.0, Duration::from_secs(30));
    assert!(decide(&mut rounds, 94.0, Some(0), &index, &tight).is_empty());
    assert_eq!(decide(&mut rounds, 95.0, Some(0), &index, &tight).len(), 2);
}

mod wire {
    //! The request, and the answers.

    use std::{sync::Arc, time::Instant};

    use katalyst_node_agent::{
        events,
        eviction::{Evictor, run},
        metrics::AgentMetrics,
        notices::Notices,
        report::Offer,
    };
    use tokio::sync::watch;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::api::{Server, respond};

    /// An evictor whose deficit has lasted already.
    #[expect(
        clippy::unwrap_used,
        clippy::expect_used,
        reason = "a test's own panic is its failure"
    )]
    async fn evict_once(
        dry_run: bool,
        answer: Option<(u16, &str)>,
    ) -> (Option<http::Request<Vec<u8>>>, Notices, String) {
        let (client, mut server) = Server::new();
        let registry = katalyst_runtime::Metrics::new("test", "0");
        let notices = Notices::new();
        let (ticks, snapshots) = watch::channel(None);
        let (_pods, pods) = watch::channel(Arc::new(index(&two())));
        let offer = Offer {
            amounts: Some(Reclaimed::new(2_500, 0)),
            trusted: true,
            connected: true,
        };
        let (_offers, offers) = watch::channel(offer);
        let (_reported, reported) = watch::channel(Some(Instant::now()));
        let (event_sink, _queue) = events::channel();
        let evictor = Evictor {
            client,
            rounds: Rounds::new(RoundsConfig {
                tolerance: Duration::ZERO,
                budget: 1,
                pause: Duration::from_secs(600),
            }),
            dry_run,
            snapshots,
            pods,
            offers,
            reported,
            events: event_sink,
            notices: notices.clone(),
            metrics: AgentMetrics::register(&registry),
        };
        let stopping = CancellationToken::new();
        let task = tokio::spawn(run(evictor, stopping.clone()));
        ticks.send_replace(Some(Arc::new(snapshot(100))));
        let request = match answer {
            Some((code, body)) => {
                let (request, send) = server.next().await;
                respond(send, code, body);
                Some(request)
            }
            None => None,
        };
        let done = || {
            registry
                .encode()
                .unwrap()
                .contains("agent_evictions_total{")
        };
        tokio::time::timeout(Duration::from_secs(10), async {
            while !done() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the eviction is counted");
        stopping.cancel();
        task.await.unwrap().unwrap();
        (request, notices, registry.encode().unwrap())
    }

    #[tokio::test]
    async fn the_eviction_names_the_very_pod() {
        let success =
            r#"{"kind":"Status","apiVersion":"v1","status":"Success","code":201,"metadata":{}}"#;
        let (request, notices, metrics) = evict_once(false, Some((201, success))).await;
        let request = request.unwrap();
        let path = request.uri().path().to_owned();
        let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
        let uid = body["deleteOptions"]["preconditions"]["uid"]
            .as_str()
            .unwrap();
        assert_eq!(path, format!("/api/v1/namespaces/test/pods/{uid}/eviction"));
        assert_eq!(body["apiVersion"], "policy/v1");
        assert!(
            metrics.contains("agent_evictions_total{result=\"evicted\"} 1"),
            "{metrics}"
        );
        assert!(notices.texts().is_empty());
    }

    #[tokio::test]
    async fn a_disruption_budget_is_an_answer() {
        let refused = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":429,"reason":"TooManyRequests","message":"Cannot evict pod as it would violate the pod's disruption budget.","metadata":{}}"#;
        let (_, notices, metrics) = evict_once(false, Some((429, refused))).await;
        assert!(
            metrics.contains("agent_evictions_total{result=\"budget\"} 1"),
            "{metrics}"
        );
        assert!(
            notices.texts()[0].contains("disruption budget"),
            "{:?}",
            notices.texts()
        );
    }

    #[tokio::test]
    async fn a_dry_run_asks_for_nothing() {
        let (_, _, metrics) = evict_once(true, None).await;
        assert!(
            metrics.contains("agent_evictions_total{result=\"dry_run\"} 1"),
            "{metrics}"
        );
    }
}
