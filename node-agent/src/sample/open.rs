//! Kernel files that stay open between readings, and the one buffer they are read into.
//!
//! Opening a file of `/proc` or a cgroup costs ten times what reading it does (measured on 6.18: 0.7 against 7 microseconds for
//! `cpuacct.usage`), and every open file keeps a page of kernel memory. So what is read each second stays open, what is read every ten
//! seconds is opened for it. `pread` at offset 0 makes the kernel print the file anew.
//!
//! A node with more groups than the process may have descriptors is sampled all the same: what cannot stay open is opened for each reading.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::{Errno, pread},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use crate::cgroup::file::FileError;

/// Holds any file that is read each second; `/proc/stat` of a large machine is longer and makes it grow once.
const FIRST_SIZE: usize = 8 << 10;
/// No file that is read here comes near; a file that seems longer is cut.
const LARGEST_SIZE: usize = 4 << 20;
/// Descriptors left to the rest of the process: connections, state files, libraries.
const KEPT_BACK: u64 = 256;

/// Where files are read into. It grows to the longest of them and is then used again.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    /// Bytes of the last reading.
    length: usize,
    /// Where the path of a file that is opened for one reading is put together.
    path: PathBuf,
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            bytes: vec![0; FIRST_SIZE],
            length: 0,
            path: PathBuf::new(),
        }
    }
}

impl Buffer {
    /// Reads from the beginning. For files that the kernel prints as one record, as all of these are: a reading that does not fill the buffer is whole. Text
    /// ends at the first byte that is not UTF-8; the kernel prints none.
    pub fn read(&mut self, file: impl AsFd) -> io::Result<&str> {
        self.length = loop {
            let length = pread(&file, self.bytes.as_mut_slice(), 0)?;
            if length < self.bytes.len() || length >= LARGEST_SIZE {
                break length;
            }
            self.bytes.resize(length.saturating_mul(2), 0);
        };
        Ok(self.text())
    }

    /// What was read last.
    pub fn text(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => bytes
                .get(..error.valid_up_to())
                .and_then(|valid| std::str::from_utf8(valid).ok())
                .unwrap_or_default(),
        }
    }
}

/// One file between readings.
#[derive(Debug, Default)]
pub enum Kept {
    /// This kernel or this group has none.
    #[default]
    Missing,
    /// There, and to be opened for each reading.
    Closed,
    /// Open.
    Open(OwnedFd),
}

impl Kept {
    /// Opens `path`, to stay open while `descriptors` last.
    pub fn open(path: &Path, descriptors: &mut Descriptors) -> Result<Self, FileError> {
        match open_now(path) {
            Ok(file) if descriptors.take() => Ok(Self::Open(file)),
            Ok(_) | Err(Errno::MFILE | Errno::NFILE) => {
                descriptors.short = true;
                Ok(Self::Closed)
            }
            Err(Errno::NOENT | Errno::NODEV | Errno::NOTDIR) => Ok(Self::Missing),
            Err(errno) => Err(failed(path, errno.into())),
        }
    }

    /// Its text now; `None` where there is none. `path` is called where the file is not open, and for the error.
    pub fn read<'b>(
        &self,
        buffer: &'b mut Buffer,
        path: impl Fn() -> PathBuf,
    ) -> Result<Option<&'b str>, FileError> {
        let text = match self {
            Self::Missing => return Ok(None),
            Self::Open(file) => buffer.read(file),
            Self::Closed => open_now(&path())
                .map_err(io::Error::from)
                .and_then(|file| buffer.read(file)),
        };
        text.map(Some).map_err(|source| failed(&path(), source))
    }

    /// Gives its descriptor back.
    pub fn close(self, descriptors: &mut Descriptors) {
        if matches!(self, Self::Open(_)) {
            descriptors.give();
        }
    }
}

