//! Questions to the API server of a cluster.

use std::path::Path;

use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::{
    Api, Client, Config,
    api::{GetParams, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::Request,
};

use super::error::ClusterError;

/// A client for the cluster that the kubeconfig names.
pub async fn client(kubeconfig: &Path) -> Result<Client, ClusterError> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Whether the API server says that it is ready; otherwise what it says.
pub async fn is_ready(client: &Client) -> Result<(), String> {
    let request = Request::new("")
        .get("readyz", &GetParams::default())
        .map_err(|error| error.to_string())?;
    match client.request_text(request).await {
        Ok(text) if text == "ok" => Ok(()),
        Ok(text) => Err(text),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether the node is there and Ready; otherwise what is known about it.
pub async fn node_is_ready(client: &Client, name: &str) -> Result<(), String> {
    let nodes: Api<Node> = Api::all(client.clone());
    match nodes.get_opt(name).await {
        Ok(Some(node)) if is_ready_node(&node) => Ok(()),
        Ok(Some(node)) => Err(ready_message(&node)),
        Ok(None) => Err(format!("no node {name}")),
        Err(error) => Err(error.to_string()),
    }
}

/// How many nodes with this label (`key=value`) are Ready, and how many there are.
pub async fn count_nodes(client: &Client, label: &str) -> Result<(usize, usize), kube::Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let found = nodes.list(&ListParams::default().labels(label)).await?;
    let ready = found.iter().filter(|node| is_ready_node(node)).count();
    Ok((ready, found.items.len()))
}

/// Whether pods can be created: each needs the service account that a controller makes.
pub async fn default_account_exists(client: &Client) -> Result<(), String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    match accounts.get_opt("default").await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("it is not there yet".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn is_ready_node(node: &Node) -> bool {
    ready_condition(node).is_some_and(|condition| condition.status == "True")
}

fn ready_message(node: &Node) -> String {
    ready_condition(node)
        .and_then(|condition| condition.message.clone())
        .unwrap_or_else(|| "the node has no Ready condition".to_owned())
}

fn ready_condition(node: &Node) -> Option<&k8s_openapi::api::core::v1::NodeCondition> {
    node.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == "Ready")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(status: &str) -> Node {
        serde_json::from_value(json!({"status": {"conditions": [
            {"type": "MemoryPressure", "status": "False"},
            {"type": "Ready", "status": status, "message": "runtime network not ready"},
        ]}}))
        .unwrap()
    }

    #[test]
    fn only_a_true_condition_is_ready() {
        assert!(is_ready_node(&node("True")));
        assert!(!is_ready_node(&node("Unknown")));
        assert!(!is_ready_node(&Node::default()));
    }

    #[test]
    fn reason_is_the_conditions_message() {
        assert_eq!(ready_message(&node("False")), "runtime network not ready");
    }
}
