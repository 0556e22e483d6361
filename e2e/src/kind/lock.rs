//! One at a time: commands on a cluster, and engines on their data.

use std::{
    fs::{self, File},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// How often a lock that another process holds is tried again.
const POLL: Duration = Duration::from_millis(50);

/// A locked file, until this value is dropped or its process ends in any way.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock on the file")] File);

impl Lock {
    /// Locks the file at `path`, making it if need be, and waits at most `patience` for its holder.
    pub fn take(path: &Path, patience: Duration) -> anyhow::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        }
        let file = File::create(path).with_context(|| format!("open {}", path.display()))?;
        let end = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(POLL),
                Err(fs::TryLockError::WouldBlock) => {
                    bail!("{} is locked by another process", path.display())
                }
                Err(fs::TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("lock {}", path.display()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_holder_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/lock");
        let first = Lock::take(&path, Duration::ZERO).unwrap();
        let error = Lock::take(&path, Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("locked"), "{error}");
        drop(first);
        Lock::take(&path, Duration::ZERO).unwrap();
    }
}
