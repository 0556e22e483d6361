//! Finds kubelet's top group of pods wherever its cgroup root is.
//!
//! kubelet does not tell anyone its cgroup root: it is `/` on most machines, `/kubelet` in kind, anything where an administrator chose
//! so, and inside a container's own group when kubelet runs in a container. The agent walks the cpu hierarchy, breadth first and
//! bounded, for a directory with the right name. One directory seen by two paths (a bind mount) is one candidate. Where several kubelets
//! share a kernel, the tree that holds this node's own pods is taken; a tree with none of them is never taken while another has some.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    hierarchy::{Controller, Hierarchy},
    kubepods::{Kubepods, PodUid},
};

/// kind inside Docker inside a slice needs five levels.
const MAX_DEPTH: usize = 7;
/// A bound on the work of one walk; a node has a few hundred groups outside kubelet's tree.
const MAX_DIRECTORIES: usize = 20_000;

/// Why kubelet's tree was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoverError {
    /// Nothing with a fitting name.
    #[error(
        "no kubepods group under {mount}: is kubelet running, and does it manage cgroups there?"
    )]
    NotFound {
        /// Mount point that was walked.
        mount: PathBuf,
    },
    /// Several trees and none holds a pod of this node (yet).
    #[error(
        "several kubepods groups under {mount} and none holds a pod of this node: {candidates:?}; set --kubepods-path"
    )]
    Ambiguous {
        /// Mount point that was walked.
        mount: PathBuf,
        /// Paths relative to it.
        candidates: Vec<PathBuf>,
    },
    /// The path given by the user is not one.
    #[error(
        "--kubepods-path {path}: not a directory named kubepods or *kubepods.slice under {mount}"
    )]
    Forced {
        /// Mount point.
        mount: PathBuf,
        /// Path given.
        path: PathBuf,
    },
}

/// Finds the tree. `known` are UIDs of this node's pods; `forced` is a path relative to the mounts (a leading slash is allowed).
pub fn discover(
    hierarchy: &Hierarchy,
    known: &BTreeSet<PodUid>,
    forced: Option<&Path>,
) -> Result<Kubepods, DiscoverError> {
    let mount = hierarchy.mount(Controller::Cpu);
    if let Some(path) = forced {
        let relative = path.strip_prefix("/").unwrap_or(path);
        return Kubepods::from_path(relative)
            .filter(|_| mount.join(relative).is_dir())
            .ok_or_else(|| DiscoverError::Forced {
                mount: mount.to_owned(),
                path: path.to_owned(),
            });
    }
    let candidates = walk(mount);
    let ours = |tree: &Kubepods| {
        tree.pods(hierarchy).map_or(0, |pods| {
            pods.iter().filter(|pod| known.contains(&pod.uid)).count()
        })
    };
    let mut ranked: Vec<(usize, Kubepods)> = candidates
        .into_iter()
        .map(|tree| (ours(&tree), tree))
        .collect();
    // Stable: among equals the walk's order stays, shallow first.
    ranked.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let several = ranked.len() > 1;
    match ranked.first() {
        None => Err(DiscoverError::NotFound {
            mount: mount.to_owned(),
        }),
        Some((0, _)) if several => Err(DiscoverError::Ambiguous {
            mount: mount.to_owned(),
            candidates: ranked
                .iter()
                .map(|(_, tree)| tree.relative().to_owned())
                .collect(),
        }),
        Some((_, tree)) => Ok(tree.clone()),
    }
}

/// Every distinct candidate, shallow first.
fn walk(mount: &Path) -> Vec<Kubepods> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut queue = VecDeque::from([(PathBuf::new(), 0_usize)]);
    let mut visited = 0_usize;
    while let Some((relative, depth)) = queue.pop_front() {
        visited = visited.saturating_add(1);
        if visited > MAX_DIRECTORIES {
            break;
        }
        let Ok(entries) = fs::read_dir(mount.join(&relative)) else {
            continue;
        };
        let mut names: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| relative.join(entry.file_name()))
            .collect();
        names.sort();
        for path in names {
            let Ok(metadata) = fs::metadata(mount.join(&path)) else {
                continue;
            };
            if !seen.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            match Kubepods::from_path(&path) {
                Some(tree) => found.push(tree),
                None if depth < MAX_DEPTH => queue.push_back((path, depth + 1)),
                None => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(dirs: &[&str]) -> (tempfile::TempDir, Hierarchy) {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("sys/fs/cgroup");
        for dir in dirs {
            fs::create_dir_all(base.join(dir)).unwrap();
        }
        fs::write(base.join("cgroup.controllers"), "cpu memory").unwrap();
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        (root, hierarchy)
    }

    fn uids(uids: &[&str]) -> BTreeSet<PodUid> {
        uids.iter().copied().map(PodUid::new).collect()
    }

    #[test]
    fn finds_every_usual_place() {
        for place in [
            "kubepods",
            "katalyst-e2e/kubepods",
            "kubepods.slice",
            "kubelet.slice/kubelet-kubepods.slice",
            "docker/0123/kubelet.slice/kubelet-kubepods.slice",
        ] {
            let (_root, hierarchy) = v2(&["system.slice/a.service", place]);
            assert_eq!(
                discover(&hierarchy, &uids(&[]), None).unwrap().relative(),
                Path::new(place)
            );
        }
    }

    #[test]
    fn the_tree_with_our_pods_wins() {
        let (_root, hierarchy) = v2(&[
            "docker/a/kubepods/besteffort/podx",
            "docker/b/kubepods/burstable/pody",
            "docker/b/kubepods/podz",
        ]);
        assert_eq!(
            discover(&hierarchy, &uids(&["y"]), None)
                .unwrap()
                .relative(),
            Path::new("docker/b/kubepods")
        );
        assert!(matches!(
            discover(&hierarchy, &uids(&["other"]), None),
            Err(DiscoverError::Ambiguous { candidates, .. }) if candidates.len() == 2
        ));
    }

    #[test]
    fn a_forced_path_is_taken_or_refused() {
        let (_root, hierarchy) = v2(&["a/kubepods", "b/kubepods", "c"]);
        let tree = discover(&hierarchy, &uids(&[]), Some(Path::new("/b/kubepods"))).unwrap();
        assert_eq!(tree.relative(), Path::new("b/kubepods"));
        for wrong in ["/c", "/d/kubepods"] {
            assert!(matches!(
                discover(&hierarchy, &uids(&[]), Some(Path::new(wrong))),
                Err(DiscoverError::Forced { .. })
            ));
        }
    }

    #[test]
    fn nothing_there() {
        let (_root, hierarchy) = v2(&["system.slice"]);
        assert!(matches!(
            discover(&hierarchy, &uids(&[]), None),
            Err(DiscoverError::NotFound { .. })
        ));
    }
}
