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
pub mod any_bytes;
pub mod bounded;
#[cfg(test)]
mod double;
pub mod features;
pub mod flags;
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

pub use flags::NriArgs;
pub use placer::{
    Adjustment, DeviceKind, DeviceNode, MemoryPolicy, NewContainer, Placer, PolicyMode, Refused,
    Resources, RunningContainer, Sandbox, Scheduling,
};

use std::{path::Path, sync::Arc};

use katalyst_runtime::{BoxError, Process};

use crate::notices::Notices;
use bounded::BoundedPlacer;
use plugin::PluginConfig;
use session::Identity;
use status::Status;

/// Name among the runtime's plugins.
const NAME: &str = "katalyst";
/// File in the state directory by which a node has one plugin.
const LOCK: &str = "nri.lock";

/// Starts the plugin: its connection and the thread that asks the placer.
pub fn start(
    process: &Process,
    args: &NriArgs,
    state_dir: &Path,
    placer: Arc<dyn Placer>,
    notices: &Notices,
) {
    let status = Status::new(notices.clone(), &process.metrics);
    let shown = status.clone();
    process
        .state
        .provide("nri", move || serde_json::json!(shown.state()));
    let (placer, body) = BoundedPlacer::new(placer);
    let config = PluginConfig {
        socket: args.nri_socket.clone(),
        lock: state_dir.join(LOCK),
        identity: Identity {
            name: NAME.to_owned(),
            index: args.nri_plugin_index.clone(),
        },
        budget: args.nri_budget,
    };
    let stopping = process.tasks.stopping();
    // Ends with the connection, which holds the only way to it.
    process.tasks.spawn_thread("nri placer", move || {
        body();
        Ok::<(), BoxError>(())
    });
    process
        .tasks
        .spawn("nri", plugin::run(config, placer, status, stopping));
}
