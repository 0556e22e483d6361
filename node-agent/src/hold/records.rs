//! What each file held before our first write, kept on disk so that an uninstall can put it back.
//!
//! One JSON file, replaced atomically. A lock file beside it keeps the running agent and a `restore` command apart. The marker
//! `stand-down` that `restore` leaves makes a still running agent stop writing; the next start of an agent removes it.
//!
//! Format 2 records groups: `{"version":2,"groups":{"kubepods/podX/abc":{"pod":"X","old":{"cpuset.cpus":"0-7"}}},"reclaimed":{...}}`. Format 1
//! knew one group a pod; it is read and written back as format 2.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use katalyst_core::reclaimed::Reclaimed;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{knob::Knob, setting::Setting};
use crate::cgroup::PodUid;

const STATE: &str = "cgroup-records.json";
const LOCK: &str = "lock";
const MEMORY_LOCK: &str = "lock-memory";
const STAND_DOWN: &str = "stand-down";
const VERSION: u32 = 2;

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

/// Old values of one group's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The pod it belongs to.
    pub pod: PodUid,
    /// File and its content before our first write.
    pub old: BTreeMap<Knob, String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// By the bytes of the path: a path compares component by component, which costs more than all else in a look-up. A parent still comes before what is in it.
    #[serde(with = "by_path")]
    groups: BTreeMap<OsString, GroupRecord>,
    /// What reclaimed pods ask for, so that they can be held before the API server answers.
    #[serde(default)]
    reclaimed: BTreeMap<PodUid, Reclaimed>,
}

/// Groups in the file: by path, as text.
mod by_path {
    use std::{
        collections::BTreeMap,
        ffi::OsString,
        path::{Path, PathBuf},
    };

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::GroupRecord;

