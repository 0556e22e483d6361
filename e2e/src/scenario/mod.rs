//! The end-to-end scenarios: each a claim about the product, shown on a real API server and a real kernel.
//!
//! A scenario that cannot run on the cluster at hand is *skipped with its reason*, and counted as such; it never passes.

mod asked;
mod cards;
mod control_plane;
mod crowd;
mod declared;
mod devices;
mod extenders;
mod faults;
mod lifecycle;
mod machine;
mod node;
mod numa;
mod placement;
mod pods;
mod preemption;
mod scheduler;
mod second_scheduler;
mod shapes;
mod suite;
mod taints;
mod tls;
mod world;

pub(crate) use declared::declared_cards;
pub use suite::{SuiteArgs, run};
pub use world::World;

/// What a scenario returns.
pub type Outcome = Result<Verdict, String>;

/// How a scenario ended when nothing went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The claim was shown; what was seen, in a few words.
    Shown(String),
    /// The cluster at hand cannot show it, and why.
    Skipped(String),
}

/// One claim.
pub struct Scenario {
    /// Stable name, for `--only`.
    pub name: &'static str,
    /// The claim in words.
    pub claim: &'static str,
    /// Shows it.
    pub run: fn(&World) -> Outcome,
}
