//! Scenarios of NUMA nodes: binding, exclusive nodes, migration of pages, a node of memory only, swap.

use std::collections::BTreeMap;
use std::path::Path;

use katalyst_core::cpu_set::CpuSet;

use super::pod::PodSpec;
use super::pools::cpus;
use super::stage::{Pod, Stage};
use super::suite::Scenario;
use super::tree::Version;
use super::wait::{stays, wait_until};
use super::work::{Allowed, Kind};
use crate::report::Row;
use crate::scenario::{Outcome, Verdict};

const MEMORY_ENHANCEMENT: &str = "katalyst.kubewharf.io/memory_enhancement";
const NUMA_BIND_RESULT: &str = "katalyst.kubewharf.io/numa_bind_result";
/// Memory that processes fill, MiB.
const FILLED: usize = 48;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "numa-exclusive",
            claim: "A dedicated pod with an exclusive NUMA node has all of its CPUs and its memory, and no other pod any of its CPUs",
            run: exclusive,
        },
        Scenario {
            name: "migration",
            claim: "When the scheduler's choice binds a running pod to another NUMA node, its pages move there",
            run: migration,
        },
        Scenario {
            name: "memory-only-node",
            claim: "A NUMA node without CPUs stays usable for every pod's memory, and a binding to it alone costs only the pod that has it",
            run: memory_only_node,
        },
        Scenario {
            name: "swap",
            claim: "A batch pod's anonymous memory goes to compressed swap when the kernel is told to reclaim it",
            run: swap,
        },
    ]
}

/// At least two NUMA nodes with CPUs and memory.
pub(super) fn two_nodes(stage: &Stage<'_>) -> Result<(), Verdict> {
    let nodes = stage.place.whole_nodes().len();
    if nodes < 2 {
        return Err(Verdict::Skipped(format!(
            "this machine has {nodes} NUMA node with CPUs and memory; two are needed"
        )));
    }
    Ok(())
}

/// Bytes of anonymous memory of a group on each NUMA node.
pub(super) fn pages(stage: &Stage<'_>, group: &Path) -> Result<BTreeMap<u32, u64>, String> {
    let text = stage.tree.read(group, "memory.numa_stat")?;
    let (key, unit) = match stage.tree.version {
        Version::V2 => ("anon ", 1),
        // "anon=12 N0=5 N1=7", in pages.
        Version::V1 => ("anon=", 4096),
    };
    let line = text
        .lines()
        .find(|line| line.starts_with(key))
        .ok_or_else(|| format!("no {key}in {text}"))?;
    Ok(line
        .split_whitespace()
        .filter_map(|word| {
            let (node, amount) = word.strip_prefix('N')?.split_once('=')?;
            Some((node.parse().ok()?, amount.parse::<u64>().ok()? * unit))
        })
        .collect())
}

pub(super) fn words(pages: &BTreeMap<u32, u64>) -> String {
    let nodes: Vec<String> = pages
        .iter()
        .map(|(node, bytes)| format!("N{node} {:.1} MiB", *bytes as f64 / 1_048_576.0))
        .collect();
    nodes.join(", ")
}

pub(super) fn allowed(pod: &Pod) -> Result<Allowed, String> {
    pod.containers
        .first()
        .ok_or("a pod without containers")?
        .process
        .allowed()
}

