//! kind clusters: the users' own path, on machines with a container engine and on machines without.
//!
//! With a reachable Docker engine this is what a person would type: `kind create cluster` with `manifests/kind/cluster.yaml`, and
//! our images loaded. Where the published node image cannot be pulled, [`node_image`] makes one from the toolchain. Without an engine, Debian's runs
//! in private namespaces ([`supervisor`], [`engine`]), and everything is gone when they end.

pub mod cgroups;
pub mod clear;
pub mod command;
pub mod config;
pub mod create;
pub mod docker;
pub mod engine;
pub mod engine_data;
pub mod lock;
pub mod node_image;
pub mod oci_runtime;
pub mod packages;
pub mod process;
pub mod progress;
pub mod relay;
pub mod routes;
pub mod settings;
pub mod state;
pub mod supervisor;
pub mod tool;
mod up;

pub use command::{KindCommand, run};
