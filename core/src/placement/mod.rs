//! Where a pod goes: whether a node can take it, with which NUMA nodes and devices, how good that is, and who would have to leave.
//!
//! ```text
//!  CNR zones ──> Machine ┐
//!  CNR offer, taints ────┼─> NodePlacement ──┐
//!  pods' records ────────┘   (add, remove)   ├─ fit ──> Placement ──> Allocation (added to the node), record in the Binding
//!  pod ──> PodRequest ───────────────────────┘     └──> Unfit: one of few reasons
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`machine`] | what a node has: NUMA nodes, GPUs, network cards, and how near they are to each other |
//! | [`allocation`] | what one pod holds of a node |
//! | [`node`] | a node with all that its pods hold, changed pod by pod |
//! | [`request`] | what a pod asks for, read from its annotations and containers; resource names of others are translated in one table |
//! | [`fit()`] | the one decision: filter, bind and preemption all call it |
//! | [`score()`] | how good a placement is |
//! | [`preempt`] | the fewest pods that must leave |
//! | [`reclaimed`] | reclaimed amounts alone |
//!
//! All of it is pure, and none of it depends on the order of a hash: the same inputs give the same placement.

pub mod allocation;
pub mod fit;
pub mod machine;
pub mod node;
pub mod preempt;
pub mod reclaimed;
pub mod request;
pub mod score;
#[cfg(test)]
mod tests;
mod unfit;

pub use allocation::{Allocation, CardShare, HeldCard, NumaShare, RecordedDevices, Uid};
pub use fit::{ContainerPlacement, PlacedCard, Placement, Quality, fit, fit_on, fits};
pub use machine::{Machine, Scope};
pub use node::NodePlacement;
pub use preempt::{Holder, victims};
pub use reclaimed::{MAX_SCORE, ReclaimedNode, Strategy};
pub use request::PodRequest;
pub use score::{ScorePolicy, Scoring, rank, score};
pub use unfit::Unfit;