fn exclusive(stage: &Stage<'_>) -> Outcome {
    if let Err(skipped) = two_nodes(stage) {
        return Ok(skipped);
    }
    let service = stage.start_pod(&PodSpec::service("service", 200, 64), Kind::Sleep)?;
    let batch = stage.start_pod(&PodSpec::reclaimed("batch", 500, 64), Kind::Sleep)?;
    let agent = stage.start_agent()?;
    let size = stage
        .place
        .whole_nodes()
        .first()
        .map_or(1, |(_, node)| node.cpus.len());
    // One CPU is requested; the whole node is what exclusive means.
    let spec = PodSpec::dedicated("exclusive", (size as u64 / 2).max(1), 64).annotated(
        MEMORY_ENHANCEMENT,
        r#"{"numa_binding":"true","numa_exclusive":"true"}"#,
    );
    let mut pod = stage.start_pod(&spec, Kind::Touch { mib: FILLED })?;
    let judge = || -> Result<(u32, CpuSet), String> {
        let own = allowed(&pod)?;
        let (id, node) = stage
            .place
            .whole_nodes()
            .into_iter()
            .find(|(id, node)| node.cpus == own.cpus && own.mems == std::iter::once(*id).collect())
            .ok_or_else(|| {
                format!(
                    "the pod may use CPUs {} and memory of {}: no whole NUMA node",
                    own.cpus, own.mems
                )
            })?;
        for other in [&service, &batch] {
            let theirs = cpus(other)?;
            if theirs.is_empty() || !theirs.is_disjoint(&node.cpus) {
                return Err(format!(
                    "{} may use {theirs}, node {id} has {}",
                    other.spec.name, node.cpus
                ));
            }
        }
        Ok((id, node.cpus.clone()))
    };
    let (id, node_cpus) = wait_until("a NUMA node of its own", stage.limit(15), judge)?;
    let container = pod.containers.first().ok_or("no container")?.group.clone();
    let there = wait_until("its pages on its node", stage.limit(20), || {
        let pages = pages(stage, &container)?;
        let total: u64 = pages.values().sum();
        let there = pages.get(&id).copied().unwrap_or(0);
        if there * 100 >= total * 95 && there > (FILLED as u64) << 19 {
            Ok(pages)
        } else {
            Err(words(&pages))
        }
    })?;
    agent.kill()?;
    let _agent = stage.start_agent()?;
    stays("the node after a crash", stage.limit(3), || match judge() {
        Ok((now, _)) if now == id => Ok(()),
        Ok((now, _)) => Err(format!("node {id} became node {now}")),
        Err(complaint) => Err(complaint),
    })?;
    pod.lives()?;
    Ok(Verdict::Shown(format!(
        "node {id} with CPUs {node_cpus}; its memory: {}; the service on {}, batch on {}",
        words(&there),
        cpus(&service)?,
        cpus(&batch)?
    )))
}

