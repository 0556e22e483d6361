//! GPUs and RDMA network cards on a real API server and kube-scheduler, on declared nodes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::asked::{Ask, both, bound, milligpu, short};
use super::shapes::{Machine, switch_of};
use super::{Outcome, Scenario, Verdict, World, declared};

/// Declared nodes: the first half with eight cards and eight network cards each, the others with four smaller cards.
pub(super) const NODES: usize = 100;
const CARDS: &str = "cards";
const RDMA: &str = "rdma";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "cards-on-100-nodes",
            claim: "on 100 declared nodes pods get the cards and network cards they ask for, named in the Binding, or the reason why not",
            run: |world| declared::on(world, CARDS, machines(CARDS), wishes),
        },
        Scenario {
            name: "rdma-beside-cards",
            claim: "GPUs and RDMA cards below one PCIe switch: given where required, taken from elsewhere where only preferred, refused for the right reason",
            run: |world| {
                let machine = Machine::cards("rdma-0", "r", true);
                declared::on(world, RDMA, vec![machine], beside)
            },
        },
    ]
}

fn name_of(fleet: &str, index: usize) -> String {
    format!("{fleet}-{index}")
}

/// The hundred machines.
pub(super) fn machines(fleet: &str) -> Vec<Machine> {
    (0..NODES)
        .map(|index| {
            let name = name_of(fleet, index);
            Machine::cards(&name, &index.to_string(), index < NODES / 2)
        })
        .collect()
}

fn nics(amount: u64) -> Value {
    json!({"resource.katalyst.kubewharf.io/rdma_nic": amount.to_string()})
}

fn pod(name: &str, amounts: &Value, wishes: &Value) -> Ask {
    Ask::new(CARDS, name, amounts).with("device_enhancement", wishes)
}

fn wishes(world: &World) -> Outcome {
    let near = json!({"gpu_rdma_affinity": "required:switch", "gpu_affinity": "required:switch"});
    let joint = pod("joint", &both(milligpu(2_000), &nics(2)), &near).bound(world)?;
    let switches: BTreeSet<&str> = joint
        .cards
        .iter()
        .map(|(uuid, _)| switch_of(uuid))
        .collect();
    if joint.cards.len() != 2 || joint.nics.len() != 2 || switches.len() != 1 {
        return Err(format!(
            "two cards and two network cards on one switch: {joint:?}"
        ));
    }
    let mut quarters = BTreeMap::<String, u64>::new();
    for index in 0..4 {
        let name = format!("quarter-{index}");
        let quarter = pod(&name, &milligpu(250), &json!({"gpu_models": "T4"})).bound(world)?;
        for (uuid, percent) in quarter.cards {
            *quarters.entry(uuid).or_default() += percent;
        }
    }
    if quarters.values().sum::<u64>() != 100 {
        return Err(format!("four quarters of cards: {quarters:?}"));
    }
    let uuid = "GPU-7-1-0-1";
    let named = pod("named", &milligpu(1_000), &json!({"gpu_uuids": uuid})).bound(world)?;
    if named.node != name_of(CARDS, 7) || named.cards != [(uuid.to_owned(), 100)] {
        return Err(format!("asked for {uuid}, got {named:?}"));
    }
    let model = pod(
        "no-such-model",
        &milligpu(1_000),
        &json!({"gpu_models": "B200"}),
    )
    .refused(world, "too few GPUs of the requested model or UUID")?;
    pod("taken", &milligpu(500), &json!({"gpu_uuids": uuid}))
        .refused(world, "insufficient free GPUs")?;
    pod(
        "no-network-card",
        &both(milligpu(1_000), &nics(1)),
        &json!({"gpu_models": "T4"}),
    )
    .refused(world, "too few RDMA network cards")?;
    Ok(Verdict::Shown(format!(
        "{:?} with {:?} on {}; four quarters on {} card(s); {uuid} by name; refused: {}",
        joint.cards.iter().map(|(uuid, _)| uuid).collect::<Vec<_>>(),
        joint.nics,
        joint.node,
        quarters.len(),
        short(&model)
    )))
}

/// One machine, four switches, each with two cards and two network cards.
fn beside(world: &World) -> Outcome {
    let ask = |name: &str, cards: u64, cards_near: u64, wishes: Value| {
        let amounts = both(milligpu(cards * 1_000), &nics(cards_near));
        Ask::new(RDMA, name, &amounts).with("device_enhancement", &wishes)
    };
    let alone = |name: &str, amount: u64| {
        Ask::new(RDMA, name, &nics(amount)).with(
            "device_enhancement",
            &json!({"rdma_affinity": "required:switch"}),
        )
    };
    let required = json!({"gpu_rdma_affinity": "required:switch", "gpu_affinity": "required:switch", "rdma_affinity": "required:switch"});
    let pair = ask("pair", 2, 2, required.clone()).bound(world)?;
    let mut holders = vec![pair.clone()];
    for name in ["alone-0", "alone-1", "alone-2"] {
        holders.push(alone(name, 2).bound(world)?);
    }
    let used: BTreeSet<&String> = holders.iter().flat_map(|held| &held.nics).collect();
    if used.len() != 8 {
        return Err(format!("eight network cards, each once: {holders:?}"));
    }
    let busy = ask("busy", 1, 1, required.clone())
        .refused(world, "insufficient free RDMA network cards")?;
    // Two cards and two network cards become free on one switch, and the pod that waited gets a pair of them.
    world.remove("alone-0")?;
    let given = bound(world, "busy")?;
    let freed = holders.get(1).map(|held| held.nics.clone());
    let (Some(freed), [(card, _)]) = (freed, given.cards.as_slice()) else {
        return Err(format!("one card: {given:?}"));
    };
    if given.nics.iter().any(|nic| !freed.contains(nic)) {
        return Err(format!(
            "should have one of {freed:?} and the card beside it: {given:?}"
        ));
    }
    // A card has one other beside it, never two, whoever leaves.
    let never = ask("never", 3, 1, required.clone()).refused(
        world,
        "node has no devices as near to each other as required",
    )?;
    // The other one is taken by name: a network card is left there, and cards only elsewhere.
    let other = card.strip_suffix('0').map_or_else(
        || format!("{}-0", switch_of(card)),
        |part| format!("{part}1"),
    );
    Ask::new(RDMA, "other", &milligpu(1_000))
        .with("device_enhancement", &json!({"gpu_uuids": other}))
        .bound(world)?;
    let far = ask("far-required", 1, 1, required)
        .refused(world, "devices as near to each other as required are taken")?;
    let preferred = json!({"gpu_rdma_affinity": "preferred:switch"});
    let preferred = ask("far-preferred", 1, 1, preferred).bound(world)?;
    if preferred.cards.len() != 1 || preferred.nics.len() != 1 {
        return Err(format!("a card and a network card: {preferred:?}"));
    }
    Ok(Verdict::Shown(format!(
        "required: {:?} with {:?}; only preferred: {:?} with {:?}; refused: {}; {}; {}",
        pair.cards,
        pair.nics,
        preferred.cards,
        preferred.nics,
        short(&busy),
        short(&never),
        short(&far)
    )))
}
