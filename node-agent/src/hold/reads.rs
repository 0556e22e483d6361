//! The files whose values are compared at each run, kept open between runs.
//!
//! Limits are re-asserted (systemd may undo one at any time), so a node with 55 batch pods has 220 files to look at, and nearly always nothing to
//! write. Opening them is nine tenths of that cost, reading them most of the rest: quotas, which services depend on, are read each second, files
//! whose value hardly ever changes each [`LOOKS`] seconds.

use std::{
    collections::HashMap,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, fstat, open},
    io::Errno,
};

use super::knob::Knob;
use crate::{
    cgroup::file::FileError,
    sample::{Buffer, Descriptors},
};

/// Runs between looks for files that nobody reads any more.
const SWEEP: u64 = 100;
/// A file that held what is wanted is read again this many runs later at the latest.
const LOOKS: u8 = 5;

/// Open files by path.
#[derive(Debug)]
pub(super) struct Reads {
    files: HashMap<PathBuf, Used>,
    buffer: Buffer,
    descriptors: Descriptors,
    run: u64,
}

#[derive(Debug)]
struct Used {
    file: OwnedFd,
    run: u64,
    /// What it held at the last look.
    text: String,
    /// Runs since then that took it as seen.
    taken: u8,
}

impl Reads {
    /// None open yet.
    pub(super) fn new(descriptors: Descriptors) -> Self {
        Self {
            files: HashMap::new(),
            buffer: Buffer::default(),
            descriptors,
            run: 0,
        }
    }

    /// A run begins: closes files that no run has read for long.
    pub(super) fn begin(&mut self) {
        self.run = self.run.saturating_add(1);
        if self.run.is_multiple_of(SWEEP) {
            let oldest = self.run.saturating_sub(SWEEP);
            let before = self.files.len();
            self.files.retain(|_, used| used.run >= oldest);
            for _ in self.files.len()..before {
                self.descriptors.give();
            }
        }
    }

    /// Whether the file held `wanted` at the last look, and that was not long ago.
    pub(super) fn stands(&mut self, path: &Path, knob: Knob, wanted: &str) -> bool {
        let Some(used) = self.files.get_mut(path) else {
            return false;
        };
        used.taken = used.taken.saturating_add(1);
        let stands = used.taken < LOOKS && knob.same(&used.text, wanted);
        if stands {
            used.run = self.run;
        }
        stands
    }

    /// What a file holds now, by its path: a file that was removed and made anew is the new one.
    pub(super) fn read(&mut self, path: &Path) -> Result<&str, FileError> {
        if let Some(used) = self.files.get_mut(path) {
            used.run = self.run;
            let there = fstat(&used.file).is_ok_and(|stat| stat.st_nlink > 0)
                && self.buffer.read(&used.file).is_ok();
            if there {
                used.taken = 0;
                if used.text != self.buffer.text() {
                    self.buffer.text().clone_into(&mut used.text);
                }
                return Ok(self.buffer.text());
            }
            self.files.remove(path);
            self.descriptors.give();
        }
        let failed = |source: io::Error| FileError::Read {
            path: path.to_owned(),
            source,
        };
        let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno: Errno| failed(errno.into()))?;
        self.buffer.read(&file).map_err(failed)?;
        if self.descriptors.take() {
            let used = Used {
                file,
                run: self.run,
                text: self.buffer.text().to_owned(),
                // Not all of them in the same run.
                taken: u8::try_from(self.files.len() % usize::from(LOOKS)).unwrap_or(0),
            };
            self.files.insert(path.to_owned(), used);
        }
        Ok(self.buffer.text())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_read_by_its_path_whatever_happened_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cpu.max");
        let mut reads = Reads::new(Descriptors::new(1));
        assert!(reads.read(&path).unwrap_err().is_gone());
        fs::write(&path, "1").unwrap();
        assert_eq!(reads.read(&path).unwrap(), "1");
        fs::write(&path, "22").unwrap();
        assert_eq!(reads.read(&path).unwrap(), "22");
        fs::remove_file(&path).unwrap();
        assert!(reads.read(&path).unwrap_err().is_gone());
        fs::write(&path, "3").unwrap();
        assert_eq!(reads.read(&path).unwrap(), "3");
        // No descriptor left for another.
        let other = dir.path().join("cpu.idle");
        fs::write(&other, "0").unwrap();
        assert_eq!(reads.read(&other).unwrap(), "0");
        assert_eq!(reads.files.len(), 1);
    }

    #[test]
    fn what_stands_is_looked_at_now_and_then() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cpu.idle");
        fs::write(&path, "1\n").unwrap();
        let mut reads = Reads::new(Descriptors::new(8));
        assert!(!reads.stands(&path, Knob::CpuIdle, "1"), "never looked at");
        reads.read(&path).unwrap();
        assert!(!reads.stands(&path, Knob::CpuIdle, "0"), "holds another");
        reads.read(&path).unwrap();
        fs::write(&path, "0\n").unwrap();
        let unseen = (0..100)
            .take_while(|_| reads.stands(&path, Knob::CpuIdle, "1"))
            .count();
        assert_eq!(unseen, usize::from(LOOKS) - 1);
        assert_eq!(reads.read(&path).unwrap().trim(), "0");
    }

    #[test]
    fn what_nobody_reads_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| dir.path().join(name));
        for path in &paths {
            fs::write(path, "x").unwrap();
        }
        let mut reads = Reads::new(Descriptors::new(2));
        reads.begin();
        for path in &paths {
            reads.read(path).unwrap();
        }
        for _ in 0..2 * SWEEP {
            reads.begin();
            reads.read(&paths[0]).unwrap();
        }
        assert_eq!(reads.files.keys().collect::<Vec<_>>(), [&paths[0]]);
        assert!(reads.descriptors.take(), "the other one's is free again");
    }
}
