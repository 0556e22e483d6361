//! The central loops of the product.
//!
//! Two of them share one index, one planner and one writer:
//!
//! - **lifecycle**: each Node has a CNR with its name and labels, owned by it ([`lifecycle`]);
//! - **capacity**: each CNR's status says what the node offers to batch pods, and why ([`capacity`]).
//!
//! Data flows one way: watches ([`watch`], [`sinks`]) keep the [`index`]; the [`worker`] takes views of it, the [`plan`]ner turns
//! each into at most one write, and only [`apply`] writes. The index, the planner and both controllers are plain functions of
//! their arguments; clocks, randomness and clients stay at the edges.
//!
//! The crate must not touch a node's kernel, and must not decide what `katalyst_core` decides.

pub mod apply;
pub mod args;
pub mod capacity;
mod causes;
pub mod clock;
pub mod complaints;
pub mod explain;
pub mod index;
pub mod lifecycle;
pub mod metrics;
pub mod outage;
pub mod plan;
mod run;
pub mod sinks;
mod state;
#[cfg(test)]
mod testing;
pub mod watch;
pub mod worker;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use katalyst_runtime::Component;

pub use args::Args;
pub use run::{run, start};

/// This program.
pub const COMPONENT: Component = Component {
    name: "katalyst-controllers",
    version: env!("CARGO_PKG_VERSION"),
    admin_addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 10263),
};
