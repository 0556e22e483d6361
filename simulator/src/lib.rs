//! Replays usage traces through the decisions of `core`, to see what a setting would have offered and what it would have cost.
//!
//! There is no second copy of any policy here: [`replay`] feeds a machine's samples to [`katalyst_core::capacity`] exactly as the agent and the capacity controller do,
//! and counts. Rollouts are judged before they happen.

pub mod cluster;
pub mod gpu;
pub mod parallel;
pub mod peak;
pub mod replay;
pub mod trace;
