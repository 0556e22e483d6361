//! Holding reclaimed pods under the ceiling.
//!
//! `limits` turns the ceiling into each pod's limits (pure, through `katalyst-core`), `knob` is the table of the files that carry them,
//! `executor` compares with the kernel and applies the difference, `records` keeps what each file held before, `restore` puts it back.
//!
//! Limits are set on the pods' own groups and never on a class group: Kubernetes puts other best-effort pods beside reclaimed ones, and
//! those must not be squeezed.

mod executor;
mod knob;
mod limits;
mod records;
mod restore;

pub use executor::{Change, Outcome, Problem, apply, diff, record};
pub use knob::Knob;
pub use limits::{HeldPod, PodLimits, Setting, pod_limits, settings};
pub use records::{Loaded, Lock, RecordError, Records};
pub use restore::{Restored, restore_all, restore_pod};
