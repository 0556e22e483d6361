//! The groups of a node that has no kubelet: made, given kubelet's values, read, and removed with everything that runs in them.
//!
//! Nothing outside of the layout's top group is ever written. On cgroup v1 the groups exist in the hierarchies that the agent reads (cpu, cpuacct, cpuset, memory) and, where there is
//! one, in the unified hierarchy beside them, which carries pressure. On cgroup v2 every ancestor hands its controllers down.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::layout::{Class, Layout};
use super::wait::wait_until;

/// Where hierarchies are mounted.
const MOUNTS: &str = "/sys/fs/cgroup";
/// Controllers that kubelet hands to its groups, as far as the kernel has them.
const CONTROLLERS: [&str; 5] = ["cpuset", "cpu", "io", "memory", "pids"];
/// Hierarchies of version 1 that the scenarios need.
const V1: [&str; 4] = ["cpu", "cpuacct", "cpuset", "memory"];
/// Every file that the agent may write, of both versions.
pub const KNOBS: [&str; 17] = [
    "cpu.shares",
    "cpu.cfs_period_us",
    "cpu.cfs_quota_us",
    "cpu.cfs_burst_us",
    "cpu.idle",
    "cpu.weight",
    "cpu.max",
    "cpu.max.burst",
    "cpuset.cpus",
    "cpuset.mems",
    "cpuset.memory_migrate",
    "memory.limit_in_bytes",
    "memory.soft_limit_in_bytes",
    "memory.max",
    "memory.high",
    "memory.low",
    "memory.min",
];

/// How long processes get to die.
const CLEAR_LIMIT: Duration = Duration::from_secs(20);

/// Version of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy a controller.
    V1,
    /// Unified.
    V2,
}

impl Version {
    /// `v1` or `v2`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// The groups.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Names.
    pub layout: Layout,
    /// Version.
    pub version: Version,
    /// Mount points, by hierarchy.
    mounts: Vec<PathBuf>,
}

impl Tree {
    /// Finds the hierarchies and makes the top groups and those of the classes.
    pub fn plant(layout: Layout) -> Result<Self, String> {
        let tree = Self::at(layout)?;
        tree.clear()?;
        for class in [Class::Guaranteed, Class::Burstable, Class::BestEffort] {
            tree.create(&tree.layout.class(class))?;
        }
        let idle = tree.layout.class(Class::BestEffort);
        tree.set_shares(&idle, 2)?;
        Ok(tree)
    }

    /// Finds the hierarchies, makes nothing.
    pub fn at(layout: Layout) -> Result<Self, String> {
        let root = Path::new(MOUNTS);
        if root.join("cgroup.controllers").exists() {
            return Ok(Self {
                layout,
                version: Version::V2,
                mounts: vec![root.to_owned()],
            });
        }
        let mut mounts = Vec::new();
        for name in V1 {
            let path = root.join(name);
            if !path.join("cgroup.procs").exists() {
                return Err(format!(
                    "{} is no hierarchy, and {MOUNTS} is not unified",
                    path.display()
                ));
            }
            mounts.push(path);
        }
        let unified = root.join("unified");
        if unified.join("cgroup.procs").exists() {
            mounts.push(unified);
        }
        Ok(Self {
            layout,
            version: Version::V1,
            mounts,
        })
    }

