//! A whole cluster through a week: services from recorded load, an endless batch backlog, and every decision that the product takes for a batch pod.
//!
//! Prediction, offer, fit and rank of nodes, ceiling and its split, eviction are `core`'s; what is here plays load, draws batch pods and counts.

pub mod batch;
pub mod node;
pub mod report;
pub mod run;
