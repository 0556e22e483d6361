//! What a container gets for the devices of its record.
//!
//! | `--device-injection` | GPUs come as | for |
//! |---|---|---|
//! | `nodes` (default) | device nodes, and the environment that NVIDIA's container runtime follows | every runtime with NRI, with no configuration of it: what is given is seen in the container |
//! | `cdi` | names of the Container Device Interface (`nvidia.com/gpu=UUID`), which the runtime resolves by its own specifications | nodes whose vendor writes CDI specifications; containerd 1.7 refuses such containers unless `enable_cdi` is set |
//! | `environment` | environment alone | nodes whose default runtime is NVIDIA's, which makes the nodes and mounts the libraries |
//!
//! Nodes of network and RDMA cards are made in every case: nobody else does. The environment of a part of a card is what HAMi-core, a limiter in user
//! space that is preloaded into the program, reads: `CUDA_DEVICE_MEMORY_LIMIT_N=<MiB>m` for the container's N-th card and one `CUDA_DEVICE_SM_LIMIT` in
//! percent for all of them (its `docs`, and `ENV` lines of HAMi's device plugin). Without the limiter they do nothing, and nothing holds the container
//! to its part: a node can check who shares a card, not how much of it a kernel uses.

use std::path::Path;

use clap::ValueEnum;
use katalyst_crds::devices::{AllocatedGpu, ContainerDevices};

use super::node::{find, nvidia_minor, verbs};
use crate::nri::DeviceNode;

/// Nodes that every user of an NVIDIA card needs.
const NVIDIA_CONTROL: [&str; 3] = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"];
/// Environment variable that NVIDIA's container runtime follows.
const NVIDIA_VISIBLE_DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";
/// Its value for no card.
const NO_CARD: &str = "void";

/// How GPUs come into containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Injection {
    /// As device nodes, with the environment of NVIDIA's container runtime.
    #[default]
    Nodes,
    /// As names of the Container Device Interface.
    Cdi,
    /// As environment of NVIDIA's container runtime alone.
    Environment,
}

/// What a container gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Injected {
    pub(crate) nodes: Vec<DeviceNode>,
    pub(crate) cdi: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Paths that name no device of this machine.
    pub(super) missing: Vec<String>,
}

/// For a container with these devices; `kind` names GPUs in CDI, such as `nvidia.com/gpu`. A container of the pod without a card is told so: images that
/// ask for all cards would see those of others.
pub(super) fn inject(
    root: &Path,
    devices: &ContainerDevices,
    how: Injection,
    kind: &str,
) -> Injected {
    let mut injected = Injected::default();
    let cards: Vec<String> = devices.gpus.iter().map(card).collect();
    let visible = if cards.is_empty() || how == Injection::Cdi {
        NO_CARD.to_owned()
    } else {
        cards.join(",")
    };
    injected
        .env
        .push((NVIDIA_VISIBLE_DEVICES.to_owned(), visible));
    limits(&devices.gpus, &mut injected.env);
    if how == Injection::Cdi {
        injected.cdi = cards.iter().map(|card| format!("{kind}={card}")).collect();
    }
    let of_gpus = (devices.gpus.iter())
        .filter(|_| how == Injection::Nodes)
        .flat_map(|gpu| &gpu.devices);
    let mut paths: Vec<String> = of_gpus.cloned().collect();
    for nic in &devices.nics {
        if nic.devices.is_empty() {
            paths.extend(verbs(root, &nic.name));
        } else {
            paths.extend(nic.devices.iter().cloned());
        }
    }
    paths.sort_unstable();
    paths.dedup();
    let of_nvidia = paths.iter().any(|path| nvidia_minor(path).is_some());
    for path in paths {
        match find(root, &path) {
            Some(node) => injected.nodes.push(node),
            None => injected.missing.push(path),
        }
    }
    if of_nvidia {
        let control = NVIDIA_CONTROL.iter().filter_map(|path| find(root, path));
        injected.nodes.extend(control);
    }
    injected
}

fn limits(gpus: &[AllocatedGpu], env: &mut Vec<(String, String)>) {
    for (number, gpu) in gpus.iter().enumerate() {
        if let Some(mib) = gpu.memory_mib {
            env.push((
                format!("CUDA_DEVICE_MEMORY_LIMIT_{number}"),
                format!("{mib}m"),
            ));
        }
    }
    // One value for all cards: the least, so that none gets more than its part.
    let parts = gpus.iter().filter_map(|gpu| gpu.percent);
    if let Some(percent) = parts.filter(|percent| *percent > 0).min() {
        env.push(("CUDA_DEVICE_SM_LIMIT".to_owned(), percent.to_string()));
    }
}

