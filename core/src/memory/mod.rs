//! Memory advice: when a node runs short of memory, and what is done about it before anything is killed.
//!
//! | module | decides |
//! |---|---|
//! | [`detect`] | how short of memory the machine or a NUMA node is, by several independent measures |
//! | [`ladder`] | which rung of mitigation is next, on whom, and when to stop |
//! | [`protect`] | how much of each service's memory reclaim must leave alone |
//! | [`guard`] | how much memory reclaimed pods may hold of what services leave, in total and on the NUMA nodes they are bound to |
//! | [`offload`] | how much cold memory to take from a group now |
//!
//! Nothing here acts on one sample: a measure counts once it held in two readings and for its time ([`detect::Gate`]). A measure whose kernel file is missing
//! is *off*, and says which file; what is off is neither calm nor pressed.

pub mod detect;
pub mod guard;
pub mod ladder;
pub mod offload;
pub mod protect;