    pub(super) fn serialize<S: Serializer>(
        groups: &BTreeMap<OsString, GroupRecord>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            groups
                .iter()
                .map(|(group, record)| (Path::new(group), record)),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<OsString, GroupRecord>, D::Error> {
        let groups = BTreeMap::<PathBuf, GroupRecord>::deserialize(deserializer)?;
        Ok(groups
            .into_iter()
            .map(|(group, record)| (group.into_os_string(), record))
            .collect())
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct StateFile<T> {
    version: u32,
    #[serde(flatten)]
    state: T,
}

#[derive(Debug, Deserialize)]
struct OnlyVersion {
    version: u32,
}

/// Format 1.
#[derive(Debug, Deserialize)]
struct StateV1 {
    pods: BTreeMap<PodUid, PodRecordV1>,
}

#[derive(Debug, Deserialize)]
struct PodRecordV1 {
    relative: PathBuf,
    #[serde(default)]
    requests: Reclaimed,
    old: BTreeMap<Knob, String>,
}

impl From<StateV1> for State {
    fn from(before: StateV1) -> Self {
        let mut state = Self::default();
        for (
            pod,
            PodRecordV1 {
                relative,
                requests,
                old,
            },
        ) in before.pods
        {
            state.reclaimed.insert(pod.clone(), requests);
            state
                .groups
                .insert(relative.into_os_string(), GroupRecord { pod, old });
        }
        state
    }
}

/// The records of one agent.
#[derive(Debug)]
pub struct Records {
    dir: PathBuf,
    state: State,
    dirty: bool,
}

/// Held while files and records are changed together.
#[derive(Debug)]
pub struct Lock {
    _file: fs::File,
}

/// Time between two tries to take a lock.
const PAUSE: Duration = Duration::from_millis(20);

impl Lock {
    fn take(dir: &Path, name: &str, how: FlockOperation) -> Result<Self, RecordError> {
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
        let path = dir.join(name);
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        flock(&file, how).map_err(|errno| failed("lock", &path)(errno.into()))?;
        Ok(Self { _file: file })
    }
}

impl Records {
    /// Reads the records in `dir`, which is created where it is missing. Never fails for what the file holds: see [`Loaded`].
    pub fn load(dir: &Path) -> Result<(Self, Loaded), RecordError> {
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
        let path = dir.join(STATE);
        let records = |state, dirty| Self {
            dir: dir.to_owned(),
            state,
            dirty,
        };
        let reason = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((records(State::default(), false), Loaded::Absent));
            }
            Err(error) => return Err(failed("read", &path)(error)),
            Ok(bytes) => match parse(&bytes) {
                Ok((state, converted)) => {
                    return Ok((records(state, converted), Loaded::Present));
                }
                Err(reason) => reason,
            },
        };
        let moved_to = dir.join(format!("{STATE}.damaged"));
        fs::rename(&path, &moved_to).map_err(failed("move aside", &path))?;
        Ok((
            records(State::default(), false),
            Loaded::Damaged { moved_to, reason },
        ))
    }

    /// Records without a directory: for a dry run and for a node whose state directory cannot be written. Nothing survives the process.
    pub fn in_memory() -> Self {
        Self {
            dir: PathBuf::new(),
            state: State::default(),
            dirty: false,
        }
    }

    /// Takes the lock, waiting for another holder.
    pub fn lock(dir: &Path) -> Result<Lock, RecordError> {
        Lock::take(dir, LOCK, FlockOperation::LockExclusive)
    }

    /// Takes the lock of those who write memory nodes, which may be held for as long as pages move.
    pub fn lock_memory(dir: &Path) -> Result<Lock, RecordError> {
        Lock::take(dir, MEMORY_LOCK, FlockOperation::LockExclusive)
    }

    /// The same, waiting no longer than `patience`. Without it, whoever holds it waits in the kernel for pages of a value that the file holds
    /// already, and sees the marker of a `restore` before its next write.
    pub fn lock_memory_within(dir: &Path, patience: Duration) -> Option<Lock> {
        let deadline = Instant::now() + patience;
        loop {
            match Lock::take(dir, MEMORY_LOCK, FlockOperation::NonBlockingLockExclusive) {
                Ok(lock) => return Some(lock),
                Err(_) if Instant::now() >= deadline => return None,
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
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

    /// Notes what a file of a group held, unless something is noted already.
    pub fn remember(&mut self, pod: &PodUid, group: &Path, knob: Knob, old: &str) {
        if self.old(group, knob).is_some() {
            return;
        }
        let record = self
            .state
            .groups
            .entry(group.as_os_str().to_owned())
            .or_insert_with(|| GroupRecord {
                pod: pod.clone(),
                old: BTreeMap::new(),
            });
        record.old.insert(knob, old.trim().to_owned());
        self.dirty = true;
    }

    /// Notes that the pod is held, and what it asks for.
    pub fn hold(&mut self, pod: &PodUid, requests: Reclaimed) {
        if self.state.reclaimed.get(pod) != Some(&requests) {
            self.state.reclaimed.insert(pod.clone(), requests);
            self.dirty = true;
        }
    }

    /// The old value of a file, where it is known.
    pub fn old(&self, group: &Path, knob: Knob) -> Option<&str> {
        let record = self.state.groups.get(group.as_os_str())?;
        record.old.get(&knob).map(String::as_str)
    }

    /// Whether no group has a record.
    pub fn is_empty(&self) -> bool {
        self.state.groups.is_empty()
    }

    /// Whether this group has a record.
    pub fn contains(&self, group: &Path) -> bool {
        self.state.groups.contains_key(group.as_os_str())
    }

    /// Pods that were held, and what they ask for.
    pub fn reclaimed(&self) -> &BTreeMap<PodUid, Reclaimed> {
        &self.state.reclaimed
    }

    /// Whether a pod has a record.
    pub fn has(&self, pod: &PodUid) -> bool {
        self.state.groups.values().any(|record| &record.pod == pod)
    }

    /// Pods with a record of one of these files.
    pub fn pods_with(&self, which: impl Fn(Knob) -> bool) -> BTreeSet<&PodUid> {
        self.state
            .groups
            .values()
            .filter(|record| record.old.keys().any(|knob| which(*knob)))
            .map(|record| &record.pod)
            .collect()
    }

    /// Pods that have a record.
    pub fn pods(&self) -> BTreeSet<&PodUid> {
        self.state
            .groups
            .values()
            .map(|record| &record.pod)
            .collect()
    }

    /// Puts back the files that `which` names.
    pub fn settings(&self, which: impl Fn(&GroupRecord, Knob) -> bool) -> Vec<Setting> {
        self.state
            .groups
            .iter()
            .flat_map(|(group, record)| record.old.keys().map(move |knob| (group, record, *knob)))
            .filter(|(_, record, knob)| which(record, *knob))
            .map(|(group, record, knob)| Setting::old(&record.pod, Path::new(group), knob))
            .collect()
    }

    /// Drops the record of a file.
    pub fn forget(&mut self, group: &Path, knob: Knob) {
        let Some(record) = self.state.groups.get_mut(group.as_os_str()) else {
            return;
        };
        self.dirty |= record.old.remove(&knob).is_some();
        if record.old.is_empty() {
            self.state.groups.remove(group.as_os_str());
        }
    }

    /// Drops groups that are gone, and pods that are not held any more.
    pub fn retain(
        &mut self,
        group: impl Fn(&Path, &GroupRecord) -> bool,
        held: impl Fn(&PodUid) -> bool,
    ) {
        let before = (self.state.groups.len(), self.state.reclaimed.len());
        self.state
            .groups
            .retain(|path, record| group(Path::new(path), record));
        self.state.reclaimed.retain(|pod, _| held(pod));
        self.dirty |= before != (self.state.groups.len(), self.state.reclaimed.len());
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
            state: &self.state,
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

/// The state, and whether it was of an older format.
fn parse(bytes: &[u8]) -> Result<(State, bool), String> {
    let said = |error: serde_json::Error| error.to_string();
    match serde_json::from_slice::<OnlyVersion>(bytes)
        .map_err(said)?
        .version
    {
        1 => serde_json::from_slice::<StateV1>(bytes).map(|state| (state.into(), true)),
        VERSION => serde_json::from_slice::<State>(bytes).map(|state| (state, false)),
        other => return Err(format!("version {other} where {VERSION} was expected")),
    }
    .map_err(said)
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
        let group = Path::new("kubepods/poda");
        records.remember(&uid(), group, Knob::CfsQuota, "-1\n");
        records.remember(&uid(), group, Knob::CfsQuota, "5000");
        records.hold(&uid(), Reclaimed::new(1, 2));
        records.save().unwrap();

        let (mut records, loaded) = Records::load(dir.path()).unwrap();
        assert_eq!(loaded, Loaded::Present);
        assert_eq!(records.old(group, Knob::CfsQuota), Some("-1"));
        assert_eq!(records.old(group, Knob::CpuIdle), None);
        assert_eq!(records.reclaimed()[&uid()], Reclaimed::new(1, 2));
        records.forget(group, Knob::CfsQuota);
        assert!(records.is_empty() && records.changed());
    }

    #[test]
    fn format_1_is_read_and_written_back_as_format_2() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join(STATE),
            r#"{"version":1,"pods":{"a":{"relative":"kubepods/poda","requests":{"cpu":1000,"memory":5},"old":{"cpu.max":"max 100000"}}}}"#,
        )
        .unwrap();
        for _ in 0..2 {
            let (mut records, loaded) = Records::load(dir.path()).unwrap();
            assert_eq!(loaded, Loaded::Present);
            assert_eq!(
                records.old(Path::new("kubepods/poda"), Knob::CpuMax),
                Some("max 100000")
            );
            assert_eq!(records.reclaimed()[&uid()], Reclaimed::new(1000, 5));
            records.save().unwrap();
        }
        let text = fs::read_to_string(dir.path().join(STATE)).unwrap();
        assert!(text.starts_with(r#"{"version":2,"groups":"#), "{text}");
    }

    #[test]
    fn damage_is_moved_aside() {
        for damage in [
            "{\"version\":1,\"pods\":",
            "[]",
            "{\"version\":9,\"pods\":{}}",
            "{\"version\":2,\"groups\":{\"a\":{\"pod\":\"a\",\"old\":{\"no.such.file\":\"1\"}}}}",
            "\0\0",
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(STATE), damage).unwrap();
            let (records, loaded) = Records::load(dir.path()).unwrap();
            assert!(records.is_empty());
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
