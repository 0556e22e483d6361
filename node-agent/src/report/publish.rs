//! Sends the report.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use katalyst_crds::{
    constants::field_manager,
    node::{CustomNodeResource, CustomNodeResourceStatus},
};
use katalyst_runtime::{
    BoxError,
    backoff::{Backoff, jittered},
};
use kube::{
    Api, Client, Resource as _,
    api::{Patch, PatchParams},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    machine::{Machine, Told},
    pacing::{Pacing, Reported},
    status::{AgentIdentity, report_status},
};
use crate::{
    metrics::AgentMetrics,
    notices::Notices,
    pods::PodIndex,
    pools::PoolsView,
    reflex::Snapshot,
    topology::{Sensed, Sensor, devices::gpu},
};

const NOTICE: &str = "api: report";
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(20));
/// The spread of the longest pause between reports, so that the nodes of a cluster do not report together.
const SPREAD: f64 = 0.2;

/// Everything the reporting task needs.
pub struct Publisher {
    /// The ordinary client.
    pub client: Client,
    /// The node.
    pub node: String,
    /// Where `/sys` starts.
    pub root: PathBuf,
    /// What the agent says of itself.
    pub agent: AgentIdentity,
    /// The bounds.
    pub pacing: Pacing,
    /// Ticks.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// Reports wait for the first list of pods: without it batch would count as service.
    pub pods: watch::Receiver<Arc<PodIndex>>,
    /// The pools' plan, for what pods hold of zones.
    pub pools: watch::Receiver<Arc<PoolsView>>,
    /// kubelet's directory.
    pub kubelet: PathBuf,
    /// The machine as it was looked at last.
    pub sensed: watch::Sender<Arc<Sensed>>,
    /// When a report last arrived.
    pub arrived: watch::Sender<Option<Instant>>,
    /// Notices.
    pub notices: Notices,
    /// Metrics.
    pub metrics: AgentMetrics,
}

/// Reports until `stopping`. A node whose cgroups cannot be read has no snapshots, falls silent, and is treated as stale: that is right.
pub async fn publish(
    mut publisher: Publisher,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    let api: Api<CustomNodeResource> = Api::all(publisher.client.clone());
    let sensor = Sensor::new(publisher.root.clone(), gpu::library());
    let mut machine = Machine::new(sensor, publisher.kubelet.clone(), publisher.notices.clone());
    let mut last: Option<(Reported, Instant)> = None;
    let mut attempts = BACKOFF.start();
    let mut not_before = Instant::now();
    let mut max = publisher.pacing.max;
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            changed = publisher.snapshots.changed() => if changed.is_err() {
                stopping.cancelled().await;
                return Ok(());
            },
        }
        let Some(snapshot) = publisher.snapshots.borrow_and_update().clone() else {
            continue;
        };
        let pods = publisher.pods.borrow().clone();
        let too_soon = last
            .as_ref()
            .is_some_and(|(_, at)| at.elapsed() < publisher.pacing.min);
        if !pods.synced || too_soon || Instant::now() < not_before {
            continue;
        }
        let pools = publisher.pools.borrow().clone();
        let Told {
            zones,
            policy,
            sensed,
        } = machine.tell(&pods, &pools).await?;
        publisher.sensed.send_if_modified(|last| {
            let changed = !Arc::ptr_eq(last, &sensed);
            if changed {
                *last = sensed;
            }
            changed
        });
        let notices: Vec<String> = publisher
            .notices
            .texts()
            .into_iter()
            .filter(|text| !text.starts_with("api"))
            .collect();
        let now = Reported::of(&snapshot, &zones, &notices);
        let pacing = Pacing {
            max,
            ..publisher.pacing
        };
        if !pacing.due(
            last.as_ref().map(|(reported, at)| (reported, at.elapsed())),
            &now,
        ) {
            continue;
        }
        let status = report_status(
            Timestamp::now(),
            &snapshot,
            zones.to_vec(),
            policy,
            &publisher.agent,
            notices,
        );
        let sent = tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            sent = send(&api, &publisher.node, &status) => sent,
        };
        match sent {
            Ok(()) => {
                publisher.metrics.report("sent");
                publisher.notices.api_reached();
                publisher.notices.clear(NOTICE);
                publisher.arrived.send_replace(Some(Instant::now()));
                last = Some((now, Instant::now()));
                attempts.reset();
                max = jittered(publisher.pacing.max, SPREAD, &mut rand::rng());
            }
            Err(error) => {
                tracing::debug!(%error, "report");
                publisher
                    .metrics
                    .report(tell(&publisher.node, &error, &publisher.notices));
                not_before = Instant::now() + attempts.next_delay(&mut rand::rng());
            }
        }
    }
}

/// Tells the failure, once while it lasts, and names its kind for the metric.
fn tell(node: &str, error: &kube::Error, notices: &Notices) -> &'static str {
    match error {
        kube::Error::Api(status) if status.code == 404 => {
            notices.set(
                NOTICE,
                format!("CustomNodeResource {node} does not exist yet; the controller creates it"),
            );
            "no_object"
        }
        kube::Error::Api(status) => {
            notices.set(
                NOTICE,
                format!("report refused: {} ({})", status.message, status.code),
            );
            "refused"
        }
        _ => {
            notices.api_unreachable();
            "unreachable"
        }
    }
}

/// Server-side apply of the agent's half. Forced, because the fields are the agent's alone: a hand edit of them is healed.
async fn send(
    api: &Api<CustomNodeResource>,
    node: &str,
    status: &CustomNodeResourceStatus,
) -> Result<(), kube::Error> {
    let patch = CustomNodeResource::status_patch(node, status).map_err(kube::Error::SerdeError)?;
    let params = PatchParams::apply(field_manager::NODE_AGENT).force();
    // The answer is not read into a type: the other half may hold what an older agent does not know.
    let request = kube::core::Request::new(CustomNodeResource::url_path(&(), None));
    let request = request
        .patch_subresource("status", node, &params, &Patch::Apply(&patch))
        .map_err(kube::Error::BuildRequest)?;
    api.clone()
        .into_client()
        .request::<serde_json::Value>(request)
        .await
        .map(drop)
}
