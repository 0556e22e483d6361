//! The node on the host: containerd with NRI, runc, CNI, kubelet.
//!
//! `/run`, `/var/lib` and `/var/log` are private to the cluster, so every socket and folder is where any other node has it.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{
    component::{ComponentSpec, Endpoint},
    config::Runtime,
    control_plane::Site,
    network,
};
use crate::{image::catalogue, pki::names};

/// Component names.
pub mod component {
    /// The container runtime.
    pub const CONTAINERD: &str = "containerd";
    /// The kubelet.
    pub const KUBELET: &str = "kubelet";
}

/// Where containerd listens.
pub const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// Base name of the host node's certificate files.
pub(super) const KUBELET_CERTIFICATE: &str = "kubelet";

/// The kubelet's usual port; it listens on every address of the node.
const KUBELET_PORT: u16 = 10_250;

/// Most pods on the node.
const MAX_PODS: u32 = 200;

/// Configuration files of the node.
#[derive(Debug, Clone)]
pub(super) struct NodeFiles {
    pub(super) containerd: PathBuf,
    pub(super) cni: PathBuf,
    pub(super) kubelet: PathBuf,
}

impl NodeFiles {
    pub(super) fn new(site: &Site<'_>) -> Self {
        Self {
            containerd: site.run.file("containerd.toml"),
            cni: site.run.file("cni"),
            kubelet: site.run.file("kubelet.yaml"),
        }
    }
}

/// containerd.
pub(super) fn containerd(site: &Site<'_>, files: &NodeFiles, runtime: Runtime) -> ComponentSpec {
    ComponentSpec::new(
        component::CONTAINERD,
        runtime.folder(site.cache).join("containerd"),
        ["--config".into(), files.containerd.clone().into_os_string()],
    )
    .listening_on(Endpoint::Socket(CONTAINERD_SOCKET.into()))
}

/// Configuration file of containerd.
pub(super) fn containerd_config(site: &Site<'_>, files: &NodeFiles, runtime: Runtime) -> String {
    match runtime {
        Runtime::Containerd | Runtime::Containerd21 => version_3(site, files),
        Runtime::Containerd17 => version_2(site, files),
    }
}

/// containerd 1.7, where NRI is off unless it is switched on.
fn version_2(site: &Site<'_>, files: &NodeFiles) -> String {
    format!(
        r#"version = 2
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.nri.v1.nri"]
  disable = false
  socket_path = "/var/run/nri/nri.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{bin}"
  conf_dir = "{cni}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = false
    BinaryName = "{runc}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
"#,
        pause = catalogue::PAUSE,
        bin = site.cache.bin().display(),
        cni = files.cni.display(),
        runc = site.cache.program("runc").display(),
    )
}

/// containerd 2.
fn version_3(site: &Site<'_>, files: &NodeFiles) -> String {
    format!(
        r#"version = 3
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.nri.v1.nri"]
  disable = false
  socket_path = "/var/run/nri/nri.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  # A host without CAP_SYS_RESOURCE cannot lower oom_score_adj, and would fail every sandbox.
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{bin}"]
  conf_dir = "{cni}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
    SystemdCgroup = false
    BinaryName = "{runc}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
"#,
        pause = catalogue::PAUSE,
        bin = site.cache.bin().display(),
        cni = files.cni.display(),
        runc = site.cache.program("runc").display(),
    )
}

/// CNI configuration of the node's pods.
pub(super) fn cni_config(pod_network: &str) -> String {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": pod_network}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": "/run/cni-ipam",
                },
            },
            {"type": "loopback"},
        ],
    })
    .to_string()
}

/// The kubelet.
pub(super) fn kubelet(site: &Site<'_>, files: &NodeFiles) -> ComponentSpec {
    ComponentSpec::new(
        component::KUBELET,
        site.cache.program("kubelet"),
        [
            format!("--config={}", files.kubelet.display()),
            format!(
                "--kubeconfig={}",
                site.kubeconfig(KUBELET_CERTIFICATE).display()
            ),
            format!("--node-ip={}", network::HOST_ADDRESS),
            format!("--hostname-override={}", network::HOST_NODE),
        ],
    )
    .listening_on(Endpoint::Port(KUBELET_PORT))
}

/// Configuration file of the kubelet. `cgroup` is its cgroup root.
pub(super) fn kubelet_config(site: &Site<'_>, cgroup: &str) -> String {
    let file = |path: PathBuf| path.display().to_string();
    let value = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": Ipv4Addr::UNSPECIFIED,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "enforceNodeAllocatable": ["pods"],
        "failSwapOn": false,
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "makeIPTablesUtilChains": false,
        "resolvConf": "",
        "clusterDNS": [network::DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "tlsCertFile": file(site.pki.certificate(KUBELET_CERTIFICATE)),
        "tlsPrivateKeyFile": file(site.pki.key(KUBELET_CERTIFICATE)),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": file(site.pki.certificate(names::CA))},
        },
        "authorization": {"mode": "Webhook"},
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 99,
        "imageGCLowThresholdPercent": 98,
        "maxPods": MAX_PODS,
        "serializeImagePulls": false,
        "registerNode": true,
        "nodeStatusUpdateFrequency": "1s",
        "syncFrequency": "5s",
    });
    format!("{value:#}\n")
}

/// Folders that must exist in the node's private `/run` and `/var/lib` before anything starts.
pub(super) fn folders() -> [&'static Path; 6] {
    [
        "/run/containerd",
        "/run/nri",
        "/run/lock",
        "/var/lib/kubelet",
        "/var/lib/containerd",
        "/var/log/pods",
    ]
    .map(Path::new)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::{cache::Cache, cluster::run_dir::RunDir, pki::CertificateFolder};

    fn with_site(check: impl FnOnce(&Site<'_>)) {
        let cache = Cache::at("/c");
        let run = RunDir::at("/var/tmp/r/a").unwrap();
        let pki = CertificateFolder::at(run.pki());
        check(&Site {
            cache: &cache,
            run: &run,
            pki: &pki,
        });
    }

    #[test]
    fn kubelet_configuration_is_json_with_the_cluster_cgroup() {
        with_site(|site| {
            let value: serde_json::Value =
                serde_json::from_str(&kubelet_config(site, "katalyst-e2e")).unwrap();
            assert_eq!(value["cgroupRoot"], "/katalyst-e2e");
            assert_eq!(value["tlsCertFile"], "/var/tmp/r/a/pki/kubelet.crt");
        });
    }

    #[test]
    fn containerd_uses_our_runc_and_pause_image() {
        with_site(|site| {
            for runtime in Runtime::value_variants() {
                let text = containerd_config(site, &NodeFiles::new(site), *runtime);
                assert!(text.contains("BinaryName = \"/c/bin/runc\""));
                assert!(text.contains(catalogue::PAUSE));
            }
        });
    }

    #[test]
    fn pod_network_is_in_the_cni_configuration() {
        let value: serde_json::Value = serde_json::from_str(&cni_config("10.123.45.0/24")).unwrap();
        let ranges = &value["plugins"][0]["ipam"]["ranges"];
        assert_eq!(ranges[0][0]["subnet"], "10.123.45.0/24");
    }
}
