//! Asks the API server to evict.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::Pod, policy::v1::Eviction},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions},
};
use katalyst_runtime::BoxError;
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::rounds::{Rounds, Selected};
use crate::{
    events::Events, metrics::AgentMetrics, notices::Notices, pods::PodIndex, reflex::Snapshot,
    report::Offer,
};

const NOTICE: &str = "eviction";
/// After a disruption budget said no, or the API server could not answer.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// Reports older than this make the offer that follows from them doubtful.
const REPORT_FRESH: Duration = Duration::from_secs(60);

/// Everything the evicting task needs.
pub struct Evictor {
    /// The client that takes 429 for an answer.
    pub client: Client,
    /// State.
    pub rounds: Rounds,
    /// Only say who would leave.
    pub dry_run: bool,
    /// Ticks.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Pods.
    pub pods: watch::Receiver<Arc<PodIndex>>,
    /// The offer.
    pub offers: watch::Receiver<Offer>,
    /// When a report last arrived.
    pub reported: watch::Receiver<Option<Instant>>,
    /// Events.
    pub events: Events,
    /// Notices.
    pub notices: Notices,
    /// Metrics.
    pub metrics: AgentMetrics,
}

/// Decides on every tick until `stopping`.
pub async fn run(mut evictor: Evictor, stopping: CancellationToken) -> Result<(), BoxError> {
    let epoch = Instant::now();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            changed = evictor.snapshots.changed() => if changed.is_err() {
                stopping.cancelled().await;
                return Ok(());
            },
        }
        let Some(snapshot) = evictor.snapshots.borrow_and_update().clone() else {
            continue;
        };
        let index = Arc::clone(&evictor.pods.borrow());
        let fresh_report = evictor
            .reported
            .borrow()
            .is_some_and(|at| at.elapsed() < REPORT_FRESH);
        let offer = evictor.offers.borrow().fresh().filter(|_| fresh_report);
        let now = epoch.elapsed().as_secs_f64();
        let round = evictor
            .rounds
            .decide(now, Timestamp::now(), offer, &index, &snapshot);
        for selected in round.victims {
            let go_on = tokio::select! {
                () = stopping.cancelled() => return Ok(()),
                go_on = evictor.evict(now, &selected) => go_on,
            };
            if !go_on {
                break;
            }
        }
    }
}

impl Evictor {
    /// Evicts one pod. False: no more in this round.
    async fn evict(&mut self, now: f64, Selected { pod, reason }: &Selected) -> bool {
        let name = pod.full_name();
        if self.dry_run {
            tracing::info!(pod = name, reason, "dry run: would evict");
            self.events.evicted(pod, true, reason);
            self.metrics.eviction("dry_run");
            self.rounds.asked(now, &pod.uid);
            return true;
        }
        match ask(
            &self.client,
            pod.namespace.as_str(),
            &pod.name,
            &pod.object_uid,
        )
        .await
        {
            Ok(()) => {
                tracing::info!(pod = name, reason, "evicted");
                self.notices.clear(NOTICE);
                self.events.evicted(pod, false, reason);
                self.metrics.eviction("evicted");
                self.rounds.asked(now, &pod.uid);
                true
            }
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
                // Gone, or another pod of the same name: nothing to free here.
                self.metrics.eviction("gone");
                self.rounds.asked(now, &pod.uid);
                true
            }
            Err(kube::Error::Api(status)) if status.code == 429 => {
                self.metrics.eviction("budget");
                self.notices.set(
                    NOTICE,
                    format!("a disruption budget holds {name}: {}", status.message),
                );
                self.rounds.back_off(now, REFUSED_PAUSE);
                false
            }
            Err(error) => {
                self.metrics.eviction("failed");
                self.notices
                    .set(NOTICE, format!("cannot evict {name}: {error}"));
                self.rounds.back_off(now, REFUSED_PAUSE);
                false
            }
        }
    }
}

/// One eviction, of this very pod and not of a namesake. Written out because `Api::evict` of kube 5.0 spells the options' field
/// `delete_options`, which the API server does not read: the precondition would be lost.
async fn ask(client: &Client, namespace: &str, name: &str, uid: &str) -> Result<(), kube::Error> {
    let eviction = Eviction {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteOptions::default()
        }),
    };
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let answer: serde_json::Value = pods
        .create_subresource("eviction", name, &PostParams::default(), &eviction)
        .await?;
    tracing::debug!(%answer, "eviction");
    Ok(())
}
