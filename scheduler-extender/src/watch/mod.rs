//! The two watches that keep the ledger, custom resources of nodes and pods on nodes, and one of disruption budgets.

mod budgets;
mod held;
mod listings;
mod offers;
mod pods;

pub use budgets::{apply_budget, watch_budgets};
pub use held::held;
pub use listings::{ListingRequests, Listings, listings};
pub use offers::{GuardedCnr, apply_offer, offer_of, watch_offers};
pub use pods::{apply_pod, watch_pods};
