//! Hollow nodes: Node objects that kwok keeps alive, and whose pods it plays.

use std::{path::Path, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, api::PostParams};
use serde_json::json;

use super::{
    api,
    component::ComponentSpec,
    components::Components,
    control_plane::Site,
    error::{ClusterError, at},
    wait,
};
use crate::pki::names;

/// Component name of kwok.
pub const COMPONENT: &str = "kwok";
/// Label of hollow nodes.
pub const LABEL: &str = "katalyst.local/hollow";
/// Taint of hollow nodes, so that only pods that are meant for them come: nothing really runs there.
pub const TAINT: &str = "kwok.x-k8s.io/node";

const ANNOTATION: &str = "kwok.x-k8s.io/node";
const STAGES: &str = include_str!("hollow-stages.yaml");
/// Requests in flight while the nodes are created.
const CONCURRENCY: usize = 20;
const LIMIT: Duration = Duration::from_secs(60);

/// Starts kwok, creates `count` nodes and waits until they are Ready.
pub(super) async fn start(
    site: &Site<'_>,
    client: &Client,
    components: &Components,
    count: u32,
) -> Result<(), ClusterError> {
    let stages = site.run.file("hollow-stages.yaml");
    std::fs::write(&stages, STAGES).map_err(at(&stages))?;
    components.start(component(site, &stages))?;
    let nodes: Api<Node> = Api::all(client.clone());
    stream::iter((0..count).map(|index| {
        let nodes = nodes.clone();
        async move { nodes.create(&PostParams::default(), &node(index)?).await }
    }))
    .buffer_unordered(CONCURRENCY)
    .try_collect::<Vec<_>>()
    .await?;
    let label = format!("{LABEL}=true");
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    wait::until(
        "hollow nodes to be Ready",
        LIMIT,
        components,
        async || match api::count_nodes(client, &label).await {
            Ok((ready, _)) if ready >= wanted => Ok(()),
            Ok((ready, _)) => Err(format!("{ready} of {count}")),
            Err(error) => Err(error.to_string()),
        },
    )
    .await
}

fn component(site: &Site<'_>, stages: &Path) -> ComponentSpec {
    ComponentSpec::new(
        COMPONENT,
        site.cache.program("kwok"),
        [
            format!("--kubeconfig={}", site.kubeconfig(names::ADMIN).display()),
            format!("--config={}", stages.display()),
            "--manage-all-nodes=false".to_owned(),
            format!("--manage-nodes-with-annotation-selector={ANNOTATION}=fake"),
            "--node-lease-duration-seconds=40".to_owned(),
            "--server-address=127.0.0.1:10247".to_owned(),
        ],
    )
}

fn node(index: u32) -> Result<Node, kube::Error> {
    let name = format!("hollow-{index}");
    let size = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {ANNOTATION: "fake"},
            "labels": {
                LABEL: "true",
                "kubernetes.io/hostname": name,
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/os": "linux",
            },
        },
        "spec": {"taints": [{"key": TAINT, "value": "fake", "effect": "NoSchedule"}]},
        "status": {"allocatable": size, "capacity": size},
    }))
    .map_err(kube::Error::SerdeError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_pods_stay_away_from_hollow_nodes() {
        let node = node(3).unwrap();
        assert_eq!(node.metadata.name.as_deref(), Some("hollow-3"));
        let taints = node.spec.unwrap().taints.unwrap();
        assert_eq!(taints[0].key, TAINT);
    }

    #[test]
    fn stages_cover_nodes_and_pods() {
        let kinds: Vec<String> = STAGES
            .split("\n---\n")
            .map(|document| {
                let value: serde_json::Value =
                    katalyst_crds::yaml::read("stages", document).unwrap();
                assert_eq!(value["kind"], "Stage");
                value["spec"]["resourceRef"]["kind"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert!(kinds.contains(&"Node".to_owned()) && kinds.contains(&"Pod".to_owned()));
    }
}
