//! Prediction within a budget of violations: base and scale from the history of the pods that are here now, and the factor between them from what really came.
//!
//! A node keeps [`NodeHistory`]: about 2.9 KiB a pod of 28 days. It gives [`Shape`]s (what to expect, and how far it may be off) for two [`Horizon`]s, and, a horizon
//! later, [`Score`]s: the factor that would just have been enough.

pub mod hours;
mod node;
mod pod;
mod realised;
mod shape;

pub use node::NodeHistory;
pub use pod::PodHistory;
pub use realised::{EVERY, Score};
pub use shape::{Horizon, Shape};
