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

use crate::{
    cgroup::file,
    nri::{DeviceKind, DeviceNode},
};

/// Classes whose devices carry the name of their node.
const CLASSES: [&str; 7] = [
    "infiniband_verbs",
    "infiniband_mad",
    "infiniband_cm",
    "misc",
    "drm",
    "kfd",
    "vfio",
];

/// The RDMA connection manager.
const RDMA_CM: &str = "/dev/infiniband/rdma_cm";

/// The device node at `path`; `None` where this machine has none, or does not show it.
pub(super) fn find(root: &Path, path: &str) -> Option<DeviceNode> {
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

/// Nodes by which programs reach the RDMA device `name`, such as `mlx5_0`: its own for verbs (`ibdev` of each `uverbsN` names the device), and the
/// connection manager's, which all devices share. None for a card without RDMA.
pub(super) fn verbs(root: &Path, name: &str) -> Vec<String> {
    let class = root.join("sys/class/infiniband_verbs");
    let own = fs::read_dir(&class)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let node = entry.ok()?.file_name().into_string().ok()?;
            let device = file::read(&class.join(&node).join("ibdev")).ok()?;
            (device.trim() == name).then(|| format!("/dev/infiniband/{node}"))
        });
    let mut nodes: Vec<String> = own.collect();
    if !nodes.is_empty() && find(root, RDMA_CM).is_some() {
        nodes.push(RDMA_CM.to_owned());
    }
    nodes
}

/// N of `/dev/nvidiaN`.
pub(super) fn nvidia_minor(path: &str) -> Option<u32> {
    path.strip_prefix("/dev/nvidia")?.parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A root with an NVIDIA driver and one RDMA device.
    pub(in crate::devices) fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in [
            (
                "proc/devices",
                "Character devices:\n  1 mem\n195 nvidia-frontend\n508 nvidia-uvm\n\nBlock devices:\n  8 sd\n",
            ),
            ("sys/class/infiniband_verbs/uverbs0/dev", "231:192\n"),
            ("sys/class/infiniband_verbs/uverbs0/ibdev", "mlx5_0\n"),
            ("sys/class/infiniband_verbs/uverbs1/ibdev", "mlx5_1\n"),
            ("sys/class/misc/rdma_cm/dev", "10:58\n"),
        ] {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn numbers_come_from_the_class_or_the_driver() {
        let root = machine();
        for (path, numbers) in [
            ("/dev/infiniband/uverbs0", Some((231, 192))),
            ("/dev/infiniband/uverbs7", None),
            ("/dev/nvidia3", Some((195, 3))),
            ("/dev/nvidiactl", Some((195, 255))),
            ("/dev/nvidia-uvm-tools", Some((508, 1))),
            ("/dev/nvidiax", None),
        ] {
            let found = find(root.path(), path).map(|node| (node.major, node.minor));
            assert_eq!(found, numbers, "{path}");
        }
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
