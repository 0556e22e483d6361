//! The pods that scenarios use, as manifests.

use serde_json::{Value, json};

use super::world::NAMESPACE;

/// A busy loop in a shell, `threads` of them.
pub(super) fn busy(threads: usize) -> String {
    let mut script = String::new();
    for _ in 1..threads {
        script.push_str("(while :; do :; done) & ");
    }
    script.push_str("while :; do :; done");
    script
}

/// A script that waits for ever and ends at once when told to.
pub(super) const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 1 & wait; done";

fn pod(
    name: &str,
    node: Option<&str>,
    annotations: &Value,
    resources: &Value,
    script: &str,
) -> Value {
    let mut spec = json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "main",
            "image": "katalyst.local/busybox:1",
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/busybox", "sh", "-c", script],
            "resources": resources,
        }],
    });
    let selector = match node {
        Some(node) => json!({"kubernetes.io/hostname": node}),
        None => json!({}),
    };
    if let Some(spec) = spec.as_object_mut() {
        spec.insert("nodeSelector".into(), selector);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations, "labels": {"app": name}},
        "spec": spec,
    })
}

/// A batch pod as Katalyst's users write it.
pub(super) fn reclaimed(
    name: &str,
    node: Option<&str>,
    millicpu: &str,
    memory: &str,
    script: &str,
) -> Value {
    let amounts = json!({
        "resource.katalyst.kubewharf.io/reclaimed_millicpu": millicpu,
        "resource.katalyst.kubewharf.io/reclaimed_memory": memory,
    });
    pod(
        name,
        node,
        &json!({"katalyst.kubewharf.io/qos_level": "reclaimed_cores"}),
        &json!({"requests": amounts, "limits": amounts}),
        script,
    )
}

/// A service pod with a CPU request and limit.
pub(super) fn service(name: &str, node: Option<&str>, cpu: &str, script: &str) -> Value {
    pod(
        name,
        node,
        &json!({"katalyst.kubewharf.io/qos_level": "shared_cores"}),
        &json!({"requests": {"cpu": "100m", "memory": "16Mi"}, "limits": {"cpu": cpu, "memory": "128Mi"}}),
        script,
    )
}

/// A best-effort pod that knows nothing of us.
pub(super) fn best_effort(name: &str, node: Option<&str>, script: &str) -> Value {
    pod(name, node, &json!({}), &json!({}), script)
}

/// A pod with any annotations.
pub(super) fn annotated(
    name: &str,
    node: Option<&str>,
    annotations: &Value,
    resources: &Value,
) -> Value {
    pod(name, node, annotations, resources, IDLE)
}

/// A pod that tells in its log what it sees of its own placement.
pub(super) fn seen(name: &str, node: &str, annotations: &Value, resources: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [{
                "name": "main",
                "image": "katalyst.local/workload:dev",
                "imagePullPolicy": "IfNotPresent",
                "args": ["seen"],
                "resources": resources,
            }],
        },
    })
}
