//! What a node may offer to batch pods: from one [`NodeView`] to the status that is written for it.
//!
//! The arithmetic is [`katalyst_core::capacity`]; this module feeds it, keeps the offer that stands, and decides whether the
//! result is worth a write. Everything here is a function of its arguments, the clock included.
//!
//! | file | subject |
//! |---|---|
//! | `agent` | whether the node's agent reports, and the two conditions that say so |
//! | `change` | whether a new decision differs enough from what stands to be written |
//! | `message` | the one sentence that explains an offer |
//! | `rounding` | amounts of memory that people can read |
//! | `status` | the part of a CNR's status that this controller owns, written and read back |

mod agent;
mod change;
mod message;
mod rounding;
mod status;
#[cfg(test)]
mod tests;

use katalyst_core::capacity::{Estimate, Observation, Params, Published, estimate};
use katalyst_core::reclaimed::Reclaimed;

pub use agent::Agent;
pub use change::{Pace, Standing, StatusReason, due, holds};
pub use rounding::readable;
pub use status::{FIELD_MANAGER, patch, read_standing};

use crate::index::{NodeView, Report};

/// What was decided for a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// How the node's agent does.
    pub agent: Agent,
    /// The offer with its reasons.
    pub estimate: Estimate,
}

impl Decision {
    /// The estimate as it is written. The exact one is where the slope goes on from.
    pub fn as_written(&self) -> Estimate {
        rounding::as_written(&self.estimate)
    }

    /// The machine, as far as it is known.
    pub fn capacity(&self) -> Reclaimed {
        Reclaimed::new(self.estimate.cpu.capacity, self.estimate.memory.capacity)
    }
}

/// Decides a node's offer. `previous` is the decision that stands, `known` the machine as it was last known, and `now` is in Unix
/// seconds.
///
/// A node without a readable report is treated as stale: it keeps what is allocated and offers nothing more. Its machine does not
/// vanish with the report; without one the offer would have to be zero, which takes the ground from pods that run well.
pub fn decide(
    view: &NodeView,
    params: &Params,
    previous: Option<&Published>,
    known: Reclaimed,
    now: f64,
) -> Decision {
    let agent = Agent::of(view, params);
    let (capacity, service_peak) = match view.cnr.as_deref().map(|cnr| &cnr.report) {
        Some(Report::Seen(report)) => (report.capacity, report.service_peak),
        Some(Report::Missing | Report::Malformed(_)) | None => (known, Reclaimed::ZERO),
    };
    let age_seconds = if agent.is_ready() {
        view.report_age_seconds
    } else {
        f64::INFINITY
    };
    let observation = Observation {
        capacity,
        service_peak,
        allocated: view.allocated,
        age_seconds,
    };
    Decision {
        agent,
        estimate: estimate(&observation, params, previous, now),
    }
}