    /// Makes a group in every hierarchy, and its parents, ready for processes.
    pub fn create(&self, relative: &Path) -> Result<(), String> {
        for mount in &self.mounts {
            let mut parent = mount.clone();
            for part in relative.components() {
                hand_down(&parent)?;
                let group = parent.join(part);
                match fs::create_dir(&group) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(format!("create {}: {error}", group.display()));
                    }
                    Ok(()) | Err(_) => {}
                }
                // A cpuset of version 1 is born empty and takes no process; runc copies the parent's values, and so do we.
                if mount.ends_with("cpuset") {
                    for file in ["cpuset.cpus", "cpuset.mems"] {
                        if read(&group.join(file))?.is_empty() {
                            write(&group.join(file), &read(&parent.join(file))?)?;
                        }
                    }
                }
                parent = group;
            }
        }
        Ok(())
    }

    /// The path of a file of a group: in the unified hierarchy, or in that of the file's controller.
    pub fn file(&self, group: &Path, file: &str) -> PathBuf {
        let mount = match self.version {
            Version::V2 => PathBuf::from(MOUNTS),
            Version::V1 => {
                let controller = file.split('.').next().unwrap_or_default();
                Path::new(MOUNTS).join(controller)
            }
        };
        mount.join(group).join(file)
    }

    /// What a file of a group holds.
    pub fn read(&self, group: &Path, file: &str) -> Result<String, String> {
        read(&self.file(group, file))
    }

    /// Writes a file of a group.
    pub fn write(&self, group: &Path, file: &str, value: &str) -> Result<(), String> {
        write(&self.file(group, file), value)
    }

    /// CPU weight as kubelet sets it: `cpu.shares`, or its translation to `cpu.weight`.
    pub fn set_shares(&self, group: &Path, shares: u64) -> Result<(), String> {
        match self.version {
            Version::V1 => self.write(group, "cpu.shares", &shares.to_string()),
            Version::V2 => {
                // The linear conversion of runc before 1.3.2 and of kubelet: [2, 262144] to [1, 10000].
                let weight = 1 + shares.saturating_sub(2) * 9999 / 262_142;
                self.write(group, "cpu.weight", &weight.to_string())
            }
        }
    }

    /// CPU limit, thousandths of a CPU in a period of 100 ms.
    pub fn set_quota(&self, group: &Path, millicpu: u64) -> Result<(), String> {
        match self.version {
            Version::V1 => self.write(group, "cpu.cfs_quota_us", &(millicpu * 100).to_string()),
            Version::V2 => self.write(group, "cpu.max", &format!("{} 100000", millicpu * 100)),
        }
    }

    /// CPU limit in force, thousandths of a CPU; `None` where there is none.
    pub fn quota(&self, group: &Path) -> Result<Option<u64>, String> {
        let text = match self.version {
            Version::V1 => self.read(group, "cpu.cfs_quota_us")?,
            Version::V2 => self.read(group, "cpu.max")?,
        };
        let word = text.split_whitespace().next().unwrap_or_default();
        Ok(word.parse::<u64>().ok().map(|micros| micros / 100))
    }

    /// Memory limit, bytes.
    pub fn set_memory(&self, group: &Path, bytes: u64) -> Result<(), String> {
        self.write(group, self.memory_limit_file(), &bytes.to_string())
    }

    /// The file of the hard memory limit.
    pub fn memory_limit_file(&self) -> &'static str {
        match self.version {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        }
    }

    /// `cgroup.procs` of the group in every hierarchy.
    pub fn entrances(&self, group: &Path) -> Vec<PathBuf> {
        self.mounts
            .iter()
            .map(|mount| mount.join(group).join("cgroup.procs"))
            .collect()
    }

    /// Every group below the top group, relative to the mounts, parents first.
    pub fn groups(&self) -> Vec<PathBuf> {
        let mut found = BTreeSet::new();
        for mount in &self.mounts {
            for path in walk(&mount.join(self.layout.top())) {
                if let Ok(relative) = path.strip_prefix(mount) {
                    found.insert(relative.to_owned());
                }
            }
        }
        found.into_iter().collect()
    }

    /// What every knob of every group holds: for "nothing was touched" and "everything is back".
    ///
    /// A set of version 2 that lists all there is reads as empty, which means the same: the kernel takes no empty set from a group with processes (ENOSPC),
    /// so nobody can put back the one that the group was born with.
    pub fn values(&self) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        for group in self.groups() {
            for knob in KNOBS {
                // A file that this version or kernel does not have, or whose group has just gone.
                if let Ok(mut value) = self.read(&group, knob) {
                    if self.version == Version::V2
                        && knob.starts_with("cpuset.")
                        && self
                            .read(Path::new(""), &format!("{knob}.effective"))
                            .is_ok_and(|all| all == value)
                    {
                        value.clear();
                    }
                    values.insert(format!("{}/{knob}", group.display()), value);
                }
            }
        }
        values
    }

    /// Ends every process of a group and of those below it, and removes them.
    pub fn remove(&self, group: &Path) -> Result<(), String> {
        for mount in &self.mounts {
            remove(&mount.join(group))?;
        }
        Ok(())
    }

    /// Ends every process below the top group and removes the groups.
    pub fn clear(&self) -> Result<(), String> {
        self.remove(&self.layout.top())
    }
}

/// Differences between two readings of [`Tree::values`], in words; groups that only one has are left out.
pub fn differences(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<String> {
    before
        .iter()
        .filter_map(|(file, old)| {
            let new = after.get(file)?;
            (new != old).then(|| format!("{file}: {old:?} became {new:?}"))
        })
        .collect()
}

/// Hands the controllers of a v2 group down to its children; a v1 group has no such file.
fn hand_down(group: &Path) -> Result<(), String> {
    let Ok(available) = fs::read_to_string(group.join("cgroup.controllers")) else {
        return Ok(());
    };
    for controller in CONTROLLERS {
        if available.split_whitespace().any(|word| word == controller) {
            write(
                &group.join("cgroup.subtree_control"),
                &format!("+{controller}"),
            )?;
        }
    }
    Ok(())
}

/// Removes a group of one hierarchy with everything in it.
pub(super) fn remove(top: &Path) -> Result<(), String> {
    wait_until(
        &format!("the end of {}", top.display()),
        CLEAR_LIMIT,
        || {
            let groups = walk(top);
            for group in groups.iter().rev() {
                for pid in processes(group) {
                    // It may have ended by itself.
                    kill_process(pid, Signal::KILL).ok();
                }
                match fs::remove_dir(group) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(format!("remove {}: {error}", group.display()));
                    }
                    Ok(()) | Err(_) => {}
                }
            }
            Ok(())
        },
    )
}

/// A group and all below it, parents first.
fn walk(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut queue = vec![top.to_owned()];
    while let Some(group) = queue.pop() {
        let Ok(entries) = fs::read_dir(&group) else {
            continue;
        };
        found.push(group);
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                queue.push(entry.path());
            }
        }
    }
    found
}

fn processes(group: &Path) -> Vec<Pid> {
    fs::read_to_string(group.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| Pid::from_raw(line.trim().parse().ok()?))
        .collect()
}

pub(super) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| format!("read {}: {error}", path.display()))
}

pub(super) fn write(path: &Path, value: &str) -> Result<(), String> {
    fs::write(path, value)
        .map_err(|error| format!("write {value:?} to {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_the_file_and_both_values() {
        let values = |value: &str| {
            BTreeMap::from([
                ("a/cpu.max".to_owned(), value.to_owned()),
                ("b/cpu.max".to_owned(), "1".to_owned()),
            ])
        };
        assert_eq!(
            differences(&values("max"), &values("5")),
            ["a/cpu.max: \"max\" became \"5\""]
        );
        let gone = BTreeMap::from([("a/cpu.max".to_owned(), "max".to_owned())]);
        assert!(differences(&values("max"), &gone).is_empty());
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        remove(&folder.path().join("none")).unwrap();
        fs::create_dir_all(folder.path().join("a/b/c")).unwrap();
        remove(&folder.path().join("a")).unwrap();
        assert!(!folder.path().join("a").exists());
    }
}
