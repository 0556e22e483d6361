//! The two watches that keep the ledger: custom resources of nodes, and pods on nodes.

mod offers;
mod pods;

pub use offers::{GuardedCnr, apply_offer, offer_of, watch_offers};
pub use pods::{apply_pod, watch_pods};
