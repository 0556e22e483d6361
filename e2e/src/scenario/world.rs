//! What a scenario has to work with: a cluster, the product on it, and a way to look at kernels and to break things.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::kubectl::{Kubectl, wait_for};
use crate::probe::{Limits, Probe};
use crate::product::Product;

/// Namespace of the scenarios' pods.
pub(super) const NAMESPACE: &str = "katalyst-e2e";

/// A cluster with the product installed.
pub struct World {
    /// The cluster.
    pub kubectl: Kubectl,
    /// The product.
    pub product: Product,
    /// Its kernels.
    pub probe: Probe,
    /// Name of the cluster when it is ours and parts of it may be stopped (`cluster fault`).
    pub breakable: Option<String>,
    /// True when the cluster is kind's: its nodes share one kernel.
    pub kind: bool,
    /// The repository.
    pub root: PathBuf,
}

impl World {
    /// What the events about a pod say: of one reason, or all.
    pub fn events(&self, pod: &str, reason: Option<&str>) -> Result<Vec<String>, String> {
        let reason = reason.map_or(String::new(), |reason| format!(",reason={reason}"));
        let which = format!("involvedObject.name={pod}{reason}");
        let events = self
            .kubectl
            .json(&["-n", NAMESPACE, "get", "events", "--field-selector", &which])
            .map_err(|e| e.to_string())?;
        let events = events["items"].as_array().into_iter().flatten();
        Ok(events
            .filter_map(|event| event["message"].as_str().or_else(|| event["note"].as_str()))
            .map(str::to_owned)
            .collect())
    }

    /// Nodes that run containers, in the order of their names.
    pub fn nodes(&self) -> Result<Vec<String>, String> {
        let nodes = self
            .kubectl
            .json(&["get", "nodes", "-l", "!katalyst.local/hollow"])
            .map_err(|e| e.to_string())?;
        Ok(nodes["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|node| {
                node["spec"]["taints"]
                    .as_array()
                    .is_none_or(|taints| taints.iter().all(|t| t["effect"] != "NoSchedule"))
            })
            .filter_map(|node| node["metadata"]["name"].as_str().map(str::to_owned))
            .collect())
    }

    /// The node on which most scenarios run: the host's, or kind's worker.
    pub fn main_node(&self) -> Result<String, String> {
        self.nodes()?
            .into_iter()
            .find(|name| !name.contains("-vm-"))
            .ok_or_else(|| "no node that runs pods".to_owned())
    }

    /// The first virtual-machine node.
    pub fn machine_node(&self) -> Result<Option<String>, String> {
        Ok(self.nodes()?.into_iter().find(|name| name.contains("-vm-")))
    }

    /// A pod as the API server has it.
    pub fn pod(&self, name: &str) -> Result<Value, String> {
        self.kubectl
            .json(&["-n", NAMESPACE, "get", "pod", name])
            .map_err(|e| e.to_string())
    }

    /// Waits until a pod runs; the pod.
    pub fn wait_running(&self, name: &str) -> Result<Value, String> {
        wait_for(
            &format!("pod {name} running"),
            Duration::from_secs(120),
            || {
                let pod = self.pod(name)?;
                let ready = pod["status"]["containerStatuses"]
                    .as_array()
                    .is_some_and(|all| all.iter().all(|c| c["ready"] == true));
                if pod["status"]["phase"] == "Running" && ready {
                    Ok(pod)
                } else {
                    Err(format!(
                        "phase {}, {}",
                        pod["status"]["phase"], pod["status"]["conditions"]
                    ))
                }
            },
        )
    }

    /// The kernel's limits of a running pod.
    pub fn limits(&self, pod: &Value) -> Result<Limits, String> {
        let field = |path: &Value| {
            path.as_str()
                .map(str::to_owned)
                .ok_or_else(|| "pod without node or uid".to_owned())
        };
        self.probe.limits(
            &field(&pod["spec"]["nodeName"])?,
            &field(&pod["metadata"]["uid"])?,
        )
    }

    /// Waits until a node offers at least so much reclaimed CPU (thousandths).
    pub fn wait_offer(&self, node: &str, millicpu: u64) -> Result<u64, String> {
        wait_for(
            &format!("node {node} offers {millicpu}m"),
            Duration::from_secs(150),
            || {
                let offered = crate::product::offered_millicpu(&self.product.cnr(node)?);
                if offered >= millicpu {
                    Ok(offered)
                } else {
                    Err(format!("offers {offered}m"))
                }
            },
        )
    }

    /// Removes a pod at once, if it is there, and waits until it is gone.
    pub fn remove(&self, name: &str) -> Result<(), String> {
        self.kubectl
            .run(&[
                "-n",
                NAMESPACE,
                "delete",
                "pod",
                name,
                "--ignore-not-found",
                "--grace-period=0",
                "--force",
            ])
            .map_err(|e| e.to_string())?;
        Ok(())
    }

    /// Removes every pod of the scenarios at once: in one call, as hundreds of them one by one take minutes.
    pub fn clear(&self) {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods?gracePeriodSeconds=0");
        if let Err(error) = self.kubectl.run(&["delete", "--raw", &path]) {
            println!("    {error}");
        }
    }

    /// Breaks or mends a part of our own cluster: the words of `katalyst-e2e cluster fault`.
    pub fn fault(&self, words: &[&str]) -> Result<String, String> {
        self.cluster(&[&["fault"], words].concat())
    }

    /// Does something with our own cluster: the words of `katalyst-e2e cluster`.
    pub fn cluster(&self, words: &[&str]) -> Result<String, String> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let name = self
            .breakable
            .as_deref()
            .ok_or("this cluster is not ours to break")?;
        let output = Command::new(program)
            .args(["cluster", "--name", name])
            .args(words)
            .output()
            .map_err(|e| e.to_string())?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        if output.status.success() {
            Ok(text)
        } else {
            Err(format!("cluster {}: {text}", words.join(" ")))
        }
    }

    /// The pods of a workload of the product.
    pub fn product_pods(&self, name: &str) -> Result<Vec<Value>, String> {
        let selector = format!("app.kubernetes.io/name={name}");
        let pods = self
            .kubectl
            .json(&[
                "-n",
                crate::product::NAMESPACE,
                "get",
                "pods",
                "-l",
                &selector,
            ])
            .map_err(|e| e.to_string())?;
        Ok(pods["items"].as_array().cloned().unwrap_or_default())
    }
}
