//! Which cgroup version the node runs and where each controller is mounted.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// Version of the interface that holds the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy a controller, or a few controllers together.
    V1,
    /// The unified hierarchy.
    V2,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

/// The controllers the agent uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Shares, weight, quota.
    Cpu,
    /// CPU time used (version 1; the cpu controller in version 2).
    Cpuacct,
    /// Limits and use of memory.
    Memory,
    /// CPUs and memory nodes. The only one that a node may lack: see [`Hierarchy::has_cpuset`].
    Cpuset,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Memory => "memory",
            Self::Cpuset => "cpuset",
        }
    }

    /// A version 1 file that only a mount of the controller has. Containers also show empty directories with controllers' names.
    fn mark(self) -> &'static str {
        match self {
            Self::Cpu => "cpu.shares",
            Self::Cpuacct => "cpuacct.usage",
            Self::Memory => "memory.usage_in_bytes",
            Self::Cpuset => "cpuset.cpus",
        }
    }
}

/// No usable cgroup mount.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The mount point itself is missing or unreadable.
    #[error("cannot list {path}: is /sys/fs/cgroup of the node mounted there?")]
    List {
        /// Directory.
        path: PathBuf,
        /// Kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Neither a unified hierarchy nor the version 1 controller.
    #[error(
        "{path} is neither a cgroup v2 mount nor holds a directory for the v1 controller {controller}"
    )]
    MissingController {
        /// Directory.
        path: PathBuf,
        /// Controller that has no directory.
        controller: &'static str,
    },
}

/// Where groups live. Group paths elsewhere are relative to the mounts, without a leading slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    root: PathBuf,
    version: Version,
    cpu: PathBuf,
    cpuacct: PathBuf,
    memory: PathBuf,
    cpuset: Option<PathBuf>,
}

impl Hierarchy {
    /// Looks at `root`/sys/fs/cgroup. A hybrid layout (version 1 controllers and an empty version 2 mount beside them) is version 1.
    pub fn detect(root: &Path) -> Result<Self, DetectError> {
        let base = root.join("sys/fs/cgroup");
        if let Ok(controllers) = fs::read_to_string(base.join("cgroup.controllers")) {
            let cpuset = controllers
                .split_whitespace()
                .any(|name| name == Controller::Cpuset.name())
                .then(|| base.clone());
            return Ok(Self {
                root: root.to_owned(),
                version: Version::V2,
                cpu: base.clone(),
                cpuacct: base.clone(),
                memory: base,
                cpuset,
            });
        }
        let mut names: Vec<String> = fs::read_dir(&base)
            .map_err(|source| DetectError::List {
                path: base.clone(),
                source,
            })?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        // Links such as `cpu -> cpu,cpuacct` sort first and are as good as their target.
        names.sort();
        let mount = |controller: Controller| {
            names
                .iter()
                .filter(|name| name.split(',').any(|part| part == controller.name()))
                .map(|name| base.join(name))
                .find(|path| path.join(controller.mark()).exists())
                .ok_or_else(|| DetectError::MissingController {
                    path: base.clone(),
                    controller: controller.name(),
                })
        };
        Ok(Self {
            root: root.to_owned(),
            version: Version::V1,
            cpu: mount(Controller::Cpu)?,
            cpuacct: mount(Controller::Cpuacct)?,
            memory: mount(Controller::Memory)?,
            cpuset: mount(Controller::Cpuset).ok(),
        })
    }

    /// Version that holds the limits.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Where `/proc` and `/sys` of the node start.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of the group `relative` in the hierarchy of `controller`.
    pub fn dir(&self, controller: Controller, relative: &Path) -> PathBuf {
        self.mount(controller).join(relative)
    }

    /// Whether groups have CPUs and memory nodes of their own here.
    pub fn has_cpuset(&self) -> bool {
        self.cpuset.is_some()
    }

    /// Mount point of `controller`. Without a cpuset controller a place where nothing is.
    pub fn mount(&self, controller: Controller) -> &Path {
        match controller {
            Controller::Cpu => &self.cpu,
            Controller::Cpuacct => &self.cpuacct,
            Controller::Memory => &self.memory,
            Controller::Cpuset => self.cpuset.as_deref().unwrap_or(Path::new(NOWHERE)),
        }
    }
}

/// A directory that never has a group in it.
const NOWHERE: &str = "/proc/self/no-cpuset-controller";

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(dirs: &[&str], files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for dir in dirs {
            fs::create_dir_all(root.path().join("sys/fs/cgroup").join(dir)).unwrap();
        }
        for file in files {
            fs::write(root.path().join("sys/fs/cgroup").join(file), "").unwrap();
        }
        root
    }

    #[test]
    fn unified() {
        let root = tree(&["kubepods"], &["cgroup.controllers"]);
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        assert_eq!(hierarchy.version(), Version::V2);
        assert_eq!(
            hierarchy.dir(Controller::Memory, Path::new("kubepods")),
            root.path().join("sys/fs/cgroup/kubepods")
        );
    }

    const SEPARATE: [&str; 3] = [
        "cpu/cpu.shares",
        "cpuacct/cpuacct.usage",
        "memory/memory.usage_in_bytes",
    ];

    #[test]
    fn separate_and_joint_controllers_of_version_1() {
        let dirs = ["cpu", "cpuacct", "memory", "cpuset", "unified"];
        let root = tree(
            &dirs,
            &[&SEPARATE[..], &["unified/cgroup.controllers"]].concat(),
        );
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        assert_eq!(hierarchy.version(), Version::V1);
        assert!(hierarchy.mount(Controller::Cpu).ends_with("cpu"));

        let root = tree(
            &["cpu,cpuacct", "memory"],
            &[
                "cpu,cpuacct/cpu.shares",
                "cpu,cpuacct/cpuacct.usage",
                "memory/memory.usage_in_bytes",
            ],
        );
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        assert!(
            hierarchy
                .mount(Controller::Cpuacct)
                .ends_with("cpu,cpuacct")
        );
    }

    #[test]
    fn an_empty_directory_with_a_controllers_name_is_not_its_mount() {
        let root = tree(&["cpu,cpuacct", "cpu", "cpuacct", "memory"], &SEPARATE);
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        assert!(hierarchy.mount(Controller::Cpuacct).ends_with("cpuacct"));
        assert!(
            !hierarchy
                .mount(Controller::Cpuacct)
                .ends_with("cpu,cpuacct")
        );
    }

    #[test]
    fn errors_name_what_is_missing() {
        let root = tree(&["cpu", "cpuacct", "memory"], &SEPARATE[..2]);
        let error = Hierarchy::detect(root.path()).unwrap_err().to_string();
        assert!(error.contains("memory"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(
            Hierarchy::detect(empty.path()),
            Err(DetectError::List { .. })
        ));
    }
}
