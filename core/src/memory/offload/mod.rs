//! How much cold memory to take from a group now, so that it is not missed.
//!
//! Source, every [`INTERVAL_SECONDS`]: the group's charge, the part of the time that its tasks waited for memory (`memory.pressure`, some), and what came back of what was taken (refaults). All laws share
//! the signal that counts, waiting, as in TMO (ASPLOS'22): which pages are cold is the kernel's to know. `laws` holds TMO's law, oomd's immediate backoff and [`Guarded`], ours; `policy` how far a pod lets itself be taken from.
//!
//! The request is stateless (`memory.reclaim`): an agent that dies leaves no limit behind.

mod laws;
mod policy;

pub use laws::{Backoff, Guarded, Law, Sample, Tmo};
pub use policy::{Params, Policy};

/// Time between steps. 6 s, TMO's: some scans of the LRU lists, and short enough for the pressure average to follow.
pub const INTERVAL_SECONDS: f64 = 6.0;
