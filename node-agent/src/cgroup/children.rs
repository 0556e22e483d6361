//! Groups below a pod's: its containers, its sandbox, and what else the runtime or a container put there.
//!
//! | driver | containerd | CRI-O |
//! |---|---|---|
//! | cgroupfs | `podUID/ID` | `podUID/crio-ID`, `podUID/crio-conmon-ID` |
//! | systemd | `…-podUID.slice/cri-containerd-ID.scope` | `…-podUID.slice/crio-ID.scope`, `…/crio-conmon-ID.scope` |
//!
//! Nothing tells a sandbox from a container by name, and nothing needs to: every group below the pod's is the pod's. Only CRI-O's
//! monitor is not the pod's own process. Containers may make groups of their own below theirs.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
};

use super::hierarchy::{Controller, Hierarchy};

/// A bound on groups that a container makes below its own; kubelet's own limit on pods leaves each far fewer.
const MOST: usize = 512;

/// What a group below a pod's holds, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildKind {
    /// A container or the sandbox.
    Container,
    /// CRI-O's monitor of a container, `conmon`.
    Monitor,
    /// Made inside a container, or by a runtime we do not know.
    Other,
}

/// The kind of a group directly below a pod's, and the container's ID.
pub fn classify(name: &str) -> (ChildKind, Option<&str>) {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let name = name.strip_prefix("cri-containerd-").unwrap_or(name);
    if name.starts_with("crio-conmon-") {
        return (ChildKind::Monitor, None);
    }
    let id = name.strip_prefix("crio-").unwrap_or(name);
    if id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        (ChildKind::Container, Some(id))
    } else {
        (ChildKind::Other, None)
    }
}

/// Every group below `pod` in the hierarchy of `controller`, parents before children, at most 512. Names that are not UTF-8 cannot be put on record and are left out.
pub fn below(hierarchy: &Hierarchy, controller: Controller, pod: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue = VecDeque::from([pod.to_owned()]);
    while let Some(group) = queue.pop_front() {
        let Ok(entries) = fs::read_dir(hierarchy.dir(controller, &group)) else {
            continue;
        };
        for entry in entries.filter_map(Result::ok) {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && found.len() < MOST {
                let child = group.join(name);
                found.push(child.clone());
                queue.push_back(child);
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_of_every_layout() {
        for name in [
            ID.to_owned(),
            format!("cri-containerd-{ID}.scope"),
            format!("crio-{ID}.scope"),
            format!("crio-{ID}"),
        ] {
            assert_eq!(classify(&name), (ChildKind::Container, Some(ID)), "{name}");
        }
        for name in [
            format!("crio-conmon-{ID}.scope"),
            format!("crio-conmon-{ID}"),
        ] {
            assert_eq!(classify(&name), (ChildKind::Monitor, None), "{name}");
        }
        for name in ["init.scope", "payload", "crio-0123"] {
            assert_eq!(classify(name), (ChildKind::Other, None), "{name}");
        }
    }

    #[test]
    fn containers_of_every_layout_and_what_they_make() {
        for (pod, children) in [
            (
                "kubepods/besteffort/poda",
                [ID.to_owned(), format!("{ID}/init")],
            ),
            (
                "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poda.slice",
                [
                    format!("cri-containerd-{ID}.scope"),
                    format!("cri-containerd-{ID}.scope/system.slice"),
                ],
            ),
            (
                "kubepods.slice/kubepods-poda.slice",
                [
                    format!("crio-{ID}.scope"),
                    format!("crio-conmon-{ID}.scope"),
                ],
            ),
        ] {
            let root = tempfile::tempdir().unwrap();
            let base = root.path().join("sys/fs/cgroup");
            for child in &children {
                fs::create_dir_all(base.join(pod).join(child)).unwrap();
            }
            fs::write(base.join(pod).join("cpu.max"), "").unwrap();
            fs::write(base.join("cgroup.controllers"), "").unwrap();
            let hierarchy = Hierarchy::detect(root.path()).unwrap();
            let mut expected: Vec<PathBuf> = children
                .iter()
                .map(|child| Path::new(pod).join(child))
                .collect();
            expected.sort();
            assert_eq!(below(&hierarchy, Controller::Cpu, Path::new(pod)), expected);
        }
    }
}
