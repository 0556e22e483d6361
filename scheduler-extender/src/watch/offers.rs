//! Custom resources of nodes into offers.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, pin_mut};
use katalyst_core::quantity::{parse_bytes, parse_count};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_core::units::{Bytes, Millicpu};
use katalyst_crds::constants::condition::{AGENT_READY, TRUE};
use katalyst_crds::constants::resource::{RECLAIMED_MEMORY, RECLAIMED_MILLICPU};
use katalyst_crds::node::CustomNodeResource;
use katalyst_crds::translate::placement;
use katalyst_runtime::{BoxError, Gate};
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::extender::Extender;
use crate::ledger::{Offer, Report, UnixMillis};

/// A custom resource that may not follow its schema: one bad object must not stop the watch of all.
pub type GuardedCnr = DeserializeGuard<CustomNodeResource>;

/// Feeds the ledger until `stopping`; opens `synced` when the first listing is complete.
pub async fn watch_offers(
    extender: Arc<Extender>,
    client: Client,
    synced: Gate,
    stopping: CancellationToken,
) -> Result<(), BoxError> {
    let events = watcher(Api::<GuardedCnr>::all(client), watcher::Config::default())
        .backoff(katalyst_runtime::backoff::watch_backoff())
        .take_until(stopping.cancelled_owned());
    pin_mut!(events);
    let mut complaints = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                let complete = matches!(event, Event::InitDone);
                apply_offer(&extender, event, &mut complaints);
                if complete {
                    synced.open();
                }
            }
            Err(error) => {
                tracing::warn!(%error, "watch of CustomNodeResources broke; what is known stays until it is back");
            }
        }
    }
    Ok(())
}

/// One event. `complaints` remembers what was logged about each node, so that each defect is told once.
pub fn apply_offer(
    extender: &Extender,
    event: Event<GuardedCnr>,
    complaints: &mut BTreeMap<String, String>,
) {
    extender.saw_offer();
    let ledger = extender.ledger();
    match event {
        Event::Init => ledger.begin_offers(),
        Event::InitDone => ledger.finish_offers(),
        Event::Delete(object) => {
            let node = object.name_any();
            complaints.remove(&node);
            ledger.withdraw(&node);
        }
        Event::InitApply(object) | Event::Apply(object) => {
            let node = object.name_any();
            let offer = offer_of(&object);
            match &offer {
                Offer::Malformed { message } if complaints.get(&node) != Some(message) => {
                    tracing::warn!(%node, "CustomNodeResource {node} is malformed, the node takes no pods: {message}");
                    complaints.insert(node.clone(), message.clone());
                }
                Offer::Malformed { .. } => {}
                Offer::Known(report) if report.problems.is_empty() => {
                    complaints.remove(&node);
                }
                Offer::Known(report) => {
                    if complaints.get(&node) != Some(&report.problems) {
                        tracing::warn!(%node, "CustomNodeResource {node} has parts that cannot be read and are given to nobody: {}", report.problems);
                        complaints.insert(node.clone(), report.problems.clone());
                    }
                }
            }
            ledger.offer(&node, offer, extender.now());
        }
    }
}

/// What a custom resource offers.
pub fn offer_of(object: &GuardedCnr) -> Offer {
    match &object.0 {
        Err(invalid) => Offer::Malformed {
            message: invalid.error.clone(),
        },
        Ok(cnr) => known(cnr).unwrap_or_else(|message| Offer::Malformed { message }),
    }
}

