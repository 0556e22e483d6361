//! The programs of the control plane and their flags.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use katalyst_crds::yaml::{self, YamlError};
use serde_json::Value;

use super::{
    component::{ComponentSpec, Endpoint},
    network,
    run_dir::RunDir,
};
use crate::{
    cache::Cache,
    pki::{CertificateFolder, names},
};

/// Component names.
pub mod component {
    /// The database.
    pub const ETCD: &str = "etcd";
    /// The API server.
    pub const API_SERVER: &str = "kube-apiserver";
    /// The built-in controllers.
    pub const CONTROLLER_MANAGER: &str = "kube-controller-manager";
    /// The scheduler.
    pub const SCHEDULER: &str = "kube-scheduler";
    /// Services.
    pub const PROXY: &str = "kube-proxy";
    /// Names of Services.
    pub const DNS: &str = "coredns";
}

const ETCD_ENDPOINT: &str = "http://127.0.0.1:2379";
const ISSUER: &str = "https://kubernetes.default.svc";

/// Requests a second that the built-in controllers and the scheduler may send; the defaults (20 and 50) would be what a scale
/// test measures.
const CLIENT_QPS: u32 = 500;
/// Requests beyond that rate that they may save up.
const CLIENT_BURST: u32 = 1_000;

/// What every component needs to know.
#[derive(Debug, Clone)]
pub(super) struct Site<'a> {
    pub(super) cache: &'a Cache,
    pub(super) run: &'a RunDir,
    pub(super) pki: &'a CertificateFolder,
}

impl Site<'_> {
    fn spec(&self, name: &str, arguments: Vec<String>) -> ComponentSpec {
        ComponentSpec::new(name, self.cache.program(name), arguments)
    }

    /// Kubeconfig of a component, for use inside the namespaces.
    pub(super) fn kubeconfig(&self, name: &str) -> PathBuf {
        self.run.pki().join(format!("{name}.conf"))
    }
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

fn path(name: &str, value: &Path) -> String {
    flag(name, value.display())
}

/// etcd, without fsync: a test cluster has nothing to lose.
pub(super) fn etcd(site: &Site<'_>) -> ComponentSpec {
    site.spec(
        component::ETCD,
        vec![
            path("data-dir", &site.run.file("etcd")),
            "--unsafe-no-fsync".to_owned(),
            flag("listen-client-urls", ETCD_ENDPOINT),
            flag("advertise-client-urls", ETCD_ENDPOINT),
            "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
            // Enough for the events of a long scale test.
            flag("quota-backend-bytes", 4_u64 << 30),
        ],
    )
    .listening_on(Endpoint::Port(2379))
}

/// The API server, on the address of the `kubernetes` Service and every other.
pub(super) fn api_server(site: &Site<'_>) -> ComponentSpec {
    let pki = site.pki;
    let ca = pki.certificate(names::CA);
    let certificate = |flag_name: &str, name: &str| path(flag_name, &pki.certificate(name));
    let key = |flag_name: &str, name: &str| path(flag_name, &pki.key(name));
    site.spec(
        component::API_SERVER,
        vec![
            flag("etcd-servers", ETCD_ENDPOINT),
            "--bind-address=0.0.0.0".to_owned(),
            flag("secure-port", network::API_PORT),
            flag("advertise-address", network::HOST_ADDRESS),
            certificate("tls-cert-file", names::APISERVER),
            key("tls-private-key-file", names::APISERVER),
            path("client-ca-file", &ca),
            path("kubelet-certificate-authority", &ca),
            certificate(
                "kubelet-client-certificate",
                names::APISERVER_KUBELET_CLIENT,
            ),
            key("kubelet-client-key", names::APISERVER_KUBELET_CLIENT),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            path(
                "service-account-key-file",
                &pki.service_account_public_key(),
            ),
            path(
                "service-account-signing-key-file",
                &pki.service_account_key(),
            ),
            flag("service-account-issuer", ISSUER),
            flag("service-cluster-ip-range", network::SERVICE_RANGE),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            path("requestheader-client-ca-file", &ca),
            // Required where one authority signs both kinds of client.
            flag("requestheader-allowed-names", names::FRONT_PROXY_CLIENT),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            certificate("proxy-client-cert-file", names::FRONT_PROXY_CLIENT),
            key("proxy-client-key-file", names::FRONT_PROXY_CLIENT),
            // Aggregated APIs and webhooks are reached at their endpoints, without a proxy for Services.
            "--enable-aggregator-routing".to_owned(),
        ],
    )
    .listening_on(Endpoint::Port(network::API_PORT))
}

/// The built-in controllers.
pub(super) fn controller_manager(site: &Site<'_>) -> ComponentSpec {
    let pki = site.pki;
    let mut arguments = own_kubeconfig(site, names::CONTROLLER_MANAGER);
    arguments.extend([
        "--use-service-account-credentials".to_owned(),
        path(
            "service-account-private-key-file",
            &pki.service_account_key(),
        ),
        path("root-ca-file", &pki.certificate(names::CA)),
        path("cluster-signing-cert-file", &pki.certificate(names::CA)),
        path("cluster-signing-key-file", &pki.key(names::CA)),
        flag("kube-api-qps", CLIENT_QPS),
        flag("kube-api-burst", CLIENT_BURST),
    ]);
    site.spec(component::CONTROLLER_MANAGER, arguments)
}

