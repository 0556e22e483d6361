//! The report: the agent's half of the node's CustomNodeResource, by server-side apply.
//!
//! `status`, `zones` and `consumers` build it (pure), `pacing` says when it is due (pure), `publish` sends it, `offer` watches the other half for what the
//! controller offers.

mod consumers;
mod machine;
mod offer;
mod pacing;
mod publish;
mod status;
pub mod zones;

pub use offer::{Offer, watch_offer};
pub use pacing::{Pacing, Reported};
pub use publish::{Publisher, publish};
pub use status::{AgentIdentity, report_status};
