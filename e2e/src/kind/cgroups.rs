//! Removing the cgroups that a private engine made on the host. Namespaces end with their processes; cgroups stay.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;

use super::{process::signal, settings::CGROUP};
use crate::cluster::cgroups::{ROOT, hierarchies, remove as remove_empty};

/// Processes of dead namespaces leave their groups within this time.
const PATIENCE: Duration = Duration::from_secs(3);

/// A killed process leaves its group within this time, however much memory it returns.
const LIMIT: Duration = Duration::from_secs(20);

/// Removes the groups in every hierarchy, with processes that are left in them: nothing but this cluster's can be there.
pub fn remove() -> anyhow::Result<()> {
    let root = Path::new(ROOT);
    if remove_empty(root, CGROUP, PATIENCE).is_ok() {
        return Ok(());
    }
    for hierarchy in hierarchies(root)? {
        kill_all(&hierarchy.join(CGROUP));
    }
    Ok(remove_empty(root, CGROUP, LIMIT)?)
}

fn kill_all(group: &Path) {
    for child in children(group) {
        kill_all(&child);
    }
    let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    // Zero stands for a process of another namespace, which cannot be named from here.
    for id in listed
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter(|id| *id != 0)
    {
        signal(id, Signal::KILL);
    }
}

fn children(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_killed_down_to_the_leaves_and_zero_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let leaf = folder.path().join("a/b");
        fs::create_dir_all(&leaf).unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        fs::write(folder.path().join("cgroup.procs"), "0\n").unwrap();
        fs::write(leaf.join("cgroup.procs"), format!("{}\n", child.id())).unwrap();
        kill_all(folder.path());
        assert!(!child.wait().unwrap().success());
    }
}
