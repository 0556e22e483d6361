//! What each file held before our first write, kept on disk so that an uninstall can put it back.
//!
//! One JSON file, replaced atomically. A lock file beside it keeps the running agent and a `restore` command apart. The marker
//! `stand-down` that `restore` leaves makes a still running agent stop writing; the next start of an agent removes it.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use katalyst_core::reclaimed::Reclaimed;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::knob::Knob;
use crate::cgroup::PodUid;

const STATE: &str = "cgroup-records.json";
const LOCK: &str = "lock";
const STAND_DOWN: &str = "stand-down";
const VERSION: u32 = 1;

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}")]
pub struct RecordError {
    operation: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RecordError {
    let path = path.to_owned();
    move |source| RecordError {
        operation,
        path,
        source,
    }
}

/// How the records were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// Read.
    Present,
    /// There were none: a first start, or a state directory that was lost.
    Absent,
    /// There were some and they mean nothing; moved aside to this path.
    Damaged {
        /// Where the damaged file is now.
        moved_to: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Old values of one pod's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRecord {
    /// Its group, relative to the mounts.
    pub relative: PathBuf,
    /// What the pod asks for, so that it can be held before the API server answers.
    #[serde(default)]
    pub requests: Reclaimed,
    /// File and its content before our first write.
    pub old: BTreeMap<Knob, String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StateFile {
    version: u32,
    pods: BTreeMap<PodUid, PodRecord>,
}

/// The records of one agent.
#[derive(Debug)]
pub struct Records {
    dir: PathBuf,
    pods: BTreeMap<PodUid, PodRecord>,
    dirty: bool,
}

/// Held while files and records are changed together.
#[derive(Debug)]
pub struct Lock {
    _file: fs::File,
}

impl Records {
    /// Reads the records in `dir`, which is created where it is missing. Never fails for what the file holds: see [`Loaded`].
    pub fn load(dir: &Path) -> Result<(Self, Loaded), RecordError> {
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
        let path = dir.join(STATE);
        let records = |pods| Self {
            dir: dir.to_owned(),
            pods,
            dirty: false,
        };
        let reason = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((records(BTreeMap::new()), Loaded::Absent));
            }
            Err(error) => return Err(failed("read", &path)(error)),
            Ok(bytes) => match serde_json::from_slice::<StateFile>(&bytes) {
                Ok(state) if state.version == VERSION => {
                    return Ok((records(state.pods), Loaded::Present));
                }
                Ok(state) => format!("version {} where {VERSION} was expected", state.version),
                Err(error) => error.to_string(),
            },
        };
        let moved_to = dir.join(format!("{STATE}.damaged"));
        fs::rename(&path, &moved_to).map_err(failed("move aside", &path))?;
        Ok((
            records(BTreeMap::new()),
            Loaded::Damaged { moved_to, reason },
        ))
    }

    /// Records without a directory: for a dry run and for a node whose state directory cannot be written. Nothing survives the process.
    pub fn in_memory() -> Self {
        Self {
            dir: PathBuf::new(),
            pods: BTreeMap::new(),
            dirty: false,
        }
    }

