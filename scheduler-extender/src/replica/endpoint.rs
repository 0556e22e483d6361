//! Points the Service at the leader: the Service has no selector, and the leader writes its one `EndpointSlice`.
//!
//! A new leader overwrites the address of the old one at once, also where the old one's machine is gone and nobody has noticed.
//! Field `nodeName` is left out: it would only matter to topology-aware routing, which one endpoint has no use for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::{
    Endpoint as SliceEndpoint, EndpointConditions, EndpointPort, EndpointSlice,
};
use katalyst_crds::constants::field_manager;
use kube::Client;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use tokio_util::sync::CancellationToken;

/// Name of the Service's port; the slice's port must bear it.
pub const PORT_NAME: &str = "extender";
/// How often the slice is written again, so that a lost one comes back.
const AGAIN: Duration = Duration::from_secs(30);
/// How soon after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Limit for one write.
const LIMIT: Duration = Duration::from_secs(5);

/// Where this replica answers, and for which Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Namespace of the Service.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// This replica's address.
    pub address: IpAddr,
    /// The port of the verbs.
    pub port: u16,
}

/// The slice that makes `endpoint` the Service's only one.
pub fn slice(endpoint: &Endpoint) -> EndpointSlice {
    let Endpoint {
        namespace,
        service,
        address,
        port,
    } = endpoint;
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(service.clone()),
            namespace: Some(namespace.clone()),
            labels: Some(BTreeMap::from([
                ("kubernetes.io/service-name".to_owned(), service.clone()),
                (
                    "endpointslice.kubernetes.io/managed-by".to_owned(),
                    "katalyst-scheduler-extender".to_owned(),
                ),
            ])),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: vec![SliceEndpoint {
            addresses: vec![address.to_string()],
            conditions: Some(EndpointConditions {
                ready: Some(true),
                ..EndpointConditions::default()
            }),
            ..SliceEndpoint::default()
        }],
        ports: Some(vec![EndpointPort {
            name: Some(PORT_NAME.to_owned()),
            port: Some(i32::from(*port)),
            protocol: Some("TCP".to_owned()),
            ..EndpointPort::default()
        }]),
    }
}

/// Writes the slice now and again until `stopping`.
pub async fn keep_pointed(client: Client, endpoint: Endpoint, stopping: CancellationToken) {
    let slices: Api<EndpointSlice> = Api::namespaced(client, &endpoint.namespace);
    let params = PatchParams::apply(field_manager::SCHEDULER_EXTENDER).force();
    let wanted = slice(&endpoint);
    let mut told = String::new();
    loop {
        let patch = Patch::Apply(&wanted);
        let write = slices.patch(&endpoint.service, &params, &patch);
        let result = match tokio::time::timeout(LIMIT, write).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {LIMIT:?}")),
        };
        let pause = match result {
            Ok(()) => {
                told.clear();
                AGAIN
            }
            Err(error) => {
                if error != told {
                    tracing::warn!(%error, "EndpointSlice {}/{} cannot be written; the Service leads nowhere, or to the leader before", endpoint.namespace, endpoint.service);
                    told = error;
                }
                RETRY
            }
        };
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slice_belongs_to_the_service_and_has_its_ports_name() {
        let endpoint = Endpoint {
            namespace: "katalyst-system".to_owned(),
            service: "katalyst-scheduler-extender".to_owned(),
            address: "10.1.2.3".parse().unwrap(),
            port: 10262,
        };
        let json = serde_json::to_value(slice(&endpoint)).unwrap();
        assert_eq!(
            json["metadata"]["labels"]["kubernetes.io/service-name"],
            "katalyst-scheduler-extender"
        );
        assert_eq!(json["addressType"], "IPv4");
        assert_eq!(json["endpoints"][0]["addresses"][0], "10.1.2.3");
        assert_eq!(json["ports"][0]["port"], 10262);
        let manifest = include_str!("../../../manifests/base/scheduler-extender/service.yaml");
        assert!(manifest.contains(&format!("name: {PORT_NAME}, port:")));
        assert!(
            !manifest.contains("\n  selector:"),
            "a selector would bring the other replica in"
        );
    }
}
