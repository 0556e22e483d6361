//! The small disk that makes a copy of the shared root disk into one particular machine: name, addresses, certificates, or the
//! script of a bare machine. It is a tar archive that the machine's init unpacks over its root.

use std::fs::File;
use std::io;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::error::{VmError, at};
use super::machine::{Machine, Network};

/// What a machine is for.
#[derive(Debug, Clone)]
pub enum Role {
    /// Joins a cluster.
    Node(Credentials),
    /// Runs a script with the shell, reports its output and status, and powers off.
    Bare(BareRun),
}

/// What a node needs to join a cluster, all in PEM or YAML.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The cluster's certificate authority.
    pub ca_certificate: String,
    /// The kubelet's serving certificate, valid for the machine's address and name.
    pub kubelet_certificate: String,
    /// The key of the serving certificate.
    pub kubelet_key: String,
    /// The kubelet's kubeconfig with embedded credentials, its server reachable from the machine.
    pub kubeconfig: String,
    /// Additions to the kubelet's configuration, each a `KubeletConfiguration` in YAML, merged in this order.
    pub kubelet_drop_ins: Vec<String>,
}

/// The work of a bare machine.
#[derive(Debug, Clone, Default)]
pub struct BareRun {
    /// The script.
    pub script: String,
    /// Files to place first: absolute path in the machine, content. They are executable.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Writes the seed disk of `machine` to `path`.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, machine: &Machine, role: &Role) -> Result<(), VmError> {
    let file = File::create(path).map_err(at("create", path))?;
    let mut archive = tar::Builder::new(file);
    for entry in entries(machine, role) {
        append(&mut archive, &entry).map_err(at("write", path))?;
    }
    archive
        .into_inner()
        .and_then(|file| file.sync_data())
        .map_err(at("write", path))
}

struct Entry {
    path: String,
    mode: u32,
    content: Vec<u8>,
}

impl Entry {
    fn text(path: &str, content: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            mode: 0o644,
            content: content.into().into_bytes(),
        }
    }

    fn secret(path: &str, content: &str) -> Self {
        Self {
            mode: 0o600,
            ..Self::text(path, content)
        }
    }
}

fn entries(machine: &Machine, role: &Role) -> Vec<Entry> {
    let mut entries = vec![
        Entry::text("etc/hostname", format!("{}\n", machine.name)),
        Entry::text("etc/machine-id", format!("{}\n", machine_id(&machine.name))),
        Entry::text("etc/hosts", hosts(machine)),
        Entry::text("etc/katalyst-e2e/machine.env", environment(machine)),
    ];
    if let Some(network) = &machine.network {
        entries.push(Entry::text(
            "etc/cni/net.d/10-bridge.conflist",
            pod_network(network),
        ));
    }
    match role {
        Role::Node(credentials) => {
            entries.push(Entry::text(
                "etc/kubernetes/pki/ca.crt",
                &credentials.ca_certificate,
            ));
            entries.push(Entry::text(
                "etc/kubernetes/pki/kubelet.crt",
                &credentials.kubelet_certificate,
            ));
            entries.push(Entry::secret(
                "etc/kubernetes/pki/kubelet.key",
                &credentials.kubelet_key,
            ));
            entries.push(Entry::secret(
                "etc/kubernetes/kubelet.conf",
                &credentials.kubeconfig,
            ));
            for (index, drop_in) in credentials.kubelet_drop_ins.iter().enumerate() {
                entries.push(Entry::text(
                    &format!("etc/kubernetes/kubelet.d/{index:02}.conf"),
                    drop_in,
                ));
            }
        }
        Role::Bare(run) => {
            entries.push(Entry::text("etc/katalyst-e2e/run.sh", &run.script));
            entries.extend(run.files.iter().map(|(path, content)| Entry {
                path: path.trim_start_matches('/').to_owned(),
                mode: 0o755,
                content: content.clone(),
            }));
        }
    }
    entries
}

fn hosts(machine: &Machine) -> String {
    let own = machine.network.as_ref().map_or(String::new(), |network| {
        format!("{} {}\n", network.address, machine.name)
    });
    format!("127.0.0.1 localhost\n{own}")
}

