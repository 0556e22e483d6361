//! Peak prediction, judged on recorded load: how much would have been saved, how often more was needed than predicted, by how much, and on which machines.
//!
//! The protocol is that of Bashir et al. (EuroSys 2021) as written down in `docs/prediction.md`. Predictors are those of
//! [`katalyst_core::prediction`]; what is here reads traces, knows the future, and counts. Nothing here decides.

pub mod crane;
pub mod judge;
pub mod metrics;
pub mod ours;
pub mod picture;
pub mod pooled;
pub mod reference;
pub mod references;
pub mod report;
pub mod run;
pub mod scenario;
pub mod series;
