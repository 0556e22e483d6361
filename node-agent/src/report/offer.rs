//! What the controller offers on this node: the other half of the CustomNodeResource, by a watch on one object.

use futures::{StreamExt as _, pin_mut};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_crds::{
    constants::{
        condition::{AGENT_READY, TRUE},
        resource::RECLAIMED,
    },
    node::CustomNodeResource,
    translate::read_reclaimed,
};
use katalyst_runtime::BoxError;
use kube::{
    Api, Client,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::notices::Notices;

const NOTICE: &str = "offer";
/// `limitedBy` of an offer that follows from no fresh report.
const STALE: &str = "Stale";

/// The offer as it is known here. Anything but a fresh one never evicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offer {
    /// The amounts; `None` where the controller offers nothing (yet), or what it says cannot be read.
    pub amounts: Option<Reclaimed>,
    /// The controller says that it works from this agent's fresh reports.
    pub trusted: bool,
    /// The watch stands.
    pub connected: bool,
}

impl Offer {
    /// The amounts where every doubt is settled.
    pub fn fresh(&self) -> Option<Reclaimed> {
        self.amounts.filter(|_| self.trusted && self.connected)
    }

    /// Reads it from the object. `Err` names the value that means nothing.
    pub fn from_object(object: &CustomNodeResource) -> Result<Self, String> {
        let status = object.status.as_ref();
        let allocatable = status
            .and_then(|s| s.resources.as_ref())
            .and_then(|r| r.allocatable.as_ref());
        let amounts = allocatable
            .filter(|list| RECLAIMED.iter().all(|name| list.contains_key(*name)))
            .map(read_reclaimed)
            .transpose()
            .map_err(|error| format!("status.resources.allocatable: {}", crate::chain(&error)))?;
        let stale = status
            .and_then(|status| status.reclaim.as_ref())
            .is_some_and(|reclaim| {
                [&reclaim.cpu, &reclaim.memory]
                    .into_iter()
                    .flatten()
                    .any(|part| part.limited_by.as_deref() == Some(STALE))
            });
        let ready = object
            .condition(AGENT_READY)
            .is_some_and(|condition| condition.status == TRUE);
        Ok(Self {
            amounts,
            trusted: ready && !stale,
            connected: true,
        })
    }
}

/// Watches the node's object until `stopping`.
pub async fn watch_offer(
    client: Client,
    node: &str,
    offers: watch::Sender<Offer>,
    notices: Notices,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    let api: Api<DeserializeGuard<CustomNodeResource>> = Api::all(client);
    let config = watcher::Config::default().fields(&format!("metadata.name={node}"));
    let stream = watcher(api, config).backoff(katalyst_runtime::backoff::watch_backoff());
    pin_mut!(stream);
    loop {
        let event = tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            event = stream.next() => event,
        };
        match event {
            Some(Ok(Event::Apply(object) | Event::InitApply(object))) => {
                let read = match &object.0 {
                    Ok(object) => Offer::from_object(object),
                    Err(invalid) => Err(format!("the object cannot be read: {}", invalid.error)),
                };
                notices.put(NOTICE, read.as_ref().err().cloned());
                offers.send_replace(read.unwrap_or_default());
            }
            Some(Ok(Event::Delete(_) | Event::Init)) => {
                offers.send_replace(Offer::default());
            }
            Some(Ok(Event::InitDone)) => {}
            // The pods' watch tells the outage; two messages say no more than one.
            Some(Err(error)) => {
                tracing::debug!(%error, "offer watch");
                offers.send_modify(|offer| offer.connected = false);
            }
            None => return Err("the watch on the offer ended".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use katalyst_crds::constants::resource::{RECLAIMED_MEMORY, RECLAIMED_MILLICPU};

    use super::*;

    fn offer(cpu: &str, ready: &str, limited_by: &str) -> Result<Offer, String> {
        Offer::from_object(
            &serde_json::from_value(serde_json::json!({
                "metadata": {"name": "n"}, "spec": {},
                "status": {
                    "resources": {"allocatable": {RECLAIMED_MILLICPU: cpu, RECLAIMED_MEMORY: "1Gi"}},
                    "conditions": [{"type": "AgentReady", "status": ready, "reason": "x", "message": ""}],
                    "reclaim": {"cpu": {"limitedBy": limited_by}},
                },
            }))
            .unwrap(),
        )
    }

    #[test]
    fn only_a_trusted_offer_is_fresh() {
        assert_eq!(
            offer("4k", "True", "SlopeUp").unwrap().fresh(),
            Some(Reclaimed::new(4_000, 1 << 30))
        );
        assert_eq!(offer("4k", "False", "SlopeUp").unwrap().fresh(), None);
        assert_eq!(offer("4k", "True", "Stale").unwrap().fresh(), None);
        let lost = Offer {
            connected: false,
            ..offer("4k", "True", "SlopeUp").unwrap()
        };
        assert_eq!(lost.fresh(), None);
    }

    #[test]
    fn nonsense_is_named_and_nothing_is_no_offer() {
        assert!(
            offer("-4", "True", "x")
                .unwrap_err()
                .contains("reclaimed_millicpu")
        );
        let empty: CustomNodeResource =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "n"}, "spec": {}}))
                .unwrap();
        assert_eq!(Offer::from_object(&empty).unwrap().fresh(), None);
    }
}
