//! Removing the cgroups that a private engine made on the host. Namespaces end with their processes; cgroups stay.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::process::Signal;

use super::{
    process::signal,
    settings::CGROUP,
    tool::wait_for,
};

/// Where the hierarchies are mounted.
const MOUNTS: &str = "/sys/fs/cgroup";

/// After this long, whatever still runs in the groups is killed: nothing but this cluster's processes can be there.
const PATIENCE: Duration = Duration::from_secs(3);

/// Removes the groups of every hierarchy (or of the one of cgroup v2), with the processes left in them.
pub fn remove() -> anyhow::Result<()> {
    let start = Instant::now();
    let what = format!("removal of {MOUNTS}/*/{CGROUP}");
    wait_for(&what, Duration::from_secs(20), Duration::from_millis(50), || {
        for root in roots(Path::new(MOUNTS)) {
            if start.elapsed() > PATIENCE {
                kill_all(&root);
            }
            remove_tree(&root)?;
        }
        Ok(())
    })
}

/// The folders named [`CGROUP`] at the top of a hierarchy.
pub fn roots(mounts: &Path) -> Vec<PathBuf> {
    let hierarchies = fs::read_dir(mounts).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(mounts.to_owned())
        .chain(hierarchies)
        .map(|hierarchy| hierarchy.join(CGROUP))
        .filter(|path| path.is_dir())
        .collect()
}

fn remove_tree(group: &Path) -> anyhow::Result<()> {
    for child in children(group) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(group) {
        Err(error) if group.exists() => {
            Err(error).with_context(|| format!("remove {}", group.display()))
        }
        _ => Ok(()),
    }
}

fn kill_all(group: &Path) {
    for child in children(group) {
        kill_all(&child);
    }
    let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    // Zero stands for a process of another namespace; it is not ours to name.
    for id in listed.lines().filter_map(|line| line.parse().ok()).filter(|id| *id != 0) {
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
    fn groups_are_found_in_both_layouts_and_removed_from_the_bottom() {
        let mounts = tempfile::tempdir().unwrap();
        for path in ["cpu/katalyst-kind/a/b", "memory/katalyst-kind", "katalyst-kind/x", "cpu/other"] {
            fs::create_dir_all(mounts.path().join(path)).unwrap();
        }
        let mut found = roots(mounts.path());
        found.sort();
        let expected = ["cpu/katalyst-kind", "katalyst-kind", "memory/katalyst-kind"];
        assert_eq!(found, expected.map(|path| mounts.path().join(path)));
        for root in found {
            remove_tree(&root).unwrap();
        }
        assert!(roots(mounts.path()).is_empty());
        assert!(mounts.path().join("cpu/other").is_dir());
    }
}
