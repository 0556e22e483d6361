//! Which objects a running list has named, so that the others can be forgotten at its end.

use std::collections::{BTreeMap, BTreeSet};

use super::Kind;

/// The lists that are running now.
#[derive(Debug, Default)]
pub(super) struct Relist {
    running: BTreeMap<Kind, BTreeSet<String>>,
}

impl Relist {
    /// A list of `kind` starts; one that was running is void.
    pub(super) fn begin(&mut self, kind: Kind) {
        self.running.insert(kind, BTreeSet::new());
    }

    /// Notes that `name` exists; true when a list of `kind` is running.
    pub(super) fn saw(&mut self, kind: Kind, name: &str) -> bool {
        match self.running.get_mut(&kind) {
            Some(names) => {
                names.insert(name.to_owned());
                true
            }
            None => false,
        }
    }

    /// The list of `kind` is complete: what it named. `None` when none was running.
    pub(super) fn end(&mut self, kind: Kind) -> Option<BTreeSet<String>> {
        self.running.remove(&kind)
    }
}
