//! What a file of a group is to hold.

use std::path::{Path, PathBuf};

use super::knob::Knob;
use crate::cgroup::PodUid;

/// One file and what it is to hold. The group may be a pod's or one below it, such as a container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The pod.
    pub pod: PodUid,
    /// The group, relative to the mounts.
    pub group: PathBuf,
    /// The file.
    pub knob: Knob,
    /// Its content.
    pub wanted: Wanted,
    /// What kubelet or the runtime would have put there, for a group whose old value is not known because the records were lost or
    /// because the group began its life under our rule. [`Knob::kubelet_default`] where absent.
    pub default: Option<String>,
}

/// Content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// This.
    Value(String),
    /// What it held before the agent; then the record of it ends.
    Old,
}

impl Setting {
    /// A value.
    pub fn value(pod: &PodUid, group: &Path, knob: Knob, value: impl Into<String>) -> Self {
        Self::new(pod, group, knob, Wanted::Value(value.into()))
    }

    /// The old value.
    pub fn old(pod: &PodUid, group: &Path, knob: Knob) -> Self {
        Self::new(pod, group, knob, Wanted::Old)
    }

    fn new(pod: &PodUid, group: &Path, knob: Knob, wanted: Wanted) -> Self {
        Self {
            pod: pod.clone(),
            group: group.to_owned(),
            knob,
            wanted,
            default: None,
        }
    }

    /// The same with another default.
    #[must_use]
    pub fn or_default(self, default: impl Into<String>) -> Self {
        Self {
            default: Some(default.into()),
            ..self
        }
    }

    /// Text of the default.
    pub(super) fn default_text(&self) -> &str {
        self.default
            .as_deref()
            .unwrap_or_else(|| self.knob.kubelet_default())
    }
}
