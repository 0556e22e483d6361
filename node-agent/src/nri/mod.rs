//! The node resource interface (NRI): the container runtime asks before it creates a container, so that the first instruction of a pod
//! already runs on the right CPUs and memory nodes.
//!
//! The plugin answers from memory through a [`Placer`] and never decides itself. Whatever it answers, the reconciler makes true on its own:
//! a runtime goes on without a plugin that is late or away. From the socket inwards: [`mux`] and [`ttrpc`] cut bytes into frames ([`wire`]
//! joins them), [`messages`] are what the frames hold, [`session`] is one connection, [`answers`] what is
//! said on it, [`plugin`] keeps one, [`bounded`] asks the placer
//! within a budget.
//!
//! The plugin never calls UpdateContainers on its own: a call that crosses an update of kubelet can lock the runtime up
//! (containerd#13733), and the reconciler's write of one file is cheaper than a run of the OCI runtime.

pub mod answers;
pub mod bounded;
#[cfg(test)]
mod double;
pub mod features;
pub mod live;
pub mod messages;
pub mod mux;
mod placer;
pub mod plugin;
#[cfg(test)]
mod scripted;
pub mod session;
pub mod single;
pub mod status;
pub mod translate;
pub mod ttrpc;
pub mod wire;

pub use placer::{
    Adjustment, DeviceKind, DeviceNode, MemoryPolicy, NewContainer, Placer, PolicyMode, Resources,
    RunningContainer, Sandbox, Scheduling,
};
