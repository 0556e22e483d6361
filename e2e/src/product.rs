//! The product on a cluster: installed and removed as a user would, with `kubectl apply -k` and `kubectl delete -k`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::kubectl::{Kubectl, wait_for};

/// Namespace of the product.
pub const NAMESPACE: &str = "katalyst-system";

/// An overlay of `manifests/overlays`.
#[derive(Debug, Clone)]
pub struct Product {
    kubectl: Kubectl,
    overlay: PathBuf,
}

impl Product {
    /// The overlay `name` of the repository at `root`.
    pub fn new(kubectl: &Kubectl, root: &Path, name: &str) -> Self {
        Self {
            kubectl: kubectl.clone(),
            overlay: root.join("manifests/overlays").join(name),
        }
    }

    /// `kubectl apply -k`; what it printed. Custom resource definitions and objects of their kinds come in one call, so a second try may be needed while the API server learns the new kinds.
    pub fn apply(&self) -> Result<String, String> {
        let overlay = self.overlay.display().to_string();
        wait_for("kubectl apply -k", Duration::from_secs(60), || {
            self.kubectl
                .run(&["apply", "-k", &overlay])
                .map_err(|e| e.to_string())
        })
    }

    /// The overlay with a component of `manifests/components`; `more` holds further fields of the kustomization.
    /// [`Self::apply`] takes back what it changed of objects, not the objects that it added.
    pub fn apply_with(&self, root: &Path, component: &str, more: &Value) -> Result<(), String> {
        let mut more = more.clone();
        more["components"] = json!([format!("../../../manifests/components/{component}")]);
        self.apply_patched(root, component, &more)
    }

    /// The overlay with further fields of a kustomization, which is written to the folder `name` below `target`.
    pub fn apply_patched(&self, root: &Path, name: &str, more: &Value) -> Result<(), String> {
        let folder = root.join("target/e2e-overlays").join(name);
        let overlay = self.overlay.file_name().unwrap_or_default();
        let mut kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [format!("../../../manifests/overlays/{}", overlay.display())],
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            kustomization[field] = value.clone();
        }
        // JSON is YAML.
        std::fs::create_dir_all(&folder)
            .and_then(|()| {
                std::fs::write(folder.join("kustomization.yaml"), kustomization.to_string())
            })
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let folder = folder.display().to_string();
        self.kubectl
            .run(&["apply", "-k", &folder])
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Differences between the cluster and the manifests, as `kubectl diff` prints them; empty when there are none.
    pub fn diff(&self) -> Result<String, String> {
        let overlay = self.overlay.display().to_string();
        match self.kubectl.run(&["diff", "-k", &overlay]) {
            Ok(text) => Ok(text),
            Err(error) => Ok(error.to_string()),
        }
    }

    /// Waits until every workload is rolled out and every node that runs an agent has a fresh report.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), String> {
        wait_for("product workloads", limit, || {
            for (kind, name) in [
                ("deployment", "katalyst-controllers"),
                ("deployment", "katalyst-scheduler-extender"),
                ("daemonset", "katalyst-node-agent"),
            ] {
                let object = self
                    .kubectl
                    .json(&["-n", NAMESPACE, "get", kind, name])
                    .map_err(|e| e.to_string())?;
                rolled_out(kind, name, &object)?;
            }
            Ok(())
        })?;
        wait_for("fresh reports", limit, || {
            let agents = self
                .kubectl
                .json(&[
                    "-n",
                    NAMESPACE,
                    "get",
                    "pods",
                    "-l",
                    "app.kubernetes.io/name=katalyst-node-agent",
                ])
                .map_err(|e| e.to_string())?;
            let nodes: Vec<String> = agents["items"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|pod| pod["spec"]["nodeName"].as_str().map(str::to_owned))
                .collect();
            for node in &nodes {
                let status = self.cnr(node)?;
                if !ready(&status) {
                    return Err(format!("node {node} has no fresh report yet"));
                }
            }
            if nodes.is_empty() {
                Err("no agent runs".to_owned())
            } else {
                Ok(())
            }
        })
    }

    /// `kubectl delete -k`.
    pub fn delete(&self) -> Result<(), String> {
        let overlay = self.overlay.display().to_string();
        self.kubectl
            .run(&[
                "delete",
                "-k",
                &overlay,
                "--ignore-not-found",
                "--timeout=120s",
            ])
            .map(drop)
            .map_err(|e| e.to_string())
    }

    /// A node's CustomNodeResource.
    pub fn cnr(&self, node: &str) -> Result<Value, String> {
        self.kubectl
            .json(&["get", "customnoderesource", node])
            .map_err(|e| e.to_string())
    }
}

/// True when the object's agent reports.
pub fn ready(cnr: &Value) -> bool {
    cnr["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "AgentReady" && c["status"] == "True")
}

/// What a node offers of reclaimed CPU, in thousandths.
pub fn offered_millicpu(cnr: &Value) -> u64 {
    count(
        &cnr["status"]["resources"]["allocatable"]["resource.katalyst.kubewharf.io/reclaimed_millicpu"],
    )
}

/// An amount in an API object: a number, or a quantity as text; zero when absent or malformed.
pub fn count(value: &Value) -> u64 {
    value
        .as_u64()
        .or_else(|| {
            value
                .as_str()
                .and_then(|text| katalyst_core::quantity::parse_count(text).ok())
        })
        .unwrap_or(0)
}

fn rolled_out(kind: &str, name: &str, object: &Value) -> Result<(), String> {
    let status = |field: &str| object["status"][field].as_u64().unwrap_or(0);
    let current = object["metadata"]["generation"] == object["status"]["observedGeneration"];
    let (wanted, ready) = if kind == "daemonset" {
        (
            status("desiredNumberScheduled"),
            status("numberReady").min(status("updatedNumberScheduled")),
        )
    } else {
        (
            object["spec"]["replicas"].as_u64().unwrap_or(1),
            status("readyReplicas").min(status("updatedReplicas")),
        )
    };
    if current && wanted > 0 && ready == wanted {
        Ok(())
    } else {
        Err(format!("{kind} {name}: {ready} of {wanted} ready"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_counts_only_when_observed() {
        let object = json!({"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": {"observedGeneration": 2, "readyReplicas": 2, "updatedReplicas": 2}});
        assert_eq!(rolled_out("deployment", "x", &object), Ok(()));
        let stale = json!({"metadata": {"generation": 3}, "spec": {"replicas": 2}, "status": {"observedGeneration": 2, "readyReplicas": 2, "updatedReplicas": 2}});
        assert!(rolled_out("deployment", "x", &stale).is_err());
    }

    #[test]
    fn offers_are_read_as_numbers_and_as_quantities() {
        let key = "resource.katalyst.kubewharf.io/reclaimed_millicpu";
        assert_eq!(
            offered_millicpu(&json!({"status": {"resources": {"allocatable": {key: "1k"}}}})),
            1000
        );
        assert_eq!(
            offered_millicpu(&json!({"status": {"resources": {"allocatable": {key: 1500}}}})),
            1500
        );
        assert_eq!(offered_millicpu(&json!({})), 0);
    }
}
