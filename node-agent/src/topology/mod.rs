//! The machine as the kernel describes it: CPUs and NUMA nodes here, PCI devices in [`devices`].
//!
//! What decisions are made of lives in `katalyst_core::topology`; this module reads it and says in notes what a machine does not tell.

mod cpus;
pub mod devices;
mod nodes;
mod sensed;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tree;

pub use sensed::{Sensed, Sensor};

use std::{collections::BTreeMap, fmt, path::Path};

use katalyst_core::topology::Topology;

use crate::{
    cgroup::file::{FileError, read_as},
    notices::Notices,
};

/// Something that a machine does not tell, and what follows from that; shown among the agent's notices.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// What it is about: the prefix of the notice.
    pub subject: &'static str,
    /// What is missing, with its file, and what is assumed instead.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.text)
    }
}

/// Reads CPUs and NUMA nodes under `root`. Total: a machine that tells nothing is one NUMA node with the CPUs of `/proc/stat`, and a note for
/// each thing that had to be assumed. Cheap enough for each report (one file for each CPU and level), not for each second.
pub fn read(root: &Path) -> (Topology, Vec<Note>) {
    let mut notes = Found::default();
    let mut nodes = nodes::read(root, &mut notes);
    let cpus = cpus::read(root, &nodes, &mut notes);
    nodes::settle(&mut nodes, &cpus);
    let mut notes = notes.0;
    notes.sort();
    notes.dedup();
    (Topology::new(cpus, nodes), notes)
}

/// Puts the notes among the notices, and takes back those that hold no more.
pub fn tell(notices: &Notices, notes: &[Note]) {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for note in notes {
        let text = texts.entry(note.subject).or_default();
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&note.text);
    }
    notices.retain(SUBJECTS, |subject| texts.contains_key(subject));
    for (subject, text) in texts {
        notices.set(subject, text);
    }
}

/// How the subjects of all notes begin.
const SUBJECTS: &str = "topology: ";

/// Notes as they are found. What many CPUs lack is said once.
#[derive(Default)]
struct Found(Vec<Note>);

impl Found {
    fn add(&mut self, subject: &'static str, text: impl Into<String>) {
        self.0.push(Note {
            subject,
            text: text.into(),
        });
    }

    /// The value of a file; `None`, with a note where the text means nothing. A missing file is for the caller to judge.
    fn value<T>(
        &mut self,
        subject: &'static str,
        path: &Path,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        match read_as(path, parse) {
            Ok(value) => Some(value),
            Err(error) => {
                if !error.is_gone() {
                    self.add(subject, crate::chain(&error));
                }
                None
            }
        }
    }
}

/// A file that is there or not, without a note.
fn optional<T>(path: &Path, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, FileError> {
    match read_as(path, parse) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}