    /// Takes the lock, waiting for another holder.
    pub fn lock(dir: &Path) -> Result<Lock, RecordError> {
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
        let path = dir.join(LOCK);
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|errno| failed("lock", &path)(errno.into()))?;
        Ok(Lock { _file: file })
    }

    /// Whether a `restore` asked the running agent to stop writing.
    pub fn stood_down(dir: &Path) -> bool {
        dir.join(STAND_DOWN).exists()
    }

    /// Asks a running agent to stop writing.
    pub fn stand_down(dir: &Path) -> Result<(), RecordError> {
        let path = dir.join(STAND_DOWN);
        fs::write(
            &path,
            "restore was run; a starting agent removes this file\n",
        )
        .map_err(failed("write", &path))
    }

    /// Removes the marker of an earlier `restore`.
    pub fn stand_up(dir: &Path) -> Result<(), RecordError> {
        let path = dir.join(STAND_DOWN);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Notes what `knob` held, unless something is noted already.
    pub fn remember(
        &mut self,
        uid: &PodUid,
        relative: &Path,
        requests: Reclaimed,
        knob: Knob,
        old: &str,
    ) {
        let record = self.pods.entry(uid.clone()).or_insert_with(|| PodRecord {
            relative: relative.to_owned(),
            requests,
            old: BTreeMap::new(),
        });
        if let std::collections::btree_map::Entry::Vacant(entry) = record.old.entry(knob) {
            entry.insert(old.trim().to_owned());
            self.dirty = true;
        }
    }

    /// Whether the old value of a file is known.
    pub fn knows(&self, uid: &PodUid, knob: Knob) -> bool {
        self.pods
            .get(uid)
            .is_some_and(|record| record.old.contains_key(&knob))
    }

    /// The record of a pod.
    pub fn pod(&self, uid: &PodUid) -> Option<&PodRecord> {
        self.pods.get(uid)
    }

    /// Every pod with a record.
    pub fn pods(&self) -> &BTreeMap<PodUid, PodRecord> {
        &self.pods
    }

    /// Drops the record of a pod.
    pub fn forget(&mut self, uid: &PodUid) {
        self.dirty |= self.pods.remove(uid).is_some();
    }

    /// Whether there is something to save.
    pub fn changed(&self) -> bool {
        self.dirty
    }

    /// Writes the records where they changed: to a new file that is flushed and then renamed over the old one.
    pub fn save(&mut self) -> Result<(), RecordError> {
        if !self.dirty || self.dir.as_os_str().is_empty() {
            return Ok(());
        }
        let path = self.dir.join(STATE);
        let temporary = self.dir.join(format!("{STATE}.new"));
        let state = StateFile {
            version: VERSION,
            pods: self.pods.clone(),
        };
        serde_json::to_vec(&state)
            .map_err(io::Error::from)
            .and_then(|bytes| {
                let mut file = fs::File::create(&temporary)?;
                file.write_all(&bytes)?;
                file.sync_all()?;
                fs::rename(&temporary, &path)
            })
            .map_err(failed("write", &path))?;
        self.dirty = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid() -> PodUid {
        PodUid::new("a")
    }

    #[test]
    fn the_first_value_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (mut records, loaded) = Records::load(dir.path()).unwrap();
        assert_eq!(loaded, Loaded::Absent);
        records.remember(
            &uid(),
            Path::new("kubepods/poda"),
            Reclaimed::ZERO,
            Knob::CfsQuota,
            "-1\n",
        );
        records.remember(
            &uid(),
            Path::new("kubepods/poda"),
            Reclaimed::ZERO,
            Knob::CfsQuota,
            "5000",
        );
        records.save().unwrap();

        let (records, loaded) = Records::load(dir.path()).unwrap();
        assert_eq!(loaded, Loaded::Present);
        assert_eq!(records.pod(&uid()).unwrap().old[&Knob::CfsQuota], "-1");
        assert!(records.knows(&uid(), Knob::CfsQuota) && !records.knows(&uid(), Knob::CpuIdle));
    }

    #[test]
    fn damage_is_moved_aside() {
        for damage in [
            "{\"version\":1,\"pods\":",
            "[]",
            "{\"version\":9,\"pods\":{}}",
            "\0\0",
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(STATE), damage).unwrap();
            let (records, loaded) = Records::load(dir.path()).unwrap();
            assert!(records.pods().is_empty());
            let Loaded::Damaged { moved_to, reason } = loaded else {
                panic!("{damage} was taken: {loaded:?}")
            };
            assert!(moved_to.exists() && !reason.is_empty());
        }
    }

    #[test]
    fn the_marker_comes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!Records::stood_down(dir.path()));
        Records::stand_down(dir.path()).unwrap();
        assert!(Records::stood_down(dir.path()));
        Records::stand_up(dir.path()).unwrap();
        Records::stand_up(dir.path()).unwrap();
        assert!(!Records::stood_down(dir.path()));
    }
}
