//! Prediction within a budget of violations: base and scale from the history of the pods that are here now, and the factor between them from what really came.
//!
//! A node keeps [`NodeHistory`]: about 2.9 KiB a pod of 28 days. It gives [`Shape`]s (what to expect, and how far it may be off) for two [`Horizon`]s, and, a horizon
//! later, [`Score`]s: the factor that would just have been enough. A [`Pool`] of nodes learns the quantiles of these and, from a [`Budget`] and the node's [`Account`],
//! gives the [`Factor`]:
//!
//! ```text
//! peak = clip(base + factor * scale, 0, 1) * sum of limits
//! ```
//!
//! The same is meant for a NUMA node, for CPU and for memory: each is a history of its own. Nothing here knows what a pod is beyond a number, a limit and what it used. All state serialises, so
//! that a restart loses nothing.

mod account;
mod budget;
pub mod hours;
mod node;
mod pod;
mod realised;
mod scores;
mod shape;

pub use account::{Account, Kept};
pub use budget::{Budget, Factor, Pool};
pub use node::NodeHistory;
pub use pod::PodHistory;
pub use realised::{EVERY, Score};
pub use scores::Scores;
pub use shape::{Horizon, Shape};