fn migration(stage: &Stage<'_>) -> Outcome {
    if let Err(skipped) = two_nodes(stage) {
        return Ok(skipped);
    }
    let service = stage.start_pod(&PodSpec::service("service", 200, 64), Kind::Sleep)?;
    // It runs and has its memory somewhere before anything is decided.
    let spec = PodSpec::dedicated("moved", 1, 128)
        .annotated(MEMORY_ENHANCEMENT, r#"{"numa_binding":"true"}"#);
    let mut pod = stage.start_groups(&spec, Kind::Touch { mib: FILLED })?;
    let container = pod.containers.first().ok_or("no container")?.group.clone();
    let before = pages(stage, &container)?;
    let most = before
        .iter()
        .max_by_key(|(_, bytes)| **bytes)
        .map_or(0, |(node, _)| *node);
    let target = stage
        .place
        .whole_nodes()
        .into_iter()
        .map(|(id, _)| id)
        .find(|id| *id != most)
        .ok_or("no other node")?;
    pod.spec = pod
        .spec
        .clone()
        .annotated(NUMA_BIND_RESULT, &target.to_string());
    stage.show(&pod);
    let _agent = stage.start_agent()?;
    let began = std::time::Instant::now();
    let after = wait_until("its pages on the chosen node", stage.limit(30), || {
        let own = allowed(&pod)?;
        let pages = pages(stage, &container)?;
        let total: u64 = pages.values().sum();
        let there = pages.get(&target).copied().unwrap_or(0);
        if own.mems == std::iter::once(target).collect() && there * 100 >= total * 95 {
            Ok(pages)
        } else {
            Err(format!("memory of {} allowed, {}", own.mems, words(&pages)))
        }
    })?;
    let seconds = began.elapsed().as_secs_f64();
    stage.figure(Row::figure(
        "migration",
        &format!("{FILLED} MiB moved to another NUMA node, from the agent's first sample"),
        seconds,
        "s",
        &stage.place_words(),
    ));
    let node = stage.place.nodes.get(&target).ok_or("no such node")?;
    let own = cpus(&pod)?;
    if !own.is_subset(&node.cpus) {
        return Err(format!(
            "it may use CPUs {own}, node {target} has {}",
            node.cpus
        ));
    }
    pod.lives()?;
    if allowed(&service)?.mems.len() < stage.place.nodes.len() {
        return Err(format!(
            "the service may use memory of {} only",
            allowed(&service)?.mems
        ));
    }
    Ok(Verdict::Shown(format!(
        "{} became {} within {seconds:.1} s; it runs on {own}",
        words(&before),
        words(&after)
    )))
}

fn memory_only_node(stage: &Stage<'_>) -> Outcome {
    let Some((id, _)) = stage
        .place
        .nodes
        .iter()
        .find(|(_, node)| node.cpus.is_empty())
    else {
        return Ok(Verdict::Skipped(
            "every NUMA node of this machine has CPUs".to_owned(),
        ));
    };
    let service = stage.start_pod(&PodSpec::service("service", 200, 64), Kind::Sleep)?;
    let batch = stage.start_pod(&PodSpec::reclaimed("batch", 500, 64), Kind::Sleep)?;
    let good = stage.start_pod(
        &PodSpec::dedicated("good", 1, 64)
            .annotated(MEMORY_ENHANCEMENT, r#"{"numa_binding":"true"}"#),
        Kind::Sleep,
    )?;
    let bad = PodSpec::dedicated("bad", 1, 64)
        .annotated(MEMORY_ENHANCEMENT, r#"{"numa_binding":"true"}"#)
        .annotated(NUMA_BIND_RESULT, &id.to_string());
    let mut bad = stage.start_pod(&bad, Kind::Sleep)?;
    let _agent = stage.start_agent()?;
    let bound = wait_until("a bound pod beside it", stage.limit(15), || {
        let own = allowed(&good)?;
        let node = own.mems.first().and_then(|id| stage.place.nodes.get(&id));
        match node {
            Some(node)
                if own.mems.len() == 1
                    && !own.cpus.is_empty()
                    && own.cpus.is_subset(&node.cpus) =>
            {
                Ok(own)
            }
            _ => Err(format!(
                "the good pod may use CPUs {} and memory of {}",
                own.cpus, own.mems
            )),
        }
    })?;
    stays("CPUs and memory of all", stage.limit(4), || {
        for pod in [&service, &batch] {
            let now = allowed(pod)?;
            if now.mems.len() != stage.place.nodes.len() {
                return Err(format!(
                    "{} may use memory of {} only",
                    pod.spec.name, now.mems
                ));
            }
        }
        let now = allowed(&bad)?;
        if now.cpus.is_empty() || now.mems.is_empty() {
            Err(format!("the bad pod has {now:?}"))
        } else {
            Ok(())
        }
    })?;
    bad.lives()?;
    let now = allowed(&bad)?;
    Ok(Verdict::Shown(format!(
        "memory of all {} nodes for service and batch; bound pod on CPUs {} and node {}; the pod sent to node {id} runs on CPUs {} with memory of {}",
        stage.place.nodes.len(),
        bound.cpus,
        bound.mems,
        now.cpus,
        now.mems
    )))
}

fn swap(stage: &Stage<'_>) -> Outcome {
    if stage.place.swap.is_empty() {
        return Ok(Verdict::Skipped("this machine has no swap".to_owned()));
    }
    let mut pod = stage.start_pod(
        &PodSpec::reclaimed("batch", 500, 128),
        Kind::Touch { mib: FILLED },
    )?;
    let group = pod.group.clone();
    if !stage.tree.file(&group, "memory.reclaim").exists() {
        return Ok(Verdict::Skipped(
            "this kernel has no memory.reclaim".to_owned(),
        ));
    }
    let swapped = || -> Result<u64, String> {
        let text = stage.tree.read(&group, "memory.swap.current")?;
        text.parse()
            .map_err(|error| format!("memory.swap.current {text:?}: {error}"))
    };
    if swapped()? != 0 {
        return Err("swap is in use from the start".to_owned());
    }
    let wanted = 24_u64 << 20;
    // EAGAIN where the kernel reclaimed less; what counts is below.
    stage
        .tree
        .write(&group, "memory.reclaim", &wanted.to_string())
        .ok();
    let out = swapped()?;
    if out < wanted / 2 {
        return Err(format!("{out} bytes swapped of {wanted}"));
    }
    pod.lives()?;
    Ok(Verdict::Shown(format!(
        "{:.1} MiB of {FILLED} in {}",
        out as f64 / 1_048_576.0,
        stage.place.swap.join(" ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_by_node() {
        assert_eq!(
            words(&BTreeMap::from([(0, 1 << 20), (3, 0)])),
            "N0 1.0 MiB, N3 0.0 MiB"
        );
    }
}
