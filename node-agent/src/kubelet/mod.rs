//! What kubelet's own managers hold, read from its state files: CPUs that its static CPU manager gave away, memory nodes that its static
//! memory manager pinned, CPUs that its configuration keeps for the system.
//!
//! kubelet is the writer of these files and of the cpusets that follow from them. The agent reads, keeps its hands off what kubelet gave
//! away, and says so. The files are internal to kubelet and their format changed before; a text that means nothing is a note, and
//! exclusive CPUs are then recognised by the cpusets themselves (see [`pools`](crate::pools)).

mod config;
mod cpu_manager;
mod memory_manager;

pub use cpu_manager::CpuManager;
pub use memory_manager::MemoryManager;

use std::path::Path;

use katalyst_core::cpu_set::CpuSet;

use crate::cgroup::file::{FileError, read};

/// Everything that was found in kubelet's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kubelet {
    /// The directory is there. The installation leaves it out unless a node's managers are static: it holds secrets of pods.
    pub present: bool,
    /// Its CPU manager; `None` where its state cannot be read.
    pub cpu: Option<CpuManager>,
    /// Its memory manager; `None` where its state cannot be read.
    pub memory: Option<MemoryManager>,
    /// `reservedSystemCPUs` of its configuration file.
    pub reserved: Option<CpuSet>,
    /// What could not be read or means nothing, a sentence each.
    pub notes: Vec<String>,
}

impl Kubelet {
    /// Reads kubelet's directory, `/var/lib/kubelet` on most nodes. Never fails.
    pub fn read(dir: &Path) -> Self {
        if !dir.is_dir() {
            return Self::default();
        }
        let mut notes = Vec::new();
        let cpu = state(&dir.join("cpu_manager_state"), &mut notes, |text| {
            CpuManager::parse(text)
        });
        let memory = state(&dir.join("memory_manager_state"), &mut notes, |text| {
            MemoryManager::parse(text)
        });
        // Its place is a convention of kubeadm; where there is none, nothing was reserved by it.
        let mut unimportant = Vec::new();
        let reserved = state(&dir.join("config.yaml"), &mut unimportant, config::reserved);
        Self {
            present: true,
            cpu,
            memory,
            reserved: reserved.flatten(),
            notes,
        }
    }

    /// The set that kubelet's static CPU manager gives to every container without exclusive CPUs; `None` under another policy.
    pub fn shared_cpus(&self) -> Option<&CpuSet> {
        self.cpu
            .as_ref()
            .filter(|manager| manager.is_static())
            .map(|manager| &manager.default)
    }
}

/// How kubelet aligns pods, by its configuration file in its directory `dir` (a convention of kubeadm): the CNR's `topologyPolicy`. `None` where
/// there is no such file, or it says what this version does not know.
pub fn topology_policy(dir: &Path) -> Option<&'static str> {
    let text = read(&dir.join("config.yaml")).ok()?;
    config::topology_policy(&text).ok()?
}

/// A text that is not the state it should be.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("not the JSON of a state file")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Cpus(#[from] katalyst_core::cpu_set::CpuListError),
    #[error(transparent)]
    Yaml(#[from] katalyst_crds::yaml::YamlError),
}

fn state<T>(
    path: &Path,
    notes: &mut Vec<String>,
    parse: impl FnOnce(&str) -> Result<T, Malformed>,
) -> Option<T> {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => {
            notes.push(unreadable(&error));
            return None;
        }
    };
    match parse(&text) {
        Ok(value) => Some(value),
        Err(error) => {
            notes.push(format!("{}: {}", path.display(), crate::chain(&error)));
            None
        }
    }
}

fn unreadable(error: &FileError) -> String {
    crate::chain(error)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_that_is_not_there_costs_nothing_and_an_empty_one_is_told() {
        let absent = Kubelet::read(Path::new("/nowhere"));
        assert!(!absent.present && absent.notes.is_empty(), "{absent:?}");
        assert_eq!(absent.shared_cpus(), None);
        let dir = tempfile::tempdir().unwrap();
        let empty = Kubelet::read(dir.path());
        assert_eq!(empty.notes.len(), 2, "{:?}", empty.notes);
        assert!(empty.notes[0].contains("cpu_manager_state"));
    }

    #[test]
    fn one_damaged_file_costs_itself() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(dir.path().join(file), text).unwrap();
        write("cpu_manager_state", "{\"policyName\":");
        write(
            "memory_manager_state",
            r#"{"policyName":"None","machineState":{},"checksum":1}"#,
        );
        write(
            "config.yaml",
            "kind: KubeletConfiguration\nreservedSystemCPUs: 0-1\n",
        );
        let kubelet = Kubelet::read(dir.path());
        assert_eq!(kubelet.cpu, None);
        assert!(kubelet.memory.is_some());
        assert_eq!(kubelet.reserved.unwrap().to_string(), "0-1");
        assert_eq!(kubelet.notes.len(), 1, "{:?}", kubelet.notes);
    }
}
