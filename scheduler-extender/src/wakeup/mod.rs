//! Tells kube-scheduler that rejected pods may fit now, by touching a node's annotation.
//!
//! In kube-scheduler 1.36 a changed annotation of a node is the event `UpdateNodeAnnotation`, and a pod that an extender rejected
//! is queued again on any event (the pseudo plugin `Extender` registers for all of them without a hint).

mod waiting;

pub use waiting::{NODE_INTERVAL, Touch, Waiting};

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use katalyst_crds::constants::field_manager;
use katalyst_runtime::BoxError;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use tokio_util::sync::CancellationToken;

use crate::extender::Extender;

/// Annotation of a node: grows each time the node can take pods that had to wait. Its value carries no meaning to anyone else.
pub const OFFER_GENERATION: &str = "katalyst.kubewharf.io/reclaimed-offer-generation";

/// Shortest time between two looks, so that a burst of changes costs one.
const PAUSE: Duration = Duration::from_millis(250);
/// Longest time between two looks: a touch may have been put off by the limit for each node.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Touches nodes until `stopping`.
pub async fn run(
    extender: Arc<Extender>,
    client: Client,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    let nodes: Api<Node> = Api::all(client);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = extender.ledger().improvement() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        wake(&extender, &nodes).await;
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// One look, one touch at most.
pub async fn wake(extender: &Extender, nodes: &Api<Node>) {
    let Some(touch) = extender.plan_wakeup() else {
        return;
    };
    let generation = extender.now().to_string();
    let patch = serde_json::json!({"metadata": {"annotations": {OFFER_GENERATION: generation}}});
    let params = PatchParams {
        field_manager: Some(field_manager::SCHEDULER_EXTENDER.to_owned()),
        ..PatchParams::default()
    };
    let result = nodes
        .patch_metadata(&touch.node, &params, &Patch::Merge(&patch))
        .await;
    match &result {
        Ok(_) => {
            tracing::info!(node = %touch.node, "node can take a waiting pod; kube-scheduler is told");
        }
        Err(error) => {
            tracing::warn!(node = %touch.node, %error, "annotation {OFFER_GENERATION} cannot be written; waiting pods are tried again later");
        }
    }
    extender.woke(&touch, result.is_ok());
}
