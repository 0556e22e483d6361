//! Between API objects and `katalyst_core::placement`.
//!
//! | from | to |
//! |---|---|
//! | zones of a CNR | [`machine()`], [`reported`] |
//! | the rest of a CNR | [`taints`], [`load`] |
//! | a pod | [`pod_request`]; once it is bound, [`allocation`] |
//! | a placement | [`record()`]: the annotations of the Binding |
//!
//! What cannot be read costs itself and is told: a zone is left out, a record counts for nothing.

mod machine;
mod pod;
mod record;
mod report;
#[cfg(test)]
mod tests;

pub use machine::machine;
pub use pod::{placed_request, pod_request};
pub use record::{RecordError, allocation, record};
pub use report::{load, reported, taints};
