//! Five hundred pods with cards while extenders crash: the leader first, later every replica at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::asked::{Ask, Given, milligpu};
use super::world::NAMESPACE;
use super::{Outcome, Scenario, Verdict, World, cards, declared, extenders};
use crate::kubectl::wait_for;

const FLEET: &str = "crowd";
/// Pods: a fifth each of whole cards, two thirds and thirds, two fifths of quarters. In all 249 of the 600 cards.
const CROWD: usize = 500;
/// A lease of 15 s that a dead leader does not give back, and kube-scheduler's back-off of at most 10 s, on a busy machine.
const RECOVERED: Duration = Duration::from_secs(90);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "crowd-survives-kills",
        claim: "500 pods with cards while the leading extender crashes, and later every replica: each is bound once, no card is given beyond 100 %, nothing is lost",
        run: |world| declared::on(world, FLEET, cards::machines(FLEET), crowd),
    }]
}

fn amount(index: usize) -> u64 {
    match index % 5 {
        0 => 1_000,
        1 | 2 => 250,
        3 => 660,
        _ => 330,
    }
}

fn name_of(index: usize) -> String {
    format!("crowd-{index}")
}

/// How many pods of the crowd are bound.
fn bound(world: &World) -> Result<usize, String> {
    let names = world
        .kubectl
        .run(&[
            "-n",
            NAMESPACE,
            "get",
            "pods",
            "--field-selector=spec.nodeName!=",
            "--selector=crowd=yes",
            "-o",
            "name",
        ])
        .map_err(|error| error.to_string())?;
    Ok(names.lines().count())
}

fn wait_bound(world: &World, count: usize) -> Result<usize, String> {
    wait_for(&format!("{count} pods bound"), RECOVERED, || {
        let bound = bound(world)?;
        if bound >= count {
            Ok(bound)
        } else {
            Err(format!("{bound} of {CROWD}"))
        }
    })
}

fn crowd(world: &World) -> Outcome {
    let pods: Vec<Value> = (0..CROWD)
        .map(|index| {
            let ask = Ask::new(FLEET, &name_of(index), &milligpu(amount(index)));
            ask.labelled("crowd", "yes").into_pod()
        })
        .collect();
    let manifest = declared::list(&pods);
    let began = Instant::now();
    let kubectl = world.kubectl.clone();
    let maker = std::thread::spawn(move || kubectl.feed(&["create", "-f", "-"], Some(&manifest)));

    wait_bound(world, CROWD / 10)?;
    let first = extenders::holder(world)?;
    extenders::kill(world, &extenders::leader(world)?)?;
    let at_first = bound(world)?;
    let second = extenders::successor(world, &first)?;
    wait_bound(world, at_first + CROWD / 10)?;
    let killed = 1 + extenders::kill_all(world)?;
    let at_second = bound(world)?;
    match maker.join() {
        Ok(made) => made.map_err(|error| error.to_string())?,
        Err(_) => return Err("the pods could not be created".to_owned()),
    };
    if at_second == CROWD {
        return Err("all pods were bound before the last kill: nothing was shown".to_owned());
    }
    extenders::successor(world, &second)?;
    wait_bound(world, CROWD)?;
    let took = began.elapsed();

    let cards = judge(world)?;
    let whole = wait_for("the ledger agrees", Duration::from_secs(30), || {
        agrees(world)
    })?;
    world.product.wait_ready(Duration::from_secs(180))?;
    Ok(Verdict::Shown(format!(
        "{CROWD} pods on {cards} cards in {:.0} s; leader killed with {at_first} bound, {} more processes with {at_second}; {whole}",
        took.as_secs_f64(),
        killed - 1
    )))
}

/// Every pod has what it asked for, of cards of its node, and no card is given beyond what it is.
fn judge(world: &World) -> Result<usize, String> {
    let pods = world
        .kubectl
        .json(&["-n", NAMESPACE, "get", "pods", "--selector=crowd=yes"])
        .map_err(|error| error.to_string())?;
    let mut names = BTreeSet::new();
    let mut cards = BTreeMap::<String, Vec<u64>>::new();
    for pod in pods["items"].as_array().into_iter().flatten() {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let given = Given::of(pod).ok_or_else(|| format!("{name} is not bound"))?;
        let machine = given.node.strip_prefix("crowd-").unwrap_or_default();
        let [(uuid, percent)] = given.cards.as_slice() else {
            return Err(format!("{name} should have one card: {given:?}"));
        };
        if !uuid.starts_with(&format!("GPU-{machine}-")) {
            return Err(format!("{name} has a card of another node: {given:?}"));
        }
        let index = name
            .strip_prefix("crowd-")
            .and_then(|index| index.parse().ok());
        if index.map(amount) != Some(percent * 10) {
            return Err(format!("{name} has not what it asked for: {given:?}"));
        }
        names.insert(name.to_owned());
        cards.entry(uuid.clone()).or_default().push(*percent);
    }
    if names.len() != CROWD {
        return Err(format!("{} pods are left of {CROWD}", names.len()));
    }
    let beyond = cards
        .iter()
        .find(|(_, shares)| shares.iter().sum::<u64>() > 100);
    match beyond {
        Some((uuid, shares)) => Err(format!("{uuid} is given more than once: {shares:?}")),
        None => Ok(cards.len()),
    }
}

/// The leader knows each pod, on one node, and is in no doubt about any.
fn agrees(world: &World) -> Result<String, String> {
    let state = extenders::ledger(world)?;
    let mut held = BTreeMap::<String, usize>::new();
    for node in state["nodes"].as_array().into_iter().flatten() {
        for pod in node["pods"].as_array().into_iter().flatten() {
            let name = pod["pod"].as_str().unwrap_or_default();
            if let Some(name) = name.strip_prefix(&format!("{NAMESPACE}/crowd-")) {
                *held.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
    let doubts = state["doubtfulBindings"].as_array().map_or(0, Vec::len);
    let once = held.values().filter(|places| **places == 1).count();
    if state["binds"] == true && doubts == 0 && once == CROWD && held.len() == CROWD {
        Ok(format!(
            "the leader's ledger holds {once} pods, no doubtful binding"
        ))
    } else {
        Err(format!(
            "{} pods, {once} of them once, {doubts} doubtful bindings, binds {}",
            held.len(),
            state["binds"]
        ))
    }
}