/// Reads a file that is not kept open, whose path is `parts` joined; `None` where there is none.
pub(super) fn read_once<'b>(
    buffer: &'b mut Buffer,
    parts: [&Path; 3],
) -> Result<Option<&'b str>, FileError> {
    buffer.path.as_mut_os_string().clear();
    buffer.path.extend(parts);
    let opened = open_now(&buffer.path);
    let read = match opened {
        Ok(file) => buffer.read(file).map(|_| ()),
        Err(Errno::NOENT | Errno::NODEV | Errno::NOTDIR) => return Ok(None),
        Err(errno) => Err(errno.into()),
    };
    match read {
        Ok(()) => Ok(Some(buffer.text())),
        Err(source) => Err(failed(&buffer.path, source)),
    }
}

fn open_now(path: &Path) -> rustix::io::Result<OwnedFd> {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

fn failed(path: &Path, source: io::Error) -> FileError {
    FileError::Read {
        path: path.to_owned(),
        source,
    }
}

/// Descriptors that may stay open.
#[derive(Debug)]
pub struct Descriptors {
    left: u64,
    short: bool,
}

impl Descriptors {
    /// Half of what the process may have after what the rest of it needs: one half is for sampled files, the other for those that hold limits.
    /// Raises the limit as far as the process may by itself.
    pub fn half_of_process() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        let limit = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => maximum,
            Err(_) => current,
        };
        Self::new(limit.unwrap_or(u64::MAX).saturating_sub(KEPT_BACK) / 2)
    }

    /// That many.
    pub fn new(left: u64) -> Self {
        Self { left, short: false }
    }

    /// Whether they ran out at least once.
    pub fn short(&self) -> bool {
        self.short
    }

    /// One more; false where there is none left.
    pub fn take(&mut self) -> bool {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// One is free again.
    pub fn give(&mut self) {
        self.left = self.left.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_open_file_is_read_anew_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cpuacct.usage");
        fs::write(&path, "1\n").unwrap();
        let mut buffer = Buffer::default();
        let mut descriptors = Descriptors::new(1);
        let kept = Kept::open(&path, &mut descriptors).unwrap();
        assert!(matches!(kept, Kept::Open(_)) && !descriptors.short());
        assert_eq!(
            kept.read(&mut buffer, || path.clone()).unwrap(),
            Some("1\n")
        );
        fs::write(&path, "23\n").unwrap();
        assert_eq!(
            kept.read(&mut buffer, || path.clone()).unwrap(),
            Some("23\n")
        );

        let other = Kept::open(&path, &mut descriptors).unwrap();
        assert!(matches!(other, Kept::Closed) && descriptors.short());
        assert_eq!(
            other.read(&mut buffer, || path.clone()).unwrap(),
            Some("23\n")
        );
        kept.close(&mut descriptors);
        assert!(matches!(
            Kept::open(&path, &mut descriptors).unwrap(),
            Kept::Open(_)
        ));
    }

    #[test]
    fn a_file_longer_than_the_buffer_is_read_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stat");
        for length in [FIRST_SIZE - 1, FIRST_SIZE, FIRST_SIZE + 1, 5 * FIRST_SIZE] {
            let text = "x".repeat(length);
            fs::write(&path, &text).unwrap();
            let mut buffer = Buffer::default();
            assert_eq!(
                read_once(&mut buffer, [dir.path(), Path::new(""), Path::new("stat")]).unwrap(),
                Some(text.as_str())
            );
        }
        fs::write(&path, b"cpu 1\xff 2").unwrap();
        assert_eq!(
            read_once(
                &mut Buffer::default(),
                [dir.path(), Path::new(""), Path::new("stat")]
            )
            .unwrap(),
            Some("cpu 1")
        );
    }

    #[test]
    fn a_missing_file_has_no_text_and_a_vanished_one_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cpu.stat");
        let mut buffer = Buffer::default();
        let mut descriptors = Descriptors::new(0);
        let missing = Kept::open(&path, &mut descriptors).unwrap();
        assert_eq!(missing.read(&mut buffer, || path.clone()).unwrap(), None);
        fs::write(&path, "").unwrap();
        let closed = Kept::open(&path, &mut descriptors).unwrap();
        fs::remove_file(&path).unwrap();
        let error = closed.read(&mut buffer, || path.clone()).unwrap_err();
        assert!(error.is_gone(), "{error}");
    }
}
