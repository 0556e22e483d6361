//! The chassis each binary sits on: flags, logging, metrics, the admin server, the Kubernetes client with
//! explicit timeouts, leader election, and an ordered shutdown.
//!
//! A binary parses its flags and hands a start function to [`main_with`]:
//!
//! ```no_run
//! use std::{net::{Ipv4Addr, SocketAddr}, process::ExitCode};
//! use katalyst_runtime::{BoxError, Component, Process, main_with, flags::RuntimeArgs};
//!
//! async fn start(process: Process, args: RuntimeArgs) -> Result<(), BoxError> {
//!     process.serve_admin(&args.admin, axum::Router::new()).await?;
//!     let clients = process.connect(&args.client).await?;
//!     let stopping = process.tasks.stopping();
//!     process.tasks.spawn("loop", async move {
//!         let _client = clients.api;
//!         stopping.cancelled().await;
//!         Ok::<(), BoxError>(())
//!     });
//!     Ok(())
//! }
//!
//! fn main() -> ExitCode {
//!     let component = Component {
//!         name: "katalyst-example",
//!         version: env!("CARGO_PKG_VERSION"),
//!         admin_addr: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 10263)),
//!     };
//!     let args = <RuntimeArgs as Parse>::parse();
//!     main_with(component, &args.clone(), |process| start(process, args))
//! }
//! # trait Parse { fn parse() -> Self; }
//! # impl Parse for RuntimeArgs { fn parse() -> Self { unimplemented!() } }
//! ```
//!
//! The crate knows nothing of QoS classes or topology. It owns the process: which tasks run, what is healthy,
//! who leads, and in which order everything stops.

pub mod admin;
pub mod backoff;
pub mod client;
pub mod events;
pub mod flags;
pub mod health;
pub mod lease;
pub mod logging;
pub mod metrics;
mod panics;
mod process;
mod process_metrics;
mod request_metrics;
mod request_timeout;
mod run;
mod shutdown;
mod signals;
pub mod tls;

pub use client::Clients;
pub use events::Events;
pub use health::{Gate, Health, Heartbeat};
pub use lease::{Leader, Leadership};
pub use metrics::Metrics;
pub use process::{Component, Process};
pub use run::main_with;
pub use shutdown::{Outcome, Tasks};

/// Any error a task or a start function may end with. `thiserror` enums and `anyhow::Error` both convert.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
