//! Which pods have a group, without listing directories each second.
//!
//! An inotify watch on kubelet's top group and its two class groups tells when a directory appears or goes: kubelet makes and removes pods'
//! groups with `mkdir` and `rmdir`, which the kernel reports like those of any file system. The event is queued before `mkdir` returns, so a
//! new pod's group wakes the reflex before kubelet starts its first container. Where inotify is refused (`fs.inotify.max_user_instances`),
//! directories are listed at each sample. A rare listing all the same is the backstop for an event that was lost.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::cgroup::{Controller, Hierarchy, KubeClass, Kubepods, PodDir};

/// Time between listings that nothing asked for.
const BACKSTOP: Duration = Duration::from_secs(30);

/// The groups of pods, kept up to date.
#[derive(Debug)]
pub(super) struct Listing {
    inotify: Option<OwnedFd>,
    dirs: Vec<PodDir>,
    listed_nanos: Option<u64>,
}

impl Default for Listing {
    fn default() -> Self {
        Self {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok(),
            dirs: Vec::new(),
            listed_nanos: None,
        }
    }
}

impl Listing {
    /// Lists again where something changed since; true when it did. `Err`: kubelet's top group is gone.
    pub(super) fn refresh(
        &mut self,
        now_nanos: u64,
        hierarchy: &Hierarchy,
        kubepods: &Kubepods,
    ) -> io::Result<bool> {
        let told = self.drain();
        let due = self.listed_nanos.is_none_or(|listed| {
            u128::from(now_nanos.saturating_sub(listed)) >= BACKSTOP.as_nanos()
        });
        if !told && !due && self.inotify.is_some() {
            return Ok(false);
        }
        // Watches before the listing: what appears in between is told.
        self.watch(hierarchy, kubepods);
        let dirs = kubepods.pods(hierarchy)?;
        let changed = self.listed_nanos.is_none() || dirs != self.dirs;
        self.dirs = dirs;
        self.listed_nanos = Some(now_nanos);
        Ok(changed)
    }

    /// The groups, in the order of UIDs.
    pub(super) fn dirs(&self) -> &[PodDir] {
        &self.dirs
    }

    /// A group vanished while it was read: list at the next refresh.
    pub(super) fn doubt(&mut self) {
        self.listed_nanos = None;
    }

    /// Readable when a group appeared or went.
    pub(super) fn changes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.inotify.as_ref()?.as_fd())
    }

    /// Watches the top group and the class groups; a class group that does not exist yet is told of by the top group's watch.
    fn watch(&mut self, hierarchy: &Hierarchy, kubepods: &Kubepods) {
        let Some(inotify) = &self.inotify else { return };
        for class in KubeClass::ALL {
            let dir = hierarchy.dir(Controller::Cpu, &kubepods.class_dir(class));
            let watched = inotify::add_watch(
                inotify,
                &dir,
                WatchFlags::CREATE
                    | WatchFlags::DELETE
                    | WatchFlags::MOVE
                    | WatchFlags::DELETE_SELF
                    | WatchFlags::ONLYDIR,
            );
            match watched {
                Ok(_) | Err(rustix::io::Errno::NOENT) => {}
                // Without one of the watches, changes would go unseen.
                Err(errno) => {
                    tracing::warn!(%errno, dir = %dir.display(), "no inotify watch; directories are listed at each sample");
                    self.inotify = None;
                    return;
                }
            }
        }
    }

    /// Takes the events; true when there was one.
    fn drain(&self) -> bool {
        let Some(inotify) = &self.inotify else {
            return false;
        };
        let mut space = [MaybeUninit::uninit(); 4 << 10];
        let mut events = inotify::Reader::new(inotify, &mut space);
        let mut told = false;
        while events.next().is_ok() {
            told = true;
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn tree() -> (tempfile::TempDir, Hierarchy, Kubepods) {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("sys/fs/cgroup");
        fs::create_dir_all(base.join("kubepods")).unwrap();
        fs::write(base.join("cgroup.controllers"), "cpu").unwrap();
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        let kubepods = Kubepods::from_path(Path::new("kubepods")).unwrap();
        (root, hierarchy, kubepods)
    }

    fn uids(listing: &Listing) -> Vec<&str> {
        listing.dirs().iter().map(|dir| dir.uid.as_str()).collect()
    }

    #[test]
    fn only_changes_make_it_list() {
        let (root, hierarchy, kubepods) = tree();
        let base = root.path().join("sys/fs/cgroup/kubepods");
        let mut listing = Listing::default();
        let refresh =
            |listing: &mut Listing, now| listing.refresh(now, &hierarchy, &kubepods).unwrap();
        assert!(refresh(&mut listing, 0));
        assert!(!refresh(&mut listing, 1));
        // A class group that is made later, and a pod in it at once.
        fs::create_dir_all(base.join("besteffort/poda")).unwrap();
        assert!(refresh(&mut listing, 2));
        assert_eq!(uids(&listing), ["a"]);
        fs::create_dir(base.join("besteffort/podb")).unwrap();
        assert!(refresh(&mut listing, 3));
        fs::remove_dir(base.join("besteffort/poda")).unwrap();
        assert!(refresh(&mut listing, 4));
        assert_eq!(uids(&listing), ["b"]);
        // Files are no news.
        fs::write(base.join("besteffort/podb/cpu.max"), "max").unwrap();
        assert!(!refresh(&mut listing, 5));
        fs::remove_dir_all(&base).unwrap();
        assert!(listing.refresh(6, &hierarchy, &kubepods).is_err());
    }

    #[test]
    fn without_inotify_it_lists_each_time() {
        let (root, hierarchy, kubepods) = tree();
        let base = root.path().join("sys/fs/cgroup/kubepods");
        let mut listing = Listing {
            inotify: None,
            dirs: Vec::new(),
            listed_nanos: None,
        };
        assert!(listing.refresh(0, &hierarchy, &kubepods).unwrap());
        assert!(!listing.refresh(1, &hierarchy, &kubepods).unwrap());
        fs::create_dir(base.join("podx")).unwrap();
        assert!(listing.refresh(2, &hierarchy, &kubepods).unwrap());
    }

    #[test]
    fn the_backstop_lists_without_news() {
        let (root, hierarchy, kubepods) = tree();
        let mut listing = Listing::default();
        listing.refresh(0, &hierarchy, &kubepods).unwrap();
        fs::create_dir(root.path().join("sys/fs/cgroup/kubepods/podx")).unwrap();
        listing.drain();
        assert!(!listing.refresh(1, &hierarchy, &kubepods).unwrap());
        let later = u64::try_from(BACKSTOP.as_nanos()).unwrap();
        assert!(listing.refresh(later, &hierarchy, &kubepods).unwrap());
    }
}
