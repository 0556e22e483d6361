//! The verbs. Filter, prioritize and preempt are functions of the question, the ledger and the time; bind talks to the API.

pub mod bind;
mod filter;
mod preempt;
mod prioritize;
mod record;
mod taints;
mod verdicts;

pub use filter::{Decision, Judge, filter, look_closer};
pub use preempt::preempt;
pub use prioritize::prioritize;
pub use record::annotations;
pub use taints::filter_taints;
pub use verdicts::{Memo, REQUESTS, Verdict, Verdicts};

/// The paths that are served, as they stand in kube-scheduler's configuration.
pub const VERBS: [&str; 5] = ["filter", "filter-taints", "prioritize", "preempt", "bind"];
