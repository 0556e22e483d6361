//! A scenario of the memset binder: a NUMA node runs out of memory, and a batch pod's pages leave it.

use std::{fs, path::Path};

use super::numa::{allowed, pages, two_nodes, words};
use super::pod::PodSpec;
use super::stage::Stage;
use super::suite::Scenario;
use super::wait::{stays, wait_until};
use super::work::Kind;
use crate::report::Row;
use crate::scenario::{Outcome, Verdict};

/// Memory that the batch pod fills, MiB.
const FILLED: u64 = 48;
/// Room between what a node has and what makes it hot or cool, MiB: other work of the machine comes and goes.
const ROOM: u64 = 24;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "hot-node",
        claim: "When a NUMA node runs out of memory, a batch pod's pages leave it, the metric says how many, and restore gives all nodes back",
        run: hot_node,
    }]
}

/// A node's memory, MiB: all, and what is free or can be dropped.
fn memory(node: u32) -> Result<(u64, u64), String> {
    let file = format!("/sys/devices/system/node/node{node}/meminfo");
    let text = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let kib = |name: &str| -> u64 {
        let line = text.lines().find(|line| {
            line.split_whitespace()
                .nth(2)
                .is_some_and(|word| word.trim_end_matches(':') == name)
        });
        line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
            .unwrap_or(0)
    };
    let available = kib("MemFree") + kib("Inactive(file)").saturating_sub(kib("Dirty"));
    Ok((kib("MemTotal") >> 10, available >> 10))
}

/// The least of what two parts of a node may be for one to be hot and the other cool, in hundredths.
fn threshold(cool: (u64, u64)) -> Option<u64> {
    let (total, available) = cool;
    let hundredths = available.checked_sub(FILLED + ROOM)? * 100 / (2 * total.max(1));
    (hundredths >= 5).then_some(hundredths.min(50))
}

fn hot_node(stage: &Stage<'_>) -> Outcome {
    if let Err(skipped) = two_nodes(stage) {
        return Ok(skipped);
    }
    let mut batch = stage.start_pod(
        &PodSpec::reclaimed("batch", 500, 128),
        Kind::Touch {
            mib: FILLED as usize,
        },
    )?;
    let container = batch
        .containers
        .first()
        .ok_or("no container")?
        .group
        .clone();
    let before = pages(stage, &container)?;
    let hot = before
        .iter()
        .max_by_key(|(_, bytes)| **bytes)
        .map_or(0, |(node, _)| *node);
    let cool = stage
        .place
        .whole_nodes()
        .into_iter()
        .map(|(id, _)| id)
        .find(|id| *id != hot)
        .ok_or("no other node")?;
    let Some(hundredths) = threshold(memory(cool)?) else {
        return Ok(Verdict::Skipped(format!(
            "node {cool} has {:?} MiB in all and to be had: too little to tell hot from cool",
            memory(cool)?
        )));
    };
    // A service takes the memory of that node until little is left.
    let service = stage.start_pod(&PodSpec::service("service", 200, 64), Kind::Sleep)?;
    let group = service
        .containers
        .first()
        .ok_or("no container")?
        .group
        .clone();
    stage.tree.write(&group, "cpuset.mems", &hot.to_string())?;
    let (total, available) = memory(hot)?;
    let wanted = (total * hundredths / 100).saturating_sub(ROOM);
    let taken = available.saturating_sub(wanted);
    let mut filler = stage.join(
        &service,
        Kind::Touch {
            mib: taken as usize,
        },
    )?;
    stage
        .tree
        .write(&group, "cpuset.mems", "")
        .or_else(|_| stage.tree.write(&group, "cpuset.mems", &every_node(stage)))?;
    let start = memory(hot)?;

    let mut setup = stage.agent();
    setup.flags.extend([
        format!(
            "--memory-rebind-hot-fraction={:.2}",
            hundredths as f64 / 100.0
        ),
        "--memory-rebind-smallest=16Mi".to_owned(),
    ]);
    let mut agent = setup.start()?;
    agent.wait_sampled(stage.limit(10))?;
    let away = |group: &Path| -> Result<_, String> {
        let pages = pages(stage, group)?;
        let total: u64 = pages.values().sum();
        let there = pages.get(&hot).copied().unwrap_or(0);
        let mems = allowed(&batch)?.mems;
        if there * 20 <= total && !mems.contains(hot) && !mems.is_empty() {
            Ok(pages)
        } else {
            Err(format!("memory of {mems} allowed, {}", words(&pages)))
        }
    };
    let after = wait_until(
        "the batch pod's pages away from the hot node",
        stage.limit(60),
        || {
            away(&container).map_err(|error| {
                format!(
                    "{error}; node {hot} has {:?} MiB; {}",
                    memory(hot),
                    explained(&agent)
                )
            })
        },
    )?;
    let left = before.get(&hot).copied().unwrap_or(0);
    let (moved, seconds) = wait_until("the measure of the move", stage.limit(20), || {
        let state = agent.pools()?;
        let last = |field: &str| state.pointer(&format!("/rebind/last/{field}")).cloned();
        let moved = last("moved").and_then(|moved| moved.as_u64());
        let seconds = last("seconds").and_then(|seconds| seconds.as_f64());
        moved
            .zip(seconds)
            .ok_or_else(|| format!("none yet: {}", explained(&agent)))
    })?;
    let counted = agent.metric("katalyst_agent_memory_rebind_moved_bytes_total")?;
    if (counted - moved as f64).abs() > 1.0 || moved * 10 < left * 9 || moved > left * 11 / 10 {
        return Err(format!(
            "the metric says {counted}, the state {moved}, and {left} bytes were on node {hot}"
        ));
    }
    // A restart does not send it back to a node that is as full as before.
    agent.kill()?;
    let mut agent = setup.start()?;
    agent.wait_sampled(stage.limit(10))?;
    stays("the pod's place after a crash", stage.limit(4), || {
        away(&container).map(drop)
    })?;
    agent.kill()?;
    setup.restore()?;
    let mems = allowed(&batch)?.mems;
    if mems.len() < stage.place.nodes.len() {
        return Err(format!("after a restore it may use memory of {mems} only"));
    }
    filler.lives()?;
    batch.lives()?;
    stage.figure(Row::figure(
        "hot-node-move",
        &format!(
            "{:.0} MiB moved off a hot NUMA node, the write of cpuset.mems",
            moved as f64 / 1_048_576.0
        ),
        seconds,
        "s",
        &stage.place_words(),
    ));
    Ok(Verdict::Shown(format!(
        "node {hot} had {} of {} MiB to be had, hot below {hundredths} %; {} became {}; {:.1} MiB by the metric, in {seconds:.2} s",
        start.1,
        start.0,
        words(&before),
        words(&after),
        moved as f64 / 1_048_576.0
    )))
}

fn every_node(stage: &Stage<'_>) -> String {
    let nodes: katalyst_core::cpu_set::CpuSet = stage.place.nodes.keys().copied().collect();
    nodes.to_string()
}

fn explained(agent: &super::agent::Agent) -> String {
    agent.pools().map_or_else(
        |error| error,
        |state| {
            state
                .get("rebind")
                .map(ToString::to_string)
                .unwrap_or_default()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_cool_with_the_pages_that_come_and_twice_what_is_hot() {
        let (total, available) = (600, 450);
        let hundredths = threshold((total, available)).unwrap();
        let hot_below = total * hundredths / 100;
        assert!(available - FILLED >= 2 * hot_below + ROOM - 1);
        assert_eq!(threshold((600, 60)), None);
    }
}
