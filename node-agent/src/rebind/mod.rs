//! The memset binder on this node: pods leave a NUMA node that runs out of memory, and their pages with them.
//!
//! `katalyst_core::rebind` decides. Here are what it decides from (`nodes`: each node's memory; `pods`: whom it may move; pods' pages on each node come from
//! the sampler, at most half a minute old), what is remembered between decisions (`binder`), what others see (`view`) and the metrics.
//! The decision is an override of a pod's memory nodes that the pools carry out with everything else of the pod.
//!
//! Cost: one file of a few hundred bytes for each NUMA node every `interval`, the watermarks every five minutes, nothing at all on a machine
//! of one node. Pods are looked at only while a node is hot or a pod is away from one, and then from numbers that the sampler has already.

mod binder;
mod config;
mod flags;
mod metrics;
mod nodes;
mod pods;
mod view;

pub use binder::{Binder, BinderInput};
pub use config::{RebindConfig, RebindPods};
pub use flags::RebindArgs;
pub use metrics::RebindMetrics;
pub use pods::BinderPod;
pub use view::{LastMove, NodeView, RebindView};
