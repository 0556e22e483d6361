//! The node agent: senses the kernel, reports to the node's CustomNodeResource, holds reclaimed pods under the ceiling that services
//! leave, and evicts when the offer no longer carries what is allocated. Every decision is a function of `katalyst-core`.

pub mod args;
pub mod cgroup;
pub mod devices;
pub mod events;
pub mod eviction;
pub mod hold;
pub mod kernel;
pub mod kubelet;
pub mod metrics;
pub mod notices;
pub mod nri;
pub mod pods;
pub mod pools;
pub mod rebind;
pub mod reflex;
pub mod sample;

pub use args::{Args, Command};
pub use restore::restore_command;
pub use run::start;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use katalyst_runtime::Component;

/// What this process is.
pub const COMPONENT: Component = Component {
    name: "katalyst-node-agent",
    version: env!("CARGO_PKG_VERSION"),
    admin_addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 10261),
};
pub mod report;
pub mod restore;
mod run;
pub mod topology;

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
