//! Where kubelet and the container runtimes put groups, and what they call them: both cgroup drivers.
//!
//! cgroupfs: `kubepods/burstable/pod<UID>/<container>`. systemd: `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<UID>.slice/cri-containerd-<container>.scope`,
//! every slice repeating its parent's name and the dashes of a UID as underscores. Guaranteed pods are directly in the top group.

use std::path::{Path, PathBuf};

/// kubelet's cgroup driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Driver {
    /// Plain directories.
    Cgroupfs,
    /// Slices and scopes.
    Systemd,
}

impl Driver {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cgroupfs, Self::Systemd];

    /// Its name in kubelet's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }
}

/// Kubernetes' quality-of-service class, which decides the parent of a pod's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Requests equal limits for every container.
    Guaranteed,
    /// Some request or limit.
    Burstable,
    /// None.
    BestEffort,
}

impl Class {
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Guaranteed => None,
            Self::Burstable => Some("burstable"),
            Self::BestEffort => Some("besteffort"),
        }
    }
}

/// Names of groups, relative to the mounts of the hierarchies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The driver.
    pub driver: Driver,
    /// kubelet's `cgroupRoot`, one word without dashes; `None` for the root of the hierarchy, as on most nodes.
    pub root: Option<String>,
}

impl Layout {
    /// The group that holds everything, and whose removal leaves nothing.
    pub fn top(&self) -> PathBuf {
        match (&self.root, self.driver) {
            (Some(root), Driver::Cgroupfs) => PathBuf::from(root),
            (Some(root), Driver::Systemd) => PathBuf::from(format!("{root}.slice")),
            (None, _) => self.kubepods(),
        }
    }

    /// kubelet's top group of pods.
    pub fn kubepods(&self) -> PathBuf {
        match (&self.root, self.driver) {
            (None, Driver::Cgroupfs) => PathBuf::from("kubepods"),
            (None, Driver::Systemd) => PathBuf::from("kubepods.slice"),
            (Some(root), Driver::Cgroupfs) => Path::new(root).join("kubepods"),
            (Some(root), Driver::Systemd) => {
                PathBuf::from(format!("{root}.slice/{root}-kubepods.slice"))
            }
        }
    }

    /// The group of a class.
    pub fn class(&self, class: Class) -> PathBuf {
        let top = self.kubepods();
        match (class.name(), self.driver) {
            (None, _) => top,
            (Some(name), Driver::Cgroupfs) => top.join(name),
            (Some(name), Driver::Systemd) => top.join(format!("{}-{name}.slice", self.prefix())),
        }
    }

    /// The group of a pod.
    pub fn pod(&self, class: Class, uid: &str) -> PathBuf {
        let parent = self.class(class);
        match self.driver {
            Driver::Cgroupfs => parent.join(format!("pod{uid}")),
            Driver::Systemd => {
                let prefix = match class.name() {
                    None => self.prefix(),
                    Some(name) => format!("{}-{name}", self.prefix()),
                };
                parent.join(format!("{prefix}-pod{}.slice", uid.replace('-', "_")))
            }
        }
    }

    /// The group of a container in the pod's group `pod`, as containerd names it.
    pub fn container(&self, pod: &Path, id: &str) -> PathBuf {
        match self.driver {
            Driver::Cgroupfs => pod.join(id),
            Driver::Systemd => pod.join(format!("cri-containerd-{id}.scope")),
        }
    }

    fn prefix(&self) -> String {
        match &self.root {
            None => "kubepods".to_owned(),
            Some(root) => format!("{root}-kubepods"),
        }
    }
}

#[cfg(test)]
mod tests {
    use katalyst_node_agent::cgroup::Kubepods;

    use super::*;

    #[test]
    fn names_are_kubelets() {
        let layout = Layout {
            driver: Driver::Systemd,
            root: None,
        };
        let pod = layout.pod(Class::Burstable, "1-2");
        assert_eq!(
            pod,
            Path::new("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice")
        );
        assert_eq!(
            layout.container(&pod, "ab"),
            pod.join("cri-containerd-ab.scope")
        );
        let layout = Layout {
            driver: Driver::Cgroupfs,
            root: Some("k".to_owned()),
        };
        assert_eq!(
            layout.pod(Class::Guaranteed, "1-2"),
            Path::new("k/kubepods/pod1-2")
        );
        assert_eq!(layout.top(), Path::new("k"));
    }

    /// The agent's own reading of the names agrees.
    #[test]
    fn the_agent_recognises_the_top_group() {
        for driver in Driver::ALL {
            for root in [None, Some("k1".to_owned())] {
                let layout = Layout { driver, root };
                assert!(
                    Kubepods::from_path(&layout.kubepods()).is_some(),
                    "{layout:?}"
                );
            }
        }
    }
}
