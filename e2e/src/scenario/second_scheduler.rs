//! A second kube-scheduler beside the cluster's own, by the component for clusters whose scheduler cannot be configured.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::asked::{Ask, Given, bound, milligpu};
use super::shapes::Machine;
use super::world::NAMESPACE;
use super::{Outcome, Scenario, Verdict, World, declared};
use crate::cache::Cache;
use crate::cluster::RunDir;
use crate::cluster::network::HOST_NODE;
use crate::image::{self, catalogue};
use crate::kubectl::wait_for;
use crate::product;

const FLEET: &str = "second";
/// The component's name, and the scheduler that pods name.
const NAME: &str = "katalyst-scheduler";
/// The cluster has no registry: kube-scheduler as it was built for the control plane, in an image of its own.
const IMAGE: &str = "katalyst.local/kube-scheduler";
/// Pods of each scheduler, three quarters of all cards together.
const EACH: usize = 6;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "second-scheduler",
        claim: "a second kube-scheduler with the extender places the pods that choose it, beside the cluster's own, and the two give no card twice",
        run: |world| {
            let Some(name) = world.breakable.clone() else {
                return Ok(Verdict::Skipped(
                    "images are loaded into a cluster of our own only".into(),
                ));
            };
            let machines = vec![Machine::cards("second-0", "s", false)];
            let outcome = declared::on(world, FLEET, machines, |world| {
                install(world, &name).and_then(|()| both(world))
            });
            remove(world)?;
            outcome
        },
    }]
}

fn install(world: &World, cluster: &str) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let cache = Cache::from_env().map_err(|error| text(&error))?;
    let run = RunDir::for_cluster(cluster).map_err(|error| text(&error))?;
    let archive = run.file("kube-scheduler.tar");
    let tagged = format!("{IMAGE}:dev");
    let spec = catalogue::program_image(&tagged, &cache.program("kube-scheduler"))
        .map_err(|error| text(&error))?;
    image::write(&spec, &archive).map_err(|error| text(&error))?;
    // Emulated machines would unpack it for minutes; one node is enough for both replicas.
    let file = archive.display().to_string();
    world.cluster(&["load-image", "--node", HOST_NODE, &file])?;
    let place = json!({"op": "add", "path": "/spec/template/spec/nodeSelector", "value": {"kubernetes.io/hostname": HOST_NODE}});
    let more = json!({
        "images": [{"name": "registry.k8s.io/kube-scheduler", "newName": IMAGE, "newTag": "dev"}],
        "patches": [{"target": {"kind": "Deployment", "name": NAME}, "patch": json!([place]).to_string()}],
    });
    world
        .product
        .apply_with(&world.root, "second-scheduler", &more)?;
    wait_for("the second scheduler", Duration::from_secs(90), || {
        let words = ["-n", product::NAMESPACE, "get", "deployment", NAME];
        let deployment = world.kubectl.json(&words).map_err(|error| text(&error))?;
        if deployment["status"]["readyReplicas"] == 2 {
            Ok(())
        } else {
            Err(deployment["status"].to_string())
        }
    })
}

/// Everything that the component added.
fn remove(world: &World) -> Result<(), String> {
    let delete = |words: &[&str]| {
        let words = [&["delete", "--ignore-not-found", "--wait=false"], words].concat();
        world
            .kubectl
            .run(&words)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    let leader = format!("{NAME}-leader");
    let volumes = format!("{NAME}-volumes");
    delete(&["clusterrolebinding", NAME, &volumes])?;
    let inside = ["-n", product::NAMESPACE];
    delete(&[&inside[..], &["deployment,serviceaccount,lease", NAME]].concat())?;
    delete(&[&inside[..], &["role,rolebinding", &leader]].concat())
}

fn ask(name: &str, scheduler: &str) -> Ask {
    Ask::new(FLEET, name, &milligpu(250)).spec("schedulerName", json!(scheduler))
}

fn both(world: &World) -> Outcome {
    let schedulers = [("own", "default-scheduler"), ("second", NAME)];
    let mut names = Vec::new();
    for index in 0..EACH {
        for (kind, scheduler) in schedulers {
            let name = format!("{kind}-{index}");
            ask(&name, scheduler).create(world)?;
            names.push(name);
        }
    }
    let mut cards = BTreeMap::<String, u64>::new();
    for name in &names {
        let Given { cards: held, .. } = bound(world, name)?;
        let [(card, percent)] = held.as_slice() else {
            return Err(format!("{name} should have one card: {held:?}"));
        };
        *cards.entry(card.clone()).or_default() += percent;
    }
    if cards.values().any(|percent| *percent > 100) {
        return Err(format!("a card is given beyond what it is: {cards:?}"));
    }
    let placed_by = wait_for("who placed them", Duration::from_secs(20), || {
        placed_by(world)
    })?;
    Ok(Verdict::Shown(format!(
        "{} pods on cards {cards:?}, placed by {placed_by:?}",
        names.len()
    )))
}

/// How many pods each scheduler says that it placed.
fn placed_by(world: &World) -> Result<BTreeMap<String, usize>, String> {
    let words = [
        "-n",
        NAMESPACE,
        "get",
        "events",
        "--field-selector=reason=Scheduled",
    ];
    let events = world
        .kubectl
        .json(&words)
        .map_err(|error| error.to_string())?;
    // By name: a second try finds the events of the first.
    let mut placed = BTreeMap::<String, BTreeSet<&str>>::new();
    for event in events["items"].as_array().into_iter().flatten() {
        let pod = event["involvedObject"]["name"].as_str().unwrap_or_default();
        let component = |field: &Value| {
            field
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let by = component(&event["reportingComponent"])
            .or_else(|| component(&event["source"]["component"]));
        if pod.starts_with("own-") || pod.starts_with("second-") {
            placed
                .entry(by.unwrap_or_default())
                .or_default()
                .insert(pod);
        }
    }
    let counts: BTreeMap<String, usize> = placed
        .into_iter()
        .map(|(by, pods)| (by, pods.len()))
        .collect();
    let expected = BTreeMap::from([
        ("default-scheduler".to_owned(), EACH),
        (NAME.to_owned(), EACH),
    ]);
    if counts == expected {
        Ok(counts)
    } else {
        Err(format!("{counts:?}"))
    }
}
