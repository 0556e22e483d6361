//! Two replicas: both keep their state from the watches, one leads, and only that one binds.
//!
//! kube-scheduler has one address for all verbs. So both replicas are *ready* once their caches are complete (a rollout ends, a
//! budget counts them), and the leader [points](endpoint) the Service at itself. The other answers filter, prioritize and preempt
//! when it is asked, from its own state, and refuses bind.
//!
//! What the leader before has bound must be known before this one binds: leading begins with a fresh listing of pods, read from the
//! API server after the election ([`crate::watch::Listings`]). A Binding of the former leader that is still on its way then cannot
//! take effect: it was sent while that leader's own clock said that it led, and given up after `--bind-timeout`, which is below
//! the time between the renew deadline and the lease's end (5 s by default).

mod endpoint;
mod mandate;

pub use endpoint::{Endpoint, PORT_NAME, keep_pointed, slice};
pub use mandate::Mandate;

use katalyst_runtime::BoxError;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::watch::Listings;

/// Waits for the election, has pods listed again, and then lets this replica bind and draws the Service's traffic.
pub async fn lead(
    mandate: Mandate,
    listings: Listings,
    client: Client,
    endpoint: Option<Endpoint>,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    let begin = async {
        mandate.elected().await;
        listings.renew().await;
        mandate.accept();
        tracing::info!("this replica leads and binds");
    };
    tokio::select! {
        () = stopping.cancelled() => return Ok(()),
        () = begin => {}
    }
    match endpoint {
        Some(endpoint) => {
            keep_pointed(client, endpoint, stopping).await;
            Ok(())
        }
        None => Ok(()),
    }
}
