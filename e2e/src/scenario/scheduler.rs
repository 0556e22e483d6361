//! The cluster's own kube-scheduler with another configuration for a while.

use std::fs;

use super::{Outcome, Verdict, World};
use crate::cluster::{RunDir, control_plane};
use crate::pki::names;

/// Runs a scenario while kube-scheduler runs with the configuration `edit` makes of the shipped one in `manifests/scheduler/FILE`, then puts
/// the old one back.
pub(super) fn configured(
    world: &World,
    file: &str,
    edit: impl FnOnce(String) -> String,
    scenario: impl FnOnce(&World) -> Outcome,
) -> Outcome {
    let Some(name) = world.breakable.as_deref() else {
        return Ok(Verdict::Skipped(
            "the kube-scheduler of this cluster is not ours to configure".into(),
        ));
    };
    let run = RunDir::for_cluster(name).map_err(|error| error.to_string())?;
    let shipped = world.root.join("manifests/scheduler").join(file);
    let template =
        fs::read_to_string(&shipped).map_err(|error| format!("{}: {error}", shipped.display()))?;
    let kubeconfig = run.pki().join(format!("{}.conf", names::SCHEDULER));
    let text = control_plane::scheduler_config(&edit(template), &kubeconfig)
        .map_err(|error| error.to_string())?;
    let live = run.file("scheduler.yaml");
    let before =
        fs::read_to_string(&live).map_err(|error| format!("{}: {error}", live.display()))?;
    let switch = |text: &str| -> Result<(), String> {
        fs::write(&live, text).map_err(|error| format!("{}: {error}", live.display()))?;
        world.fault(&["restart", "kube-scheduler"]).map(drop)
    };
    // Whatever comes of it, the next scenario finds the configuration of before.
    let outcome = switch(&text).and_then(|()| scenario(world));
    switch(&before)?;
    outcome
}
