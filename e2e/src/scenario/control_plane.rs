//! The API server: objects edited by hand into nonsense, and two minutes without it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::node::held;
use super::pods;
use super::{Outcome, Scenario, Verdict, World};
use crate::kubectl::wait_for;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "edited-by-hand",
            claim: "a CNR edited by hand into nonsense heals by itself",
            run: edited_by_hand,
        },
        Scenario {
            name: "api-server-away",
            claim: "two minutes without the API server: pods stay held, and afterwards the loop converges",
            run: api_server_away,
        },
    ]
}

fn edited_by_hand(world: &World) -> Outcome {
    let node = world.main_node()?;
    let honest = world.wait_offer(&node, 100)?;
    let patch = json!({"status": {"resources": {"allocatable": {"resource.katalyst.kubewharf.io/reclaimed_millicpu": "900000"}, "capacity": {"resource.katalyst.kubewharf.io/reclaimed_millicpu": "900000"}}, "conditions": []}}).to_string();
    world
        .kubectl
        .run(&[
            "patch",
            "cnr",
            &node,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ])
        .map_err(|e| e.to_string())?;
    let healed = wait_for("the offer is true again", Duration::from_secs(60), || {
        let cnr = world.product.cnr(&node)?;
        let offered = crate::product::offered_millicpu(&cnr);
        if offered < 900_000 && crate::product::ready(&cnr) {
            Ok(offered)
        } else {
            Err(format!("offers {offered}m"))
        }
    })?;
    world
        .kubectl
        .run(&["delete", "cnr", &node])
        .map_err(|e| e.to_string())?;
    let again = wait_for("a deleted CNR comes back", Duration::from_secs(120), || {
        let cnr = world.product.cnr(&node)?;
        let offered = crate::product::offered_millicpu(&cnr);
        if offered > 0 && crate::product::ready(&cnr) {
            Ok(offered)
        } else {
            Err(format!("offers {offered}m"))
        }
    })?;
    Ok(Verdict::Shown(format!(
        "{honest}m, edited to 900000m, healed to {healed}m; deleted, back with {again}m"
    )))
}

fn api_server_away(world: &World) -> Outcome {
    if world.breakable.is_none() {
        return Ok(Verdict::Skipped(
            "the API server of this cluster is not ours to stop".into(),
        ));
    }
    let node = world.main_node()?;
    let pod = held(world, "holds-on", &node, 100, &pods::busy(1))?;
    let before = world.product_pods("katalyst-node-agent")?;
    let began = Instant::now();
    world.fault(&["stop", "kube-apiserver"])?;
    std::thread::sleep(Duration::from_secs(120));
    world.fault(&["start", "kube-apiserver"])?;
    let away = began.elapsed();
    let back = Instant::now();
    wait_for("the API server answers", Duration::from_secs(60), || {
        world
            .kubectl
            .run(&["get", "--raw", "/readyz"])
            .map_err(|e| e.to_string())
    })?;
    let limits = world.limits(&pod)?;
    if limits.millicpu.is_none() {
        return Err(format!("the pod was let go: {limits:?}"));
    }
    world.product.wait_ready(Duration::from_secs(180))?;
    held(world, "newcomer", &node, 100, pods::IDLE)?;
    let converged = back.elapsed();
    let now = world.pod("holds-on")?;
    if now["status"]["containerStatuses"][0]["restartCount"]
        != pod["status"]["containerStatuses"][0]["restartCount"]
    {
        return Err("the batch pod restarted".into());
    }
    let names = |pods: &[serde_json::Value]| {
        pods.iter()
            .map(|p| p["metadata"]["uid"].to_string())
            .collect::<Vec<_>>()
    };
    if names(&before) != names(&world.product_pods("katalyst-node-agent")?) {
        return Err("agents were replaced".into());
    }
    world.remove("holds-on")?;
    world.remove("newcomer")?;
    Ok(Verdict::Shown(format!(
        "away {:.0} s, a new pod placed and held {:.0} s after its return",
        away.as_secs_f64(),
        converged.as_secs_f64()
    )))
}
