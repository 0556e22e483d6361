//! kubelet's tree of pods and the names in it, for both cgroup drivers.
//!
//! cgroupfs: `kubepods/besteffort/pod<UID>`. systemd: `kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<UID>.slice`, where
//! every name repeats its parent's and dashes inside a UID become underscores. Guaranteed pods sit directly in the top group.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::hierarchy::{Controller, Hierarchy};

/// UID of a pod as kubelet uses it for cgroups. For a static pod that is the hash in its `kubernetes.io/config.hash` annotation, not
/// the UID of its mirror object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PodUid(String);

impl PodUid {
    /// Wraps a UID.
    pub fn new(uid: impl Into<String>) -> Self {
        Self(uid.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// kubelet's cgroup driver, recognised by the names it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Plain directories.
    Cgroupfs,
    /// Slices; systemd may re-apply its own idea of a slice's properties at any time, which is why limits are re-asserted each tick.
    Systemd,
}

/// Kubernetes' own quality-of-service class: it decides where a pod's group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KubeClass {
    /// Requests equal limits for every container.
    Guaranteed,
    /// Some request or limit.
    Burstable,
    /// None; reclaimed pods are here, beside others that are not ours.
    BestEffort,
}

impl KubeClass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Guaranteed, Self::Burstable, Self::BestEffort];

    fn directory(self) -> Option<&'static str> {
        match self {
            Self::Guaranteed => None,
            Self::Burstable => Some("burstable"),
            Self::BestEffort => Some("besteffort"),
        }
    }
}

/// A pod's group on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodDir {
    /// UID in the directory's name.
    pub uid: PodUid,
    /// Class group it is in.
    pub class: KubeClass,
    /// Path relative to each controller's mount.
    pub relative: PathBuf,
}

/// kubelet's top group of pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubepods {
    relative: PathBuf,
    driver: Driver,
    /// Name that systemd's child slices repeat: `kubepods` or `kubelet-kubepods`.
    prefix: String,
}

impl Kubepods {
    /// Recognises the directory by its name: `kubepods`, `kubepods.slice`, or `<parent>-kubepods.slice`.
    pub fn from_path(relative: &Path) -> Option<Self> {
        let name = relative.file_name()?.to_str()?;
        let (driver, prefix) = match name.strip_suffix(".slice") {
            None if name == "kubepods" => (Driver::Cgroupfs, name),
            Some(prefix) if prefix == "kubepods" || prefix.ends_with("-kubepods") => {
                (Driver::Systemd, prefix)
            }
            None | Some(_) => return None,
        };
        Some(Self {
            relative: relative.to_owned(),
            driver,
            prefix: prefix.to_owned(),
        })
    }

    /// Path relative to each controller's mount.
    pub fn relative(&self) -> &Path {
        &self.relative
    }

    /// Driver that made it.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// Group of a class, relative to the mounts.
    pub fn class_dir(&self, class: KubeClass) -> PathBuf {
        match (class.directory(), self.driver) {
            (None, _) => self.relative.clone(),
            (Some(name), Driver::Cgroupfs) => self.relative.join(name),
            (Some(name), Driver::Systemd) => {
                self.relative.join(format!("{}-{name}.slice", self.prefix))
            }
        }
    }

    /// UID in the name of a directory of the class, if it is a pod's.
    fn pod_uid(&self, class: KubeClass, name: &str) -> Option<PodUid> {
        let uid = match self.driver {
            Driver::Cgroupfs => name.strip_prefix("pod")?.to_owned(),
            Driver::Systemd => {
                let rest = name
                    .strip_prefix(self.prefix.as_str())?
                    .strip_prefix('-')?
                    .strip_suffix(".slice")?;
                let rest = match class.directory() {
                    Some(class) => rest.strip_prefix(class)?.strip_prefix('-')?,
                    None => rest,
                };
                rest.strip_prefix("pod")?.replace('_', "-")
            }
        };
        (!uid.is_empty()).then_some(PodUid(uid))
    }

    /// Every pod's group, in the order of UIDs. A class group that is missing has no pods; a missing top group is an error, because
    /// then kubelet's tree has moved or gone.
    pub fn pods(&self, hierarchy: &Hierarchy) -> io::Result<Vec<PodDir>> {
        let mut pods = Vec::new();
        for class in KubeClass::ALL {
            let relative = self.class_dir(class);
            let entries = match fs::read_dir(hierarchy.dir(Controller::Cpu, &relative)) {
                Ok(entries) => entries,
                Err(error)
                    if class != KubeClass::Guaranteed
                        && error.kind() == io::ErrorKind::NotFound =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            for entry in entries {
                // A directory that vanishes while being listed is a pod that ended.
                let Ok(entry) = entry else { continue };
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                if let Some(uid) = self.pod_uid(class, &name) {
                    pods.push(PodDir {
                        uid,
                        class,
                        relative: relative.join(name),
                    });
                }
            }
        }
        pods.sort_by(|a, b| a.uid.cmp(&b.uid));
        Ok(pods)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_drivers() {
        for (path, driver) in [
            ("kubepods", Driver::Cgroupfs),
            ("katalyst-e2e/kubepods", Driver::Cgroupfs),
            ("kubepods.slice", Driver::Systemd),
            ("kubelet.slice/kubelet-kubepods.slice", Driver::Systemd),
        ] {
            assert_eq!(
                Kubepods::from_path(Path::new(path)).unwrap().driver(),
                driver,
                "{path}"
            );
        }
        for path in [
            "kubepods-besteffort.slice",
            "kubepods/besteffort",
            "system.slice",
            "",
            "my-kubepods",
        ] {
            assert_eq!(Kubepods::from_path(Path::new(path)), None, "{path}");
        }
    }

    #[test]
    fn pod_directories() {
        let systemd =
            Kubepods::from_path(Path::new("kubelet.slice/kubelet-kubepods.slice")).unwrap();
        assert_eq!(
            systemd.class_dir(KubeClass::BestEffort),
            Path::new("kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice")
        );
        assert_eq!(
            systemd.pod_uid(
                KubeClass::BestEffort,
                "kubelet-kubepods-besteffort-pod1b2c_3d.slice"
            ),
            Some(PodUid::new("1b2c-3d"))
        );
        assert_eq!(
            systemd.pod_uid(KubeClass::Guaranteed, "kubelet-kubepods-pod1b2c.slice"),
            Some(PodUid::new("1b2c"))
        );
        assert_eq!(
            systemd.pod_uid(KubeClass::Guaranteed, "kubelet-kubepods-besteffort.slice"),
            None
        );
        assert_eq!(systemd.pod_uid(KubeClass::Guaranteed, "cgroup.procs"), None);

        let plain = Kubepods::from_path(Path::new("kubepods")).unwrap();
        assert_eq!(
            plain.pod_uid(KubeClass::BestEffort, "pod1b2c-3d"),
            Some(PodUid::new("1b2c-3d"))
        );
        assert_eq!(plain.pod_uid(KubeClass::Guaranteed, "besteffort"), None);
        assert_eq!(plain.pod_uid(KubeClass::Guaranteed, "pod"), None);
    }
}
