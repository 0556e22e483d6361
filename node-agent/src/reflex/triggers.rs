//! Pressure triggers: the kernel wakes the reflex when services wait for CPU.
//!
//! A process that writes `some <stall> <window>` (microseconds) to a group's `cpu.pressure` and keeps the file open is woken by POLLPRI when
//! tasks of the group together waited that long within the window (`Documentation/accounting/psi.rst`). Three facts decide how they are used:
//!
//! - **Whose pressure.** On a colocated machine `/proc/pressure/cpu` is always high: held batch waits for its quota, and that counts. So the
//!   triggers sit on the groups of services only: kubelet's burstable group and each guaranteed pod.
//! - **Rights.** Since 6.5 a window that is not a multiple of 2 s needs CAP_SYS_RESOURCE in the user namespace of whoever opened the file;
//!   triggers of 2 s windows are evaluated every 2 s, later than the sample they should precede, so they are not used. Without the right
//!   the glances alone find a surge, at their fastest pace.
//! - **Version 1** has pressure of single groups only where a unified hierarchy is mounted beside the controllers and something (systemd) keeps
//!   the same groups there.
//!
//! A trigger only makes the thread look at the counters. What a glance does not confirm lowers nothing.

use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::{Errno, write},
};

use crate::cgroup::{Hierarchy, KubeClass, Kubepods, PodDir, Version};

/// Stall that wakes, microseconds in a [`WINDOW_MICROS`]: a twentieth. The kernel looks every tenth of the window while tasks wait, so a surge
/// that makes one task wait all the time wakes after 50 to 75 ms; below a twentieth, tasks that merely meet on a CPU would wake it.
const STALL_MICROS: u32 = 25_000;
/// The shortest window that every kernel with triggers takes (5.2 to 6.3 have this as their minimum). The kernel wakes at most once in it.
const WINDOW_MICROS: u32 = 500_000;
/// Guaranteed pods have a trigger each, and each costs a kernel thread's timer while there is pressure.
const MOST: usize = 32;

/// Why there are no triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Without {
    /// The kernel refuses: no right, or pressure is switched off.
    Refused(Errno),
    /// No group of services has a pressure file.
    NoFiles,
}

impl Without {
    /// The kernel has triggers and does not let this process set one.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// For a person.
    pub(super) fn text(&self) -> String {
        let why = match self {
            Self::Refused(errno @ (Errno::INVAL | Errno::PERM | Errno::ACCESS)) => {
                format!("the kernel refuses a trigger ({errno}); it wants CAP_SYS_RESOURCE")
            }
            Self::Refused(errno) => format!("the kernel refuses a trigger ({errno})"),
            Self::NoFiles => "no group of services has a pressure file".to_owned(),
        };
        format!("{why}; surges are found by counters alone")
    }
}

#[derive(Debug)]
struct Trigger {
    relative: PathBuf,
    file: OwnedFd,
}

/// The triggers that are set.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    set: Vec<Trigger>,
}

impl Triggers {
    /// Sets triggers on the groups of services in the tree, and drops those of groups that are gone.
    pub(super) fn follow(
        &mut self,
        root: &Path,
        hierarchy: &Hierarchy,
        kubepods: &Kubepods,
        dirs: &[PodDir],
    ) -> Result<(), Without> {
        let guaranteed = dirs
            .iter()
            .filter(|dir| dir.class == KubeClass::Guaranteed)
            .map(|dir| dir.relative.clone());
        let wanted: Vec<PathBuf> = std::iter::once(kubepods.class_dir(KubeClass::Burstable))
            .chain(guaranteed)
            .take(MOST)
            .collect();
        self.set
            .retain(|trigger| wanted.contains(&trigger.relative));
        let mut refused = None;
        for relative in wanted {
            if self.set.iter().any(|trigger| trigger.relative == relative) {
                continue;
            }
            match set(&pressure_file(root, hierarchy, &relative)) {
                Ok(file) => self.set.push(Trigger { relative, file }),
                Err(Errno::NOENT | Errno::NODEV | Errno::NOTDIR) => {}
                Err(errno) => {
                    refused = Some(errno);
                    break;
                }
            }
        }
        match (self.set.is_empty(), refused) {
            (false, _) => Ok(()),
            (true, Some(errno)) => Err(Without::Refused(errno)),
            (true, None) => Err(Without::NoFiles),
        }
    }

