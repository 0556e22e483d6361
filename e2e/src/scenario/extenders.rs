//! The replicas of the extender: who leads, what it says of itself, and how they die.

use std::time::Duration;

use serde_json::Value;

use super::World;
use crate::kubectl::wait_for;
use crate::product;

const NAME: &str = "katalyst-scheduler-extender";

/// The pod that leads, by its lease.
pub(super) fn leader(world: &World) -> Result<Value, String> {
    let holder = holder(world)?;
    let pods = pods(world)?;
    let leads = |pod: &&Value| {
        let name = pod["metadata"]["name"].as_str();
        // A suffix tells one life of a container from the next.
        name.is_some_and(|name| holder.rsplit_once('_').is_some_and(|(pod, _)| pod == name))
    };
    let pod = pods.iter().find(leads).cloned();
    pod.ok_or_else(|| format!("no pod for holder {holder}"))
}

/// Who holds the lease.
pub(super) fn holder(world: &World) -> Result<String, String> {
    let lease = world
        .kubectl
        .json(&["-n", product::NAMESPACE, "get", "lease", NAME])
        .map_err(|error| error.to_string())?;
    let holder = lease["spec"]["holderIdentity"].as_str();
    let holder = holder.filter(|name| !name.is_empty());
    holder
        .map(str::to_owned)
        .ok_or_else(|| "nobody leads".to_owned())
}

/// Waits until somebody else than `before` leads.
pub(super) fn successor(world: &World, before: &str) -> Result<String, String> {
    wait_for("another leader", Duration::from_secs(60), || {
        let now = holder(world)?;
        if now == before {
            Err(format!("still {now}"))
        } else {
            Ok(now)
        }
    })
}

/// Kills the process of a replica, as a crash would: its container starts again.
pub(super) fn kill(world: &World, pod: &Value) -> Result<(), String> {
    let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (node, uid) = (
        field(&pod["spec"]["nodeName"]),
        field(&pod["metadata"]["uid"]),
    );
    // The kernel cuts a command's name after 15 letters.
    world.probe.kill(&node, &uid, "katalyst-sched").map(drop)
}

/// Kills every replica.
pub(super) fn kill_all(world: &World) -> Result<usize, String> {
    let pods = pods(world)?;
    for pod in &pods {
        kill(world, pod)?;
    }
    Ok(pods.len())
}

/// What the leader's ledger holds.
pub(super) fn ledger(world: &World) -> Result<Value, String> {
    let pod = leader(world)?;
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let text = get(world, name, "debug/state/ledger")?;
    serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))
}

/// What a replica serves at `path`.
pub(super) fn get(world: &World, pod: &str, path: &str) -> Result<String, String> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{pod}:10262/proxy/{path}",
        product::NAMESPACE
    );
    world
        .kubectl
        .run(&["get", "--raw", &path])
        .map_err(|error| error.to_string())
}

/// The replicas.
pub(super) fn pods(world: &World) -> Result<Vec<Value>, String> {
    world.product_pods(NAME)
}
