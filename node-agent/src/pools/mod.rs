//! CPU pools on this node: from pods and kernel to a plan of `katalyst_core::pools`, and from the plan to cpusets.
//!
//! `inputs` gathers what the plan follows from (pods as the API server knows them, kubelet's own managers, what groups hold), `settings`
//! turns the plan into file contents (pure), `time` does for weight, quota and burst, `wild` finds pods to isolate, `run` is the loop, `pass` one turn of it, `tell` says what came of it and `view` is what
//! others see, `placer` answers the container runtime.
//!
//! The set is written into the pod's own group, where containers inherit it, so that it is there before the first container is, and into
//! containers that have a set of their own. A pod that may use every CPU has nothing written, and on a node where nobody wishes
//! anything that is every pod. Everything runs on the reflex thread.

mod config;
mod inputs;
mod metrics;
mod pass;
mod placer;
mod run;
mod settings;
mod tell;
mod time;
mod view;
mod wild;

pub use config::PoolsConfig;
pub use metrics::PoolMetrics;
pub use placer::PoolPlacer;
pub use run::{Pools, Sensed};
pub use view::{Nodes, PlacedPod, PoolsView, RefusedPod};
