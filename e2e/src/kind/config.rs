//! kind's configuration for one run: the file that users pass to kind themselves, with this run's size and places.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use katalyst_crds::yaml;
use serde_json::{Value, json};

use super::settings::{CLUSTER, Settings, Shape};

/// Where kubeadm puts the scheduler's kubeconfig on a control-plane node.
const SCHEDULER_KUBECONFIG: &str = "/etc/kubernetes/scheduler.conf";

/// What the scheduler's configuration has in its place.
const PLACEHOLDER: &str = "__KUBECONFIG__";

/// Writes kind's configuration and the scheduler's into the run folder; returns the path of the first.
pub fn write(settings: &Settings, shape: &Shape) -> anyhow::Result<PathBuf> {
    let template = settings
        .manifests
        .join("scheduler/kube-scheduler-config.yaml");
    let scheduler = settings.run.join("kube-scheduler-config.yaml");
    let text = scheduler_config(&read(&template)?)
        .with_context(|| format!("in {}", template.display()))?;
    store(&scheduler, &text)?;
    let users = settings.manifests.join("kind/cluster.yaml");
    let cluster = cluster_config(&read(&users)?, shape, &scheduler)
        .with_context(|| format!("in {}", users.display()))?;
    let path = settings.run.join("kind.yaml");
    store(&path, &cluster)?;
    Ok(path)
}

/// The scheduler's configuration for a node that kubeadm set up.
pub fn scheduler_config(template: &str) -> anyhow::Result<String> {
    ensure!(template.contains(PLACEHOLDER), "there is no {PLACEHOLDER}");
    Ok(template.replace(PLACEHOLDER, SCHEDULER_KUBECONFIG))
}

/// The users' configuration with as many workers as `shape` says, the API server at its port, and the scheduler's file taken
/// from `scheduler`.
pub fn cluster_config(users: &str, shape: &Shape, scheduler: &Path) -> anyhow::Result<String> {
    let mut config: Value = yaml::read("kind configuration", users)?;
    let nodes = config
        .get_mut("nodes")
        .and_then(Value::as_array_mut)
        .context("no list `nodes`")?;
    nodes.retain(|node| node.get("role").is_none_or(|role| role != "worker"));
    let mount = nodes
        .first_mut()
        .and_then(|node| node.pointer_mut("/extraMounts/0/hostPath"))
        .context("no mount of the scheduler's configuration in the first node")?;
    *mount = json!(scheduler);
    nodes.extend((0..shape.workers).map(|_| json!({"role": "worker"})));
    let network = config
        .get_mut("networking")
        .and_then(Value::as_object_mut)
        .context("no object `networking`")?;
    network.insert("apiServerAddress".into(), json!("127.0.0.1"));
    network.insert("apiServerPort".into(), json!(shape.port));
    let object = config.as_object_mut().context("not an object")?;
    object.insert("name".into(), json!(CLUSTER));
    let patches = object
        .get_mut("kubeadmConfigPatches")
        .and_then(Value::as_array_mut)
        .context("no list `kubeadmConfigPatches`")?;
    // The store is lost with the cluster in any case, so it need not survive a power cut.
    patches.push(json!(include_str!("etcd-patch.yaml")));
    Ok(yaml::write("kind configuration", &config)?)
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn store(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifests() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests")
    }

    fn rendered(workers: u8) -> Value {
        let users = read(&manifests().join("kind/cluster.yaml")).unwrap();
        let shape = Shape {
            workers,
            port: 1234,
        };
        yaml::read(
            "test",
            &cluster_config(&users, &shape, Path::new("/run/s.yaml")).unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn users_copy_of_the_scheduler_configuration_is_fresh() {
        let template = read(&manifests().join("scheduler/kube-scheduler-config.yaml")).unwrap();
        let copy = manifests().join("kind/kube-scheduler-config.yaml");
        assert_eq!(
            read(&copy).unwrap(),
            scheduler_config(&template).unwrap(),
            "make {} again: sed 's#{PLACEHOLDER}#{SCHEDULER_KUBECONFIG}#' of the template",
            copy.display()
        );
    }

    #[test]
    fn template_without_placeholder_is_refused() {
        assert!(
            scheduler_config("kind: X")
                .unwrap_err()
                .to_string()
                .contains(PLACEHOLDER)
        );
    }

    #[test]
    fn workers_port_and_mount_are_this_runs() {
        for workers in [0, 1, 3] {
            let config = rendered(workers);
            let nodes = config["nodes"].as_array().unwrap();
            assert_eq!(nodes.len(), 1 + usize::from(workers));
            assert_eq!(nodes[0]["role"], "control-plane");
            assert_eq!(nodes[0]["extraMounts"][0]["hostPath"], "/run/s.yaml");
            assert_eq!(config["networking"]["apiServerPort"], 1234);
            assert_eq!(config["networking"]["serviceSubnet"], "10.96.0.0/16");
        }
    }

    #[test]
    fn scheduler_reads_the_mounted_file() {
        let config = rendered(1);
        let inside = config["nodes"][0]["extraMounts"][0]["containerPath"]
            .as_str()
            .unwrap()
            .to_owned();
        let patches = config["kubeadmConfigPatches"].as_array().unwrap();
        let patches: Vec<Value> = patches
            .iter()
            .map(|p| yaml::read("test", p.as_str().unwrap()).unwrap())
            .collect();
        let list = patches
            .iter()
            .find(|p| p["apiVersion"] == "kubeadm.k8s.io/v1beta4")
            .unwrap();
        assert_eq!(list["scheduler"]["extraArgs"][0]["value"], inside);
        assert_eq!(list["scheduler"]["extraVolumes"][0]["hostPath"], inside);
        let map = patches
            .iter()
            .find(|p| p["apiVersion"] == "kubeadm.k8s.io/v1beta3")
            .unwrap();
        assert_eq!(map["scheduler"]["extraArgs"]["config"], inside);
        let etcd = patches.iter().find(|p| p.get("etcd").is_some()).unwrap();
        assert_eq!(
            etcd["etcd"]["local"]["extraArgs"][0]["name"],
            "unsafe-no-fsync"
        );
    }

    #[test]
    fn foreign_configuration_is_refused() {
        let shape = Shape {
            workers: 1,
            port: 1,
        };
        let error = cluster_config("kind: Cluster\n", &shape, Path::new("/s")).unwrap_err();
        assert!(error.to_string().contains("nodes"), "{error}");
    }
}