fn environment(machine: &Machine) -> String {
    let (address, gateway) = machine
        .network
        .as_ref()
        .map_or_else(Default::default, |network| {
            (network.address.to_string(), network.gateway.to_string())
        });
    format!(
        "name={}\naddress={address}\ngateway={gateway}\nzram_mib={}\n",
        machine.name, machine.zram_mib
    )
}

/// Stable for a name, so that a machine keeps its identity across starts.
fn machine_id(name: &str) -> String {
    let digest = Sha256::digest(name);
    let id = digest
        .iter()
        .take(16)
        .fold(0_u128, |id, &byte| id << 8 | u128::from(byte));
    format!("{id:032x}")
}

fn pod_network(network: &Network) -> String {
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
                    "ranges": [[{"subnet": network.pod_subnet}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": "/run/cni",
                },
            },
            {"type": "loopback"},
        ],
    })
    .to_string()
}

fn append(archive: &mut tar::Builder<File>, entry: &Entry) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(entry.content.len() as u64);
    header.set_mode(entry.mode);
    archive.append_data(&mut header, &entry.path, entry.content.as_slice())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::net::Ipv4Addr;

    use super::*;

    fn read(path: &Path) -> BTreeMap<String, (u32, String)> {
        tar::Archive::new(File::open(path).unwrap())
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                let mode = entry.header().mode().unwrap();
                let mut content = String::new();
                entry.read_to_string(&mut content).unwrap();
                (path, (mode, content))
            })
            .collect()
    }

    #[test]
    fn a_node_gets_its_identity_and_its_secrets_are_private() {
        let network = Network {
            address: Ipv4Addr::new(10, 200, 0, 3),
            gateway: Ipv4Addr::new(10, 200, 0, 1),
            pod_subnet: "10.123.47.0/24".to_owned(),
            tap: "tap2".to_owned(),
        };
        let machine = Machine::two_nodes("node-vm-2", Some(network));
        let role = Role::Node(Credentials {
            ca_certificate: "ca".to_owned(),
            kubelet_certificate: "certificate".to_owned(),
            kubelet_key: "key".to_owned(),
            kubeconfig: "kubeconfig".to_owned(),
            kubelet_drop_ins: vec!["cpuManagerPolicy: static".to_owned()],
        });
        let directory = tempfile::tempdir().unwrap();
        let disk = directory.path().join("seed.tar");
        write(&disk, &machine, &role).unwrap();
        assert_eq!(
            std::fs::metadata(&disk).unwrap().len() % 512,
            0,
            "a disk is whole sectors"
        );
        let files = read(&disk);
        assert_eq!(
            files["etc/kubernetes/pki/kubelet.key"],
            (0o600, "key".to_owned())
        );
        assert_eq!(files["etc/kubernetes/kubelet.conf"].0, 0o600);
        assert_eq!(
            files["etc/kubernetes/kubelet.d/00.conf"].1,
            "cpuManagerPolicy: static"
        );
        assert_eq!(
            files["etc/katalyst-e2e/machine.env"].1,
            "name=node-vm-2\naddress=10.200.0.3\ngateway=10.200.0.1\nzram_mib=0\n"
        );
        assert!(
            files["etc/cni/net.d/10-bridge.conflist"]
                .1
                .contains("10.123.47.0/24")
        );
        assert_eq!(files["etc/machine-id"].1.trim().len(), 32);
    }

    #[test]
    fn a_bare_machine_gets_its_script_and_files() {
        let run = BareRun {
            script: "probe".to_owned(),
            files: vec![("/usr/bin/probe".to_owned(), b"ELF".to_vec())],
        };
        let directory = tempfile::tempdir().unwrap();
        let disk = directory.path().join("seed.tar");
        write(&disk, &Machine::two_nodes("bare", None), &Role::Bare(run)).unwrap();
        let files = read(&disk);
        assert_eq!(files["etc/katalyst-e2e/run.sh"].1, "probe");
        assert_eq!(files["usr/bin/probe"], (0o755, "ELF".to_owned()));
        assert!(!files.contains_key("etc/kubernetes/kubelet.conf"));
    }
}