/// How a card is named to NVIDIA's programs.
fn card(gpu: &AllocatedGpu) -> String {
    match gpu.index {
        Some(index) if gpu.uuid.is_empty() => index.to_string(),
        _ => gpu.uuid.clone(),
    }
}

#[cfg(test)]
mod tests {
    use katalyst_crds::devices::AllocatedNic;

    use super::{super::node::tests::machine, *};

    fn devices() -> ContainerDevices {
        let gpu = |uuid: &str, percent, memory_mib, path: &str| AllocatedGpu {
            uuid: uuid.to_owned(),
            percent,
            memory_mib,
            devices: vec![path.to_owned()],
            ..AllocatedGpu::default()
        };
        ContainerDevices {
            gpus: vec![
                gpu("GPU-1", Some(50), Some(8_192), "/dev/nvidia3"),
                gpu("GPU-2", Some(30), None, "/dev/nvidia0"),
            ],
            nics: vec![AllocatedNic {
                name: "mlx5_0".to_owned(),
                devices: vec![
                    "/dev/infiniband/uverbs0".to_owned(),
                    "/dev/infiniband/uverbs7".to_owned(),
                ],
                ..AllocatedNic::default()
            }],
        }
    }

    fn with(how: Injection) -> Injected {
        inject(machine().path(), &devices(), how, "nvidia.com/gpu")
    }

    fn paths(injected: &Injected) -> Vec<String> {
        (injected.nodes.iter())
            .map(|node| format!("{} {}:{}", node.path.display(), node.major, node.minor))
            .collect()
    }

    fn env(injected: &Injected) -> Vec<String> {
        (injected.env.iter())
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    }

    #[test]
    fn nodes_of_cards_with_their_control_nodes_and_of_rdma() {
        let injected = with(Injection::Nodes);
        assert_eq!(
            paths(&injected),
            [
                "/dev/infiniband/uverbs0 231:192",
                "/dev/nvidia0 195:0",
                "/dev/nvidia3 195:3",
                "/dev/nvidiactl 195:255",
                "/dev/nvidia-uvm 508:0",
                "/dev/nvidia-uvm-tools 508:1"
            ]
        );
        assert_eq!(injected.missing, ["/dev/infiniband/uverbs7"]);
        assert_eq!(
            env(&injected),
            [
                "NVIDIA_VISIBLE_DEVICES=GPU-1,GPU-2",
                "CUDA_DEVICE_MEMORY_LIMIT_0=8192m",
                "CUDA_DEVICE_SM_LIMIT=30"
            ]
        );
        assert!(injected.cdi.is_empty());
    }

    #[test]
    fn an_rdma_card_without_nodes_in_its_record_has_those_of_this_machine() {
        let nic = |name: &str| AllocatedNic {
            name: name.to_owned(),
            ..AllocatedNic::default()
        };
        let devices = ContainerDevices {
            nics: vec![nic("mlx5_0"), nic("eth1")],
            ..ContainerDevices::default()
        };
        let injected = inject(machine().path(), &devices, Injection::Nodes, "k");
        assert_eq!(
            paths(&injected),
            [
                "/dev/infiniband/rdma_cm 10:58",
                "/dev/infiniband/uverbs0 231:192"
            ]
        );
        assert!(injected.missing.is_empty());
    }

    #[test]
    fn names_of_cdi_in_place_of_nodes_and_not_a_second_time_by_environment() {
        let injected = with(Injection::Cdi);
        assert_eq!(
            injected.cdi,
            ["nvidia.com/gpu=GPU-1", "nvidia.com/gpu=GPU-2"]
        );
        assert_eq!(paths(&injected), ["/dev/infiniband/uverbs0 231:192"]);
        assert_eq!(env(&injected)[0], "NVIDIA_VISIBLE_DEVICES=void");
    }

    #[test]
    fn environment_alone_leaves_the_cards_to_nvidias_runtime() {
        let injected = with(Injection::Environment);
        assert_eq!(paths(&injected), ["/dev/infiniband/uverbs0 231:192"]);
        assert_eq!(env(&injected)[0], "NVIDIA_VISIBLE_DEVICES=GPU-1,GPU-2");
    }

    #[test]
    fn a_container_without_cards_sees_none() {
        let none = ContainerDevices::default();
        let injected = inject(machine().path(), &none, Injection::Nodes, "k");
        assert!(injected.nodes.is_empty());
        assert_eq!(env(&injected), ["NVIDIA_VISIBLE_DEVICES=void"]);
    }
}
