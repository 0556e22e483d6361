//! The one cgroup, in every hierarchy, below which the kubelet of the host node puts its pods.
//!
//! Cgroups are the only thing of a cluster that outlives its namespaces, so they are removed by whoever is left.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::error::{ClusterError, at};

/// Where cgroups are mounted.
pub const ROOT: &str = "/sys/fs/cgroup";

/// Makes the cgroup `name` in every hierarchy below `root`, ready for processes.
pub(super) fn create(root: &Path, name: &str) -> Result<(), ClusterError> {
    for hierarchy in hierarchies(root)? {
        enable_controllers(&hierarchy)?;
        let group = hierarchy.join(name);
        fs::create_dir_all(&group).map_err(at(&group))?;
        enable_controllers(&group)?;
        // A v1 cpuset takes no process before it has CPUs and memory nodes; v2 has no such files in the parent.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let (parent, own) = (hierarchy.join(file), group.join(file));
            if parent.exists() && own.exists() {
                let value = fs::read_to_string(&parent).map_err(at(&parent))?;
                fs::write(&own, value.trim()).map_err(at(&own))?;
            }
        }
    }
    Ok(())
}

/// Removes the cgroup `name` and everything below it, waiting until the last process in it is gone.
pub(crate) fn remove(root: &Path, name: &str, limit: Duration) -> Result<(), ClusterError> {
    const POLL: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + limit;
    for hierarchy in hierarchies(root)? {
        let group = hierarchy.join(name);
        while let Err(error) = remove_tree(&group) {
            if Instant::now() >= deadline {
                return Err(at(group)(error));
            }
            std::thread::sleep(POLL);
        }
    }
    Ok(())
}

/// The hierarchies: one (v2), or one a controller (v1, beside which v2 may exist without controllers).
pub(crate) fn hierarchies(root: &Path) -> Result<Vec<PathBuf>, ClusterError> {
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(at(root))? {
        let entry = entry.map_err(at(root))?;
        // Links such as `cpu,cpuacct` lead to a hierarchy that is listed by its own name.
        let path = entry.path();
        let is_folder = entry.file_type().map_err(at(&path))?.is_dir();
        if is_folder && path.join("cgroup.procs").exists() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Hands the controllers of a v2 group down to its children; a v1 group has no such file.
fn enable_controllers(group: &Path) -> Result<(), ClusterError> {
    let Ok(controllers) = fs::read_to_string(group.join("cgroup.controllers")) else {
        return Ok(());
    };
    let file = group.join("cgroup.subtree_control");
    for controller in controllers.split_whitespace() {
        fs::write(&file, format!("+{controller}")).map_err(at(&file))?;
    }
    Ok(())
}

fn remove_tree(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(root: &Path, name: &str) -> PathBuf {
        let path = root.join(name);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("cgroup.procs"), "").unwrap();
        path
    }

    #[test]
    fn group_appears_in_every_v1_hierarchy_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["cpu", "memory", "unified"] {
            hierarchy(folder.path(), name);
        }
        fs::create_dir(folder.path().join("not-a-hierarchy")).unwrap();
        create(folder.path(), "k").unwrap();
        assert!(folder.path().join("memory/k").is_dir());
        assert!(!folder.path().join("not-a-hierarchy/k").exists());
        fs::create_dir_all(folder.path().join("cpu/k/pods/a")).unwrap();
        remove(folder.path(), "k", Duration::ZERO).unwrap();
        assert!(!folder.path().join("cpu/k").exists());
        assert!(!folder.path().join("unified/k").exists());
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        hierarchy(folder.path(), "cpu");
        remove(folder.path(), "k", Duration::ZERO).unwrap();
    }

    #[test]
    fn unified_root_is_one_hierarchy() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cgroup.controllers"), "").unwrap();
        create(folder.path(), "k").unwrap();
        assert!(folder.path().join("k").is_dir());
    }
}
