//! Virtual machines as nodes of a cluster.
//!
//! Each is a component `vm-INDEX`, so that faults power it off (`stop`), freeze it (`pause`) and start it again with the disk it had.
//! Its console is `logs/node-vm-INDEX.log`. Machines differ, so that one cluster shows several kinds of node; the kinds repeat:
//!
//! 1. two NUMA nodes;
//! 2. the same with a kernel without pressure stall information;
//! 3. four NUMA nodes at unequal distances, one of them without CPUs, and compressed swap.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    component::ComponentSpec,
    components::Components,
    config::ClusterConfig,
    control_plane::Site,
    error::{ClusterError, at},
    network::{self, MachinePlace},
};
use crate::{
    cache::Cache,
    image::catalogue,
    pki::{Authority, Identity, kubeconfig},
    toolchain::packages,
    vm::{
        assets::{self, Assets},
        error::VmError,
        launch::{self, IMPORT_PORT, IMPORTED},
        machine::{Accelerator, Machine, Network, NumaNode},
        root_image::Contents,
        seed::{Credentials, Role},
    },
};

/// How long a machine may take to import one image.
pub(super) const IMPORT_LIMIT: Duration = Duration::from_secs(240);

impl From<VmError> for ClusterError {
    fn from(error: VmError) -> Self {
        Self::Machine(error.to_string())
    }
}

/// Prepares the files that machines share. Called outside of the namespaces, before anything is started.
pub(super) fn prepare(cache: &Cache, config: &ClusterConfig) -> Result<(), ClusterError> {
    if config.vms > 0 {
        assets::prepare(cache, &contents(cache, config))?;
    }
    Ok(())
}

/// Starts every machine as a component called `vm-INDEX` and returns the names of its nodes.
///
/// Called inside the namespaces, as soon as the network and the certificates are there: booting takes longest.
pub(super) fn start(
    site: &Site<'_>,
    config: &ClusterConfig,
    authority: &Authority,
    components: &Components,
) -> Result<Vec<String>, ClusterError> {
    if config.vms == 0 {
        return Ok(Vec::new());
    }
    route_what_machines_send()?;
    let assets = Assets::in_cache(site.cache, &contents(site.cache, config));
    let mut nodes = Vec::new();
    for index in 1..=config.vms {
        let place = MachinePlace::new(index);
        let role = Role::Node(credentials(authority, &place)?);
        let machine = Machine {
            accelerator: Accelerator::from_env()?,
            ..machine(index, &place)
        };
        let name = format!("vm-{index}");
        let launch = launch::lay_out(
            &machine,
            &role,
            &assets,
            &site.run.file(&name),
            &site.run.logs(),
        )?;
        let program =
            packages::find_program(launch.program).unwrap_or_else(|| launch.program.into());
        components.start(ComponentSpec::new(&name, program, launch.arguments))?;
        nodes.push(place.node);
    }
    Ok(nodes)
}

/// Takes frames between machines past the packet filter, so that what a machine sends to a Service is translated where it is
/// routed. Translated on the bridge, a packet whose Service leads back to the same machine would have to leave by the port it came
/// from, and is dropped. The setting belongs to this network namespace; a kernel without the filter has nothing to set.
fn route_what_machines_send() -> Result<(), ClusterError> {
    let setting = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    if setting.exists() {
        std::fs::write(setting, "0").map_err(at(setting))?;
    }
    Ok(())
}

/// Loads an image archive into running machines.
pub(super) async fn load_image(
    places: Vec<MachinePlace>,
    archive: &Path,
) -> Result<(), ClusterError> {
    if places.is_empty() {
        return Ok(());
    }
    let bytes = tokio::fs::read(archive).await.map_err(at(archive))?;
    let imports = places.into_iter().map(|place| import(place, &bytes));
    futures::future::try_join_all(imports).await?;
    Ok(())
}

/// Sends an archive to the machine's import service and waits for its answer.
async fn import(place: MachinePlace, archive: &[u8]) -> Result<(), ClusterError> {
    let exchange = async {
        let mut stream = TcpStream::connect((place.address, IMPORT_PORT)).await?;
        stream.write_all(archive).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let refused =
        |reason: String| ClusterError::Machine(format!("{}: image import: {reason}", place.node));
    match timeout(IMPORT_LIMIT, exchange).await {
        Ok(Ok(answer)) if answer.trim() == IMPORTED => Ok(()),
        Ok(Ok(answer)) => Err(refused(format!("answered {:?}", answer.trim()))),
        Ok(Err(error)) => Err(refused(error.to_string())),
        Err(_) => Err(refused(format!(
            "no answer within {} s",
            IMPORT_LIMIT.as_secs()
        ))),
    }
}

/// The images of the cache are on the machines' disks already, so that no time is spent importing them at each start.
fn contents(cache: &Cache, config: &ClusterConfig) -> Contents {
    let mut archives = catalogue::archives(cache);
    archives.extend(config.images.iter().cloned());
    Contents::Node(archives)
}

fn machine(index: u8, place: &MachinePlace) -> Machine {
    let network = Network {
        address: place.address,
        gateway: network::HOST_ADDRESS,
        pod_subnet: place.pod_network.clone(),
        tap: place.tap.clone(),
    };
    let base = Machine::two_nodes(&place.node, Some(network));
    match index % 3 {
        1 => base,
        2 => Machine { psi: false, ..base },
        _ => Machine {
            numa: [1, 1, 2, 0]
                .map(|cpus| NumaNode {
                    memory_mib: 512,
                    cpus,
                })
                .to_vec(),
            threads_per_core: 1,
            zram_mib: 512,
            distances: vec![(0, 1, 12), (0, 3, 31), (1, 3, 31), (2, 3, 28)],
            ..base
        },
    }
}

fn credentials(authority: &Authority, place: &MachinePlace) -> Result<Credentials, ClusterError> {
    let identity = Identity::kubelet(&place.node, &place.address.to_string());
    let pair = authority.issue(&identity)?;
    let server = format!("https://{}:{}", network::HOST_ADDRESS, network::API_PORT);
    Ok(Credentials {
        ca_certificate: authority.certificate().to_owned(),
        kubeconfig: kubeconfig(&server, authority.certificate(), &pair)?,
        kubelet_certificate: pair.certificate,
        kubelet_key: pair.key,
        kubelet_drop_ins: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_of_one_cluster_differ() {
        let [first, second, third] =
            [1, 2, 3].map(|index| machine(index, &MachinePlace::new(index)));
        assert!(first.psi && !second.psi && third.psi);
        assert_eq!((first.numa.len(), third.numa.len()), (2, 4));
        assert_eq!(third.name, "node-vm-3");
    }

    #[test]
    fn a_machine_is_the_node_its_certificate_says() {
        let authority = Authority::new("ca").unwrap();
        let credentials = credentials(&authority, &MachinePlace::new(1)).unwrap();
        assert!(credentials.kubeconfig.contains("https://10.200.0.1:443"));
        assert!(credentials.kubelet_key.contains("PRIVATE KEY"));
    }
}
