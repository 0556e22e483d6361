//! Eviction of reclaimed pods when the offer stays below what is allocated.
//!
//! `rounds` decides (pure, through `katalyst-core`), `carry_out` asks the API server. Nothing here acts on doubt: an offer that is stale,
//! missing, unreadable or cut off starts no eviction, and neither does one that this node's own measurements contradict.

mod carry_out;
mod rounds;

pub use carry_out::{Evictor, run};
pub use rounds::{Round, Rounds, RoundsConfig, Selected};