fn known(cnr: &CustomNodeResource) -> Result<Offer, String> {
    let allocatable = cnr
        .status
        .as_ref()
        .and_then(|status| status.resources.as_ref()?.allocatable.as_ref());
    let text = |key: &str| {
        allocatable
            .and_then(|list| list.get(key))
            .map(|quantity| quantity.0.as_str())
    };
    let field = |key: &str, error: katalyst_core::quantity::QuantityError| {
        format!("status.resources.allocatable[{key}]: {error}")
    };
    let cpu = text(RECLAIMED_MILLICPU)
        .map_or(Ok(0), parse_count)
        .map_err(|error| field(RECLAIMED_MILLICPU, error))?;
    let memory = text(RECLAIMED_MEMORY)
        .map_or(Ok(Bytes::ZERO), parse_bytes)
        .map_err(|error| field(RECLAIMED_MEMORY, error))?;
    let report = cnr
        .status
        .as_ref()
        .and_then(|status| status.node_metric_status.as_ref()?.update_time.as_ref());
    let (machine, problems) = placement::machine(cnr);
    Ok(Offer::Known(Report {
        allocatable: Reclaimed {
            cpu: Millicpu::new(cpu),
            memory,
        },
        agent_ready: report.is_some()
            && cnr
                .condition(AGENT_READY)
                .is_some_and(|condition| condition.status == TRUE),
        reported: report.map_or(UnixMillis::MIN, |time| time.0.as_millisecond()),
        machine: Arc::new(machine),
        taints: placement::taints(cnr).into(),
        load: placement::load(cnr),
        held: placement::reported(cnr),
        problems: problems.join("; "),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offer(status: &serde_json::Value) -> Offer {
        let object = json!({
            "apiVersion": "node.katalyst.kubewharf.io/v1alpha1", "kind": "CustomNodeResource",
            "metadata": {"name": "n"}, "spec": {}, "status": status,
        });
        offer_of(&serde_json::from_value(object).unwrap())
    }

    fn status(millicpu: &str, ready: &str) -> serde_json::Value {
        json!({
            "resources": {"allocatable": {RECLAIMED_MILLICPU: millicpu, RECLAIMED_MEMORY: "8Gi"}},
            "conditions": [{"type": "AgentReady", "status": ready}],
            "nodeMetricStatus": {"updateTime": "2026-01-01T00:00:00Z"},
        })
    }

    #[test]
    fn an_offer_is_read() {
        let Offer::Known(report) = offer(&status("4k", "True")) else {
            panic!("malformed")
        };
        assert_eq!(report.allocatable, Reclaimed::new(4000, 8 << 30));
        assert!(report.agent_ready);
        assert_eq!(report.reported, 1_767_225_600_000);
        assert!(report.machine.cards().is_empty() && report.problems.is_empty());
    }

    #[test]
    fn cards_are_read_and_one_that_cannot_be_costs_itself() {
        let card = |name: &str, attributes: serde_json::Value| json!({"type": "GPU", "name": name, "attributes": attributes});
        let mut status = status("4k", "True");
        status["topologyZone"] = json!([{"type": "Socket", "name": "0", "children": [{"type": "Numa", "name": "0", "children": [
            card("0000:01:00.0", json!([{"name": "uuid", "value": "GPU-a"}])),
            card("0000:02:00.0", json!([])),
        ]}]}]);
        let Offer::Known(report) = offer(&status) else {
            panic!("malformed")
        };
        let healthy: Vec<bool> = report
            .machine
            .cards()
            .iter()
            .map(|card| card.healthy)
            .collect();
        assert_eq!(healthy, [true, false]);
        assert_eq!(
            report.problems,
            "status.topologyZone: GPU 0000:02:00.0: it has neither UUID nor device number"
        );
    }

    #[test]
    fn a_node_whose_agent_is_silent_or_never_spoke_is_not_ready() {
        assert!(matches!(
            offer(&status("4k", "False")),
            Offer::Known(Report {
                agent_ready: false,
                ..
            })
        ));
        assert!(matches!(
            offer(&json!({})),
            Offer::Known(Report {
                agent_ready: false,
                reported: UnixMillis::MIN,
                ..
            })
        ));
    }

    #[test]
    fn nonsense_is_named_with_field_and_value() {
        let Offer::Malformed { message } = offer(&status("many", "True")) else {
            panic!("accepted")
        };
        assert!(message.starts_with("status.resources.allocatable[resource.katalyst.kubewharf.io/reclaimed_millicpu]: \"many\""), "{message}");
    }

    #[test]
    fn a_wrong_type_is_malformed_and_not_an_error_of_the_watch() {
        assert!(matches!(
            offer(&json!({"conditions": "fine"})),
            Offer::Malformed { .. }
        ));
    }
}
