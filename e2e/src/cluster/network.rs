//! The addresses of a cluster, all inside its own network namespace.
//!
//! ```text
//! lo    10.96.0.1            the `kubernetes` Service: the API server itself listens there
//!       10.96.0.10           DNS: CoreDNS itself listens there
//! br0   10.200.0.1/24        nodes: the host node, and virtual machine i at 10.200.0.(1+i)
//! cni0  10.123.45.1/24       pods of the host node; those of machine i are in 10.123.(45+i).0/24
//! ```

use std::net::Ipv4Addr;

/// Name of the node that runs on the host.
pub const HOST_NODE: &str = "node-host";
/// Address of the host node, gateway of the machines.
pub const HOST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
/// First address of the Service range: the `kubernetes` Service.
pub const KUBERNETES_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Addresses of Services.
pub const SERVICE_RANGE: &str = "10.96.0.0/24";
/// Address at which pods look for DNS.
pub const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Addresses of all pods.
pub const POD_RANGE: &str = "10.123.0.0/16";
/// Port of the API server. The usual one, so that the `kubernetes` Service needs no proxy.
pub const API_PORT: u16 = 443;

/// Third byte of the host node's pod network; machine i has the i-th after it.
const HOST_POD_NETWORK: u8 = 45;

/// A virtual machine's place in the network. Machines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachinePlace {
    /// Node name.
    pub node: String,
    /// Node address.
    pub address: Ipv4Addr,
    /// Addresses of its pods.
    pub pod_network: String,
    /// Network device on the host.
    pub tap: String,
}

impl MachinePlace {
    /// The place of machine `index`, counted from 1.
    pub fn new(index: u8) -> Self {
        Self {
            node: format!("node-vm-{index}"),
            address: Ipv4Addr::new(10, 200, 0, index.saturating_add(1)),
            pod_network: pod_network(index),
            tap: format!("tap{index}"),
        }
    }
}

/// Pod network of the host node.
pub fn host_pod_network() -> String {
    pod_network(0)
}

fn pod_network(index: u8) -> String {
    format!("10.123.{}.0/24", HOST_POD_NETWORK.saturating_add(index))
}

/// Names and addresses under which the API server is reached.
pub fn api_server_names() -> Vec<String> {
    [
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "127.0.0.1",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([KUBERNETES_SERVICE.to_string(), HOST_ADDRESS.to_string()])
    .collect()
}

/// Commands for `ip -batch` that make the network for `machines` virtual machines.
pub fn batch(machines: u8) -> String {
    let mut lines = vec![
        "link set lo up".to_owned(),
        format!("address add {KUBERNETES_SERVICE}/32 dev lo"),
        format!("address add {DNS_SERVICE}/32 dev lo"),
        // A bridge without an address of its own takes its lowest port's, so each new port may change it; pods then answer the gateway
        // at an address that is gone, and probes of older pods time out.
        "link add br0 address 0a:00:00:00:00:01 type bridge".to_owned(),
        format!("address add {HOST_ADDRESS}/24 dev br0"),
        "link set br0 up".to_owned(),
        "link add cni0 address 0a:00:00:00:00:02 type bridge".to_owned(),
        format!("address add 10.123.{HOST_POD_NETWORK}.1/24 dev cni0"),
        "link set cni0 up".to_owned(),
        // Programs that look for this machine's address follow the default route.
        "route add default dev br0".to_owned(),
    ];
    for place in (1..=machines).map(MachinePlace::new) {
        let MachinePlace {
            address,
            pod_network,
            tap,
            ..
        } = place;
        lines.push(format!("tuntap add dev {tap} mode tap"));
        lines.push(format!("link set {tap} master br0"));
        lines.push(format!("link set {tap} up"));
        lines.push(format!("route add {pod_network} via {address}"));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_follow_the_host_node() {
        let place = MachinePlace::new(2);
        assert_eq!(place.node, "node-vm-2");
        assert_eq!(place.address, Ipv4Addr::new(10, 200, 0, 3));
        assert_eq!(place.pod_network, "10.123.47.0/24");
        assert_eq!(host_pod_network(), "10.123.45.0/24");
    }

    #[test]
    fn every_machine_gets_a_device_and_a_route() {
        let text = batch(2);
        assert!(text.contains("tuntap add dev tap1 mode tap\n"));
        assert!(text.contains("route add 10.123.47.0/24 via 10.200.0.3\n"));
        assert!(!batch(0).contains("tap"));
    }

    #[test]
    fn api_server_is_known_by_its_service_address() {
        assert!(api_server_names().contains(&"10.96.0.1".to_owned()));
    }
}