/// The scheduler, with its configuration file where there is one.
pub(super) fn scheduler(site: &Site<'_>, config: Option<&Path>) -> ComponentSpec {
    let mut arguments = own_kubeconfig(site, names::SCHEDULER);
    match config {
        Some(file) => arguments.push(path("config", file)),
        None => arguments.extend([
            flag("kube-api-qps", CLIENT_QPS),
            flag("kube-api-burst", CLIENT_BURST),
        ]),
    }
    site.spec(component::SCHEDULER, arguments)
}

/// A scheduler configuration with the path of its kubeconfig in place, and the request rates of a test cluster unless it has its own.
pub(crate) fn scheduler_config(template: &str, kubeconfig: &Path) -> Result<String, YamlError> {
    let text = template.replace("__KUBECONFIG__", &kubeconfig.display().to_string());
    let mut config: Value = yaml::read("scheduler configuration", &text)?;
    if let Some(connection) = config
        .get_mut("clientConnection")
        .and_then(Value::as_object_mut)
    {
        for (key, rate) in [("qps", CLIENT_QPS), ("burst", CLIENT_BURST)] {
            connection.entry(key).or_insert_with(|| rate.into());
        }
    }
    yaml::write("scheduler configuration", &config)
}

fn own_kubeconfig(site: &Site<'_>, name: &str) -> Vec<String> {
    let kubeconfig = site.kubeconfig(name);
    let mut arguments: Vec<String> = [
        "kubeconfig",
        "authentication-kubeconfig",
        "authorization-kubeconfig",
    ]
    .map(|flag_name| path(flag_name, &kubeconfig))
    .into();
    arguments.extend([
        flag("bind-address", Ipv4Addr::LOCALHOST),
        "--leader-elect=false".to_owned(),
    ]);
    arguments
}

/// CoreDNS, at the address that kubelets give to pods.
pub(super) fn dns(site: &Site<'_>, config: &Path) -> ComponentSpec {
    site.spec(
        component::DNS,
        vec!["-conf".to_owned(), config.display().to_string()],
    )
}

/// Configuration file of CoreDNS. It knows the cluster's names and no others: there is no other network.
pub(super) fn dns_config(site: &Site<'_>) -> String {
    format!(
        ".:53 {{
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
    }}
    cache 5
    loadbalance
}}
",
        kubeconfig = site.kubeconfig(names::ADMIN).display(),
    )
}

/// kube-proxy with nftables.
pub(super) fn proxy(site: &Site<'_>, config: &Path) -> ComponentSpec {
    site.spec(component::PROXY, vec![path("config", config)])
}

/// Configuration file of kube-proxy.
///
/// It runs only on the host node, which is the gateway of the machines too, so it answers for Services everywhere. Replies must
/// come back through it: everything is masqueraded. Connection tracking limits belong to the machine, not to a namespace.
pub(super) fn proxy_config(site: &Site<'_>) -> String {
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: {node}
clientConnection:
  kubeconfig: {kubeconfig}
clusterCIDR: {pods}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
nftables:
  masqueradeAll: true
  minSyncPeriod: 100ms
conntrack:
  maxPerCore: 0
  min: 0
  tcpEstablishedTimeout: 0s
  tcpCloseWaitTimeout: 0s
  udpTimeout: 0s
  udpStreamTimeout: 0s
",
        node = network::HOST_NODE,
        kubeconfig = site.kubeconfig(names::PROXY).display(),
        pods = network::POD_RANGE,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn each_component_is_a_program_of_the_toolchain() {
        with_site(|site| {
            for spec in [
                etcd(site),
                api_server(site),
                controller_manager(site),
                scheduler(site, None),
                proxy(site, Path::new("/p")),
                dns(site, Path::new("/p")),
            ] {
                let name = spec.program.file_name().unwrap().to_str().unwrap();
                assert!(
                    crate::toolchain::family::FAMILIES
                        .iter()
                        .flat_map(|family| family.programs)
                        .any(|program| program.output == name),
                    "{name}"
                );
            }
        });
    }

    #[test]
    fn scheduler_takes_the_file_instead_of_rates() {
        with_site(|site| {
            let with = scheduler(site, Some(Path::new("/s.yaml"))).arguments;
            assert!(with.contains(&"--config=/s.yaml".into()));
            assert!(
                !with
                    .iter()
                    .any(|argument| { argument.to_string_lossy().starts_with("--kube-api-qps") })
            );
        });
    }

    #[test]
    fn scheduler_configuration_gets_its_kubeconfig_and_missing_rates() {
        let template = "clientConnection: {kubeconfig: __KUBECONFIG__, qps: 7}\nextenders: []\n";
        let text = scheduler_config(template, Path::new("/k")).unwrap();
        let value: Value = yaml::read("test", &text).unwrap();
        assert_eq!(value["clientConnection"]["kubeconfig"], "/k");
        assert_eq!(value["clientConnection"]["qps"], 7);
        assert_eq!(value["clientConnection"]["burst"], CLIENT_BURST);
        assert!(scheduler_config("a: [", Path::new("/k")).is_err());
    }

    #[test]
    fn proxy_configuration_is_yaml() {
        with_site(|site| {
            let value: Value = yaml::read("test", &proxy_config(site)).unwrap();
            assert_eq!(value["mode"], "nftables");
            assert_eq!(value["conntrack"]["maxPerCore"], 0);
        });
    }
}
