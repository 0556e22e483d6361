//! Devices that the scheduler chose for a pod, on their way into its containers.
//!
//! The record (`katalyst_crds::devices`) comes with the pod, in its annotation. A container starts with the devices of its record or not at all: what
//! cannot be read, what this machine does not have, and what other pods hold already is an error of the container's creation, which kubelet
//! tells in an event and tries again. A job that silently starts without its card runs on the CPU for days before anybody looks.
//!
//! | file | what |
//! |---|---|
//! | `claims` | the record as claims on cards, checked against the machine and against what others hold (`katalyst_core::card_claims`) |
//! | `node` | device nodes by their path |
//! | `inject` | what a container gets: nodes, names of CDI, environment |
//! | `guard` | all of it together, with notices, events and metrics |

mod claims;
mod guard;
mod inject;
mod metrics;
mod node;

pub use guard::{Guard, GuardConfig};
pub use inject::Injection;
pub use metrics::DeviceMetrics;