    /// Drops all of them.
    pub(super) fn clear(&mut self) {
        self.set.clear();
    }

    /// To be polled for PRI, in an order that stays until the next `follow` or `drop_dead`.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.set.iter().map(|trigger| trigger.file.as_fd())
    }

    /// Drops those whose group is gone, told by their position.
    pub(super) fn drop_dead(&mut self, dead: impl Fn(usize) -> bool) {
        let mut at = 0_usize;
        self.set.retain(|_| {
            let keep = !dead(at);
            at = at.saturating_add(1);
            keep
        });
    }
}

/// Where a group's CPU pressure is.
fn pressure_file(root: &Path, hierarchy: &Hierarchy, relative: &Path) -> PathBuf {
    match hierarchy.version() {
        Version::V2 => hierarchy.dir(crate::cgroup::Controller::Cpu, relative),
        Version::V1 => root.join("sys/fs/cgroup/unified").join(relative),
    }
    .join("cpu.pressure")
}

/// Sets a trigger; it lasts as long as the file is open.
fn set(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    // The kernel wants the terminating zero.
    let wish = format!("some {STALL_MICROS} {WINDOW_MICROS}\0");
    write(&file, wish.as_bytes())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cgroup::PodUid;

    fn tree(version: Version) -> (tempfile::TempDir, Hierarchy, Kubepods) {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("sys/fs/cgroup");
        fs::create_dir_all(&base).unwrap();
        let files: &[&str] = match version {
            Version::V1 => &[
                "cpu/cpu.shares",
                "cpuacct/cpuacct.usage",
                "memory/memory.usage_in_bytes",
            ],
            Version::V2 => &["cgroup.controllers"],
        };
        for file in files {
            let path = base.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        let kubepods = Kubepods::from_path(Path::new("kubepods")).unwrap();
        (root, hierarchy, kubepods)
    }

    fn guaranteed(uid: &str) -> PodDir {
        PodDir {
            uid: PodUid::new(uid),
            class: KubeClass::Guaranteed,
            relative: PathBuf::from(format!("kubepods/pod{uid}")),
        }
    }

    fn pressure(base: &Path, relative: &str) {
        fs::create_dir_all(base.join(relative)).unwrap();
        fs::write(base.join(relative).join("cpu.pressure"), "").unwrap();
    }

    #[test]
    fn services_have_triggers_and_batch_has_none() {
        for (version, mount) in [(Version::V1, "unified"), (Version::V2, "")] {
            let (root, hierarchy, kubepods) = tree(version);
            let base = root.path().join("sys/fs/cgroup").join(mount);
            let mut triggers = Triggers::default();
            let follow = |triggers: &mut Triggers, dirs: &[PodDir]| {
                triggers.follow(root.path(), &hierarchy, &kubepods, dirs)
            };
            assert_eq!(follow(&mut triggers, &[]), Err(Without::NoFiles));
            for group in [
                "kubepods/besteffort",
                "kubepods/burstable",
                "kubepods/poda",
                "kubepods/podb",
            ] {
                pressure(&base, group);
            }
            assert_eq!(
                follow(
                    &mut triggers,
                    &[guaranteed("a"), guaranteed("b"), guaranteed("c")]
                ),
                Ok(())
            );
            assert_eq!(triggers.fds().count(), 3, "{version}");
            let written = fs::read_to_string(base.join("kubepods/burstable/cpu.pressure")).unwrap();
            assert_eq!(written, "some 25000 500000\0");
            let other = fs::read_to_string(base.join("kubepods/besteffort/cpu.pressure")).unwrap();
            assert_eq!(other, "");
            assert_eq!(follow(&mut triggers, &[guaranteed("b")]), Ok(()));
            assert_eq!(triggers.fds().count(), 2);
            triggers.drop_dead(|at| at == 1);
            assert_eq!(triggers.set[0].relative, Path::new("kubepods/burstable"));
        }
    }

    #[test]
    fn a_refusal_names_the_right() {
        assert!(
            Without::Refused(Errno::INVAL)
                .text()
                .contains("CAP_SYS_RESOURCE")
        );
        assert!(!Without::Refused(Errno::OPNOTSUPP).text().contains("CAP_"));
    }
}
