//! Routes between the pod ranges of a home-made image's nodes: what kindnetd does where it exists.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{docker::Docker, tool::wait_for};

/// A node as routes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    name: String,
    address: String,
    pods: String,
}

/// Sets every node's routes to the pods of all others, once each of `count` nodes has its pod range.
pub fn set(docker: &Docker, count: usize) -> anyhow::Result<()> {
    let deadline = Duration::from_secs(60);
    let nodes = wait_for(
        "pod ranges of the nodes",
        deadline,
        Duration::from_millis(500),
        || {
            let listed = docker
                .kubectl()
                .args(["get", "nodes", "--output", "json"])
                .run()?;
            let nodes = parse(&listed)?;
            ensure!(
                nodes.len() == count,
                "{} of {count} nodes have one",
                nodes.len()
            );
            Ok(nodes)
        },
    )?;
    for (node, arguments) in commands(&nodes) {
        docker.in_node(&node).arg("ip").args(&arguments).run()?;
    }
    Ok(())
}

/// Nodes that have an address and a pod range, from `kubectl get nodes --output json`.
fn parse(list: &str) -> anyhow::Result<Vec<Node>> {
    let list: Value = serde_json::from_str(list).context("kubectl printed no JSON")?;
    let items = list
        .get("items")
        .and_then(Value::as_array)
        .context("no list of nodes")?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let node = |item: &Value| {
        let addresses = item.pointer("/status/addresses")?.as_array()?;
        let internal = addresses
            .iter()
            .find(|a| a.get("type").is_some_and(|kind| kind == "InternalIP"));
        Some(Node {
            name: text(item.pointer("/metadata/name"))?,
            address: text(internal?.get("address"))?,
            pods: text(item.pointer("/spec/podCIDR"))?,
        })
    };
    Ok(items.iter().filter_map(node).collect())
}

/// For each node the arguments of `ip` for each other node.
fn commands(nodes: &[Node]) -> Vec<(String, [String; 5])> {
    let pairs = nodes
        .iter()
        .flat_map(|on| nodes.iter().map(move |to| (on, to)));
    pairs
        .filter(|(on, to)| on.name != to.name)
        .map(|(on, to)| {
            let words = ["route", "replace", &to.pods, "via", &to.address];
            (on.name.clone(), words.map(str::to_owned))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_reaches_every_other() {
        let list = r#"{"items":[
            {"metadata":{"name":"a"},"spec":{"podCIDR":"10.244.0.0/24"},
             "status":{"addresses":[{"type":"Hostname","address":"a"},{"type":"InternalIP","address":"172.18.0.2"}]}},
            {"metadata":{"name":"b"},"spec":{"podCIDR":"10.244.1.0/24"},
             "status":{"addresses":[{"type":"InternalIP","address":"172.18.0.3"}]}},
            {"metadata":{"name":"new"},"spec":{},"status":{}}]}"#;
        let nodes = parse(list).unwrap();
        assert_eq!(nodes.len(), 2);
        let found: Vec<String> = commands(&nodes)
            .into_iter()
            .map(|(on, words)| format!("{on}: {}", words.join(" ")))
            .collect();
        assert_eq!(
            found,
            [
                "a: route replace 10.244.1.0/24 via 172.18.0.3",
                "b: route replace 10.244.0.0/24 via 172.18.0.2"
            ]
        );
    }

    #[test]
    fn one_node_needs_no_route() {
        assert!(commands(&[]).is_empty());
        assert!(parse("{}").is_err());
    }
}
