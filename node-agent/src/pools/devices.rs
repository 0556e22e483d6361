//! Device nodes by their path: major and minor number from the node itself, from its class in sysfs, or, for NVIDIA's, from its driver's entry
//! in `/proc/devices`, since a container of the agent sees no `/dev` of the machine.
//!
//! Sources: `Documentation/admin-guide/devices.txt`; minor numbers of NVIDIA's driver (`nvidiaN` N, `nvidiactl` 255, `nvidia-uvm` 0,
//! `nvidia-uvm-tools` 1, `nvidia-modeset` 254) are those of its own `nvidia-modprobe`.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use katalyst_crds::devices::{AllocatedGpu, ContainerDevices};

use crate::{
    cgroup::file,
    nri::{DeviceKind, DeviceNode},
};

/// Classes whose devices carry the name of their node.
const CLASSES: [&str; 4] = ["infiniband_verbs", "infiniband_mad", "misc", "drm"];
/// Nodes that every user of an NVIDIA card needs.
const NVIDIA_CONTROL: [&str; 3] = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"];
/// Environment variable that NVIDIA's container runtime follows.
const NVIDIA_VISIBLE_DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";

/// What a container gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Injected {
    pub(super) nodes: Vec<DeviceNode>,
    pub(super) env: Vec<(String, String)>,
    /// Paths that name no device of this machine.
    pub(super) missing: Vec<String>,
}

/// Device nodes and environment of a container. A container of the pod without a card gets `void`: images that ask for all cards would see
/// those of others.
pub(super) fn inject(root: &Path, devices: Option<&ContainerDevices>) -> Injected {
    let mut injected = Injected::default();
    let none = ContainerDevices::default();
    let devices = devices.unwrap_or(&none);
    let cards: Vec<String> = devices.gpus.iter().map(card).collect();
    let visible = if cards.is_empty() {
        "void".to_owned()
    } else {
        cards.join(",")
    };
    injected
        .env
        .push((NVIDIA_VISIBLE_DEVICES.to_owned(), visible));
    let mut paths: Vec<&str> = (devices.gpus.iter().flat_map(|gpu| &gpu.devices))
        .chain(devices.nics.iter().flat_map(|nic| &nic.devices))
        .map(String::as_str)
        .collect();
    let of_nvidia = paths.iter().any(|path| nvidia_minor(path).is_some());
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        match node(root, path) {
            Some(node) => injected.nodes.push(node),
            None => injected.missing.push(path.to_owned()),
        }
    }
    if of_nvidia {
        let control = NVIDIA_CONTROL.iter().filter_map(|path| node(root, path));
        injected.nodes.extend(control);
    }
    injected
}

fn card(gpu: &AllocatedGpu) -> String {
    match gpu.index {
        Some(index) if gpu.uuid.is_empty() => index.to_string(),
        _ => gpu.uuid.clone(),
    }
}

fn node(root: &Path, path: &str) -> Option<DeviceNode> {
    let (kind, major, minor) = from_node(root, path)
        .or_else(|| from_class(root, path))
        .or_else(|| from_driver(root, path))?;
    Some(DeviceNode {
        path: PathBuf::from(path),
        kind,
        major,
        minor,
        mode: Some(0o666),
        uid: None,
        gid: None,
    })
}

fn from_node(root: &Path, path: &str) -> Option<(DeviceKind, u32, u32)> {
    let metadata = fs::metadata(root.join(path.strip_prefix('/')?)).ok()?;
    let kind = if metadata.file_type().is_char_device() {
        DeviceKind::Character
    } else if metadata.file_type().is_block_device() {
        DeviceKind::Block
    } else {
        return None;
    };
    let device = metadata.rdev();
    Some((kind, rustix::fs::major(device), rustix::fs::minor(device)))
}

fn from_class(root: &Path, path: &str) -> Option<(DeviceKind, u32, u32)> {
    let name = path.rsplit('/').next()?;
    CLASSES.iter().find_map(|class| {
        let file = root.join("sys/class").join(class).join(name).join("dev");
        let text = file::read(&file).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some((
            DeviceKind::Character,
            major.parse().ok()?,
            minor.parse().ok()?,
        ))
    })
}

fn from_driver(root: &Path, path: &str) -> Option<(DeviceKind, u32, u32)> {
    let (drivers, minor): (&[&str], u32) = match path {
        "/dev/nvidiactl" => (&["nvidia-frontend", "nvidia"], 255),
        "/dev/nvidia-modeset" => (&["nvidia-frontend", "nvidia"], 254),
        "/dev/nvidia-uvm" => (&["nvidia-uvm"], 0),
        "/dev/nvidia-uvm-tools" => (&["nvidia-uvm"], 1),
        _ => (&["nvidia-frontend", "nvidia"], nvidia_minor(path)?),
    };
    let text = file::read(&root.join("proc/devices")).ok()?;
    let major = text.lines().find_map(|line| {
        let (major, driver) = line.trim().split_once(' ')?;
        drivers
            .contains(&driver.trim())
            .then(|| major.parse().ok())
            .flatten()
    })?;
    Some((DeviceKind::Character, major, minor))
}

fn nvidia_minor(path: &str) -> Option<u32> {
    path.strip_prefix("/dev/nvidia")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use katalyst_crds::devices::AllocatedNic;

    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in [
            (
                "proc/devices",
                "Character devices:\n  1 mem\n195 nvidia-frontend\n508 nvidia-uvm\n\nBlock devices:\n  8 sd\n",
            ),
            ("sys/class/infiniband_verbs/uverbs0/dev", "231:192\n"),
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn numbers(injected: &Injected) -> Vec<String> {
        injected
            .nodes
            .iter()
            .map(|n| format!("{} {}:{}", n.path.display(), n.major, n.minor))
            .collect()
    }

    #[test]
    fn cards_with_their_control_nodes_and_rdma() {
        let devices = ContainerDevices {
            gpus: vec![AllocatedGpu {
                uuid: "GPU-1".to_owned(),
                devices: vec!["/dev/nvidia3".to_owned()],
                ..AllocatedGpu::default()
            }],
            nics: vec![AllocatedNic {
                name: "mlx5_0".to_owned(),
                devices: vec![
                    "/dev/infiniband/uverbs0".to_owned(),
                    "/dev/infiniband/uverbs7".to_owned(),
                ],
                ..AllocatedNic::default()
            }],
        };
        let injected = inject(machine().path(), Some(&devices));
        assert_eq!(
            numbers(&injected),
            [
                "/dev/infiniband/uverbs0 231:192",
                "/dev/nvidia3 195:3",
                "/dev/nvidiactl 195:255",
                "/dev/nvidia-uvm 508:0",
                "/dev/nvidia-uvm-tools 508:1"
            ]
        );
        assert_eq!(injected.missing, ["/dev/infiniband/uverbs7"]);
        assert_eq!(
            injected.env,
            [("NVIDIA_VISIBLE_DEVICES".to_owned(), "GPU-1".to_owned())]
        );
    }

    #[test]
    fn a_container_without_cards_sees_none() {
        let injected = inject(machine().path(), None);
        assert!(injected.nodes.is_empty());
        assert_eq!(injected.env[0].1, "void");
    }

    #[test]
    fn a_node_that_is_there_is_believed() {
        assert_eq!(
            from_node(Path::new("/"), "/dev/null"),
            Some((DeviceKind::Character, 1, 3))
        );
        assert_eq!(from_node(Path::new("/"), "/etc/passwd"), None);
    }
}
