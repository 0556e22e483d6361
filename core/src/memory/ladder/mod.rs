//! What is done about a shortage: rungs, cheapest first, each given time to work before the next.
//!
//! | rung | what it does | what it costs | time to work | again after |
//! |---|---|---|---|---|
//! | stop scheduling | no new batch pod comes | batch waits | 2 s | - |
//! | tune memcg | soft limits of reclaimed pods fall, so that the kernel takes from them first | they are slowed | 3 s | 3 s |
//! | drop cache | page cache of reclaimed pods is taken, then what shared pods cache beyond their request | they read it again | 4 s | 8 s |
//! | offload | cold memory of reclaimed pods goes to swap or zram | CPU, and reads when it comes back | 5 s | 10 s |
//! | evict | the eviction ranker is asked for a victim | work is lost | 10 s | 15 s |
//!
//! Times are halved while the shortage is critical. A rung that helped (what is available grew by a quarter of what was missing) is taken again before the next; one that has nothing to
//! take is passed over and says so. The ladder stops where it is when the shortage ends, gives limits back after [`RELEASE_SECONDS`] and lets batch come again after [`REOPEN_SECONDS`]. A
//! shortage that is only foreseen stops new batch pods and no more. Eviction is proposed only while the shortage is critical, or has lasted for [`PATIENCE_SECONDS`].
//!
//! `rung` is the table above, `victims` chooses how much from whom, `climb` is the state.

mod climb;
mod rung;
mod victims;

pub use climb::{Action, Ladder, Means, Proposal, Step};
pub use rung::Rung;
pub use victims::{Victim, drop_cache, offload, soft_limits};

/// Calm for this long before soft limits are given back. A pod that was squeezed grows again at once; sooner, the two would chase each other.
pub const RELEASE_SECONDS: f64 = 10.0;
/// Calm for this long before new batch pods may come: longer than one takes to start and to fill its memory.
pub const REOPEN_SECONDS: f64 = 60.0;
/// A shortage that is not critical and outlasted every other rung for this long is worth an eviction.
pub const PATIENCE_SECONDS: f64 = 60.0;
