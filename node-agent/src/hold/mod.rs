//! Writing kernel files: the only module that does.
//!
//! `limits` turns the ceiling into each reclaimed pod's limits (pure, through `katalyst-core`), `knob` is the table of files, `setting` says what
//! one file of one group is to hold. `plan` compares settings with the kernel (`sets` does for CPUs and memory nodes), `order` puts sets into an order that the
//! kernel takes (pure), `executor` records, applies (`apply`, `memory_writer` for memory nodes) and verifies, `records` keeps what each file held before, `restore` puts it back.
//!
//! Limits are set on the pods' own groups and never on a class group: Kubernetes puts other best-effort pods beside reclaimed ones, and
//! those must not be squeezed. kubelet's top group is never written.

mod apply;
mod executor;
mod knob;
mod limits;
mod memory_writer;
mod order;
mod plan;
mod reads;
mod records;
mod restore;
mod sets;
mod setting;

pub use apply::{FaultPoint, Problem};
pub use executor::{Execution, Executor, Purpose};
pub use knob::Knob;
pub use limits::{HeldPod, PodLimits, pod_limits, settings};
pub use memory_writer::MemoryWriter;
pub use plan::Change;
pub use records::{GroupRecord, Loaded, Lock, RecordError, Records};
pub use restore::{Restored, restore_all};
pub use setting::{Setting, Wanted};
