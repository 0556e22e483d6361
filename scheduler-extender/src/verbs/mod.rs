//! The four verbs. Filter, prioritize and preempt are functions of the question, the ledger and the time; bind talks to the API.

pub mod bind;
mod candidates;
mod filter;
mod preempt;
mod prioritize;

pub use candidates::CandidateError;
pub use filter::{Decision, filter};
pub use preempt::preempt;
pub use prioritize::prioritize;

/// The paths that are served, as they stand in kube-scheduler's configuration.
pub const VERBS: [&str; 4] = ["filter", "prioritize", "preempt", "bind"];
