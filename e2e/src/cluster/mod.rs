//! A real Kubernetes cluster on this machine: control plane and a node in private namespaces, virtual-machine nodes, hollow nodes.
//!
//! Processes, from the outside in:
//!
//! ```text
//! outside     supervisor in the machine's namespaces: 127.0.0.1:PORT -> api.sock, removes cgroups
//!   unshare   new mount, network and process namespaces
//!     init    first process there; reaps
//!       inside   supervisor: starts components, answers on control.sock, api.sock -> API server
//!         etcd, kube-apiserver, ..., containerd, kubelet, machines
//! ```
//!
//! Each holds a pipe to the next: when one dies, however, everything further in ends and all mounts, links and processes are gone.
//! Nothing is restarted. Everything on disk is in the run directory ([`run_dir`]).

pub mod api;
pub mod cgroups;
pub mod commands;
pub mod component;
pub mod components;
pub mod config;
pub mod control;
pub mod control_plane;
mod error;
pub(crate) mod forward;
pub mod hollow;
pub mod host_node;
mod images;
pub mod init;
pub mod inside;
mod machines;
mod namespaces;
pub mod network;
pub mod outside;
pub mod run_dir;
pub mod state;
mod wait;

pub use config::{ClusterConfig, ClusterOptions};
pub use error::ClusterError;
pub use run_dir::RunDir;
