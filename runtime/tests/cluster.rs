//! The parts that only a real API server can confirm: leases and Events as it stores them, over TLS.
//!
//! Run with a cluster in `$KUBECONFIG`: `cargo test -p katalyst-runtime --test cluster -- --ignored`.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failed step ends them"
)]

use std::{net::SocketAddr, time::Duration};

use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::ConfigMap, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use katalyst_runtime::{
    Clients, Component, Leader, Leadership, Process, client,
    flags::ClientArgs,
    lease::{LeaseConfig, LeaseError, elector},
    logging::LogControl,
};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use rand::{SeedableRng, rngs::StdRng};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

async fn connected() -> (Process, Clients) {
    client::install_crypto();
    let component = Component {
        name: "katalyst-runtime-test",
        version: "0",
        admin_addr: SocketAddr::from(([127, 0, 0, 1], 0)),
    };
    let process = Process::new(component, LogControl::detached());
    let clients = process.connect(&ClientArgs::default()).await.unwrap();
    (process, clients)
}

fn unique(prefix: &str) -> String {
    format!("{prefix}-{:08x}", rand::random::<u32>())
}

/// Starts a candidate with short durations.
fn candidate(
    clients: &Clients,
    name: &str,
    identity: &str,
) -> (
    Leader,
    CancellationToken,
    JoinHandle<Result<(), LeaseError>>,
) {
    let config = LeaseConfig {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        identity: identity.to_owned(),
        duration: Duration::from_secs(4),
        renew_deadline: Duration::from_secs(3),
        retry_period: Duration::from_millis(500),
    };
    let (elector, leader) = elector(clients.unretried.clone(), config, StdRng::seed_from_u64(7));
    let release = CancellationToken::new();
    let run = tokio::spawn(elector.run(release.clone()));
    (leader, release, run)
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_elapsed| unreachable!("{what} took longer than {PATIENCE:?}"))
}

#[tokio::test]
#[ignore = "needs a cluster in $KUBECONFIG"]
async fn leadership_passes_by_release_expiry_and_theft() {
    let (_process, clients) = connected().await;
    let name = unique("election");
    let leases = Api::<Lease>::namespaced(clients.api.clone(), "default");

    let (a, release_a, run_a) = candidate(&clients, &name, "a");
    within("first election", a.elected()).await;
    let (b, _release_b, run_b) = candidate(&clients, &name, "b");
    release_a.cancel();
    within("release", run_a).await.unwrap().unwrap();
    within("succession", b.elected()).await;
    assert!(!a.is_current());
    let spec = leases.get(&name).await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("b"));
    assert_eq!(spec.lease_transitions, Some(1));
    assert!(spec.renew_time.is_some() && spec.acquire_time.is_some());

    // A holder that vanishes without a word.
    run_b.abort();
    let (c, _release_c, run_c) = candidate(&clients, &name, "c");
    within("expiry", c.elected()).await;
    assert!(!b.is_current());
    assert!(matches!(c.state(), Leadership::Leading { term: 2, .. }));

    let theft = serde_json::json!({"spec": {"holderIdentity": "thief"}});
    leases
        .patch(&name, &PatchParams::default(), &Patch::Merge(theft))
        .await
        .unwrap();
    let error = within("loss", run_c)
        .await
        .unwrap()
        .expect_err("kept a stolen lease");
    assert!(
        matches!(error, LeaseError::Taken { ref holder, .. } if holder == "thief"),
        "{error}"
    );
    leases
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
#[ignore = "needs a cluster in $KUBECONFIG"]
async fn events_arrive_and_equal_ones_become_a_series() {
    let (process, clients) = connected().await;
    let name = unique("events");
    let maps = Api::<ConfigMap>::namespaced(clients.api.clone(), "default");
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    let map = maps.create(&PostParams::default(), &map).await.unwrap();
    let events = process.events(&clients);
    for _ in 0..2 {
        events.warning(map.object_ref(&()), "Test", "Tested", "seen by a test");
    }
    let outcome = within("stop", process.tasks.drain(PATIENCE)).await;
    assert!(outcome.is_clean(), "{outcome:?}");
    let stored = Api::<Event>::namespaced(clients.api.clone(), "default");
    let about = ListParams::default().fields(&format!("regarding.name={name}"));
    let stored = stored.list(&about).await.unwrap();
    maps.delete(&name, &DeleteParams::default()).await.unwrap();
    assert_eq!(stored.items.len(), 1, "{stored:?}");
    let event = stored.items.first().unwrap();
    assert_eq!(event.series.as_ref().map(|series| series.count), Some(2));
    let text = process.metrics.encode().unwrap();
    assert!(text.contains("katalyst_events_dropped_total 0"), "{text}");
    assert!(
        text.contains("katalyst_api_requests_total{verb=\"POST\",code=\"201\"}"),
        "{text}"
    );
}
