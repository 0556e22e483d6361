//! The node resource interface (NRI): the container runtime asks before it creates a container, so that the first instruction of a pod
//! already runs on the right CPUs and memory nodes.
//!
//! The plugin answers from memory through a [`Placer`] and never decides itself. Whatever it answers, the reconciler makes true on its own:
//! a runtime goes on without a plugin that is late or away.

mod placer;

pub use placer::{
    Adjustment, DeviceKind, DeviceNode, MemoryPolicy, NewContainer, Placer, PolicyMode, Resources,
    RunningContainer, Sandbox, Scheduling,
};
