//! Scenarios of CPU pools: who may run where, judged by what the kernel allows each process.

use std::collections::BTreeMap;

use katalyst_core::cpu_set::CpuSet;

use super::crash::every_step;
use super::holding::held;
use super::place::Place;
use super::pod::PodSpec;
use super::stage::{Pod, Stage};
use super::suite::Scenario;
use super::wait::{stays, wait_until};
use super::work::Kind;
use crate::scenario::{Outcome, Verdict};

const CPU_ENHANCEMENT: &str = "katalyst.kubewharf.io/cpu_enhancement";

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "plain-node",
            claim: "Where no pod wishes anything, no cpuset is written: every process keeps all CPUs and all memory nodes",
            run: plain_node,
        },
        Scenario {
            name: "dedicated",
            claim: "A dedicated pod gets whole physical cores and everybody else stays off them, through a crash of the agent and the loss of its state; when it ends, all is as before",
            run: dedicated,
        },
        Scenario {
            name: "refused",
            claim: "A dedicated pod that does not fit runs as a shared one and costs nobody else anything",
            run: refused,
        },
        Scenario {
            name: "named-pool",
            claim: "Services of a named pool come to have CPUs of their own, and the other services the rest",
            run: named_pool,
        },
        Scenario {
            name: "kubelet-static",
            claim: "CPUs of kubelet's static CPU manager are given to nobody else, and the pods that have them are left alone",
            run: kubelet_static,
        },
        Scenario {
            name: "pools-crash",
            claim: "Killed before any of its writes of limits and cpusets, the agent leaves what restore puts back wholly, and what a restart completes",
            run: pools_crash,
        },
    ]
}

/// CPUs that each process of a pod may use: the same for all of them.
pub(super) fn cpus(pod: &Pod) -> Result<CpuSet, String> {
    let mut all = None;
    for container in &pod.containers {
        let allowed = container.process.allowed()?.cpus;
        match &all {
            None => all = Some(allowed),
            Some(other) if *other == allowed => {}
            Some(other) => {
                return Err(format!(
                    "{}: containers on {other} and {allowed}",
                    pod.spec.name
                ));
            }
        }
    }
    all.ok_or_else(|| format!("{} has no containers", pod.spec.name))
}

/// The size of a physical core, where the machine has at least two of them.
pub(super) fn core_size(place: &Place) -> Result<u64, Verdict> {
    let size = place.siblings.values().map(CpuSet::len).max().unwrap_or(1);
    if place.cpus.len() < 2 * size {
        return Err(Verdict::Skipped(format!(
            "{} CPUs in cores of {size}: there are no two cores to part",
            place.cpus.len()
        )));
    }
    Ok(size as u64)
}

fn plain_node(stage: &Stage<'_>) -> Outcome {
    let mut pods = [
        stage.start_pod(
            &PodSpec::service("service", 200, 64).containers(2),
            Kind::Sleep,
        )?,
        stage.start_pod(&PodSpec::guaranteed("guaranteed", 1, 64), Kind::Sleep)?,
        stage.start_pod(&PodSpec::plain("plain"), Kind::Sleep)?,
    ];
    let batch = [stage.start_pod(&PodSpec::reclaimed("batch", 500, 64), Kind::Sleep)?];
    let cpusets = |values: BTreeMap<String, String>| -> BTreeMap<String, String> {
        values
            .into_iter()
            .filter(|(file, _)| file.contains("/cpuset."))
            .collect()
    };
    let before = cpusets(stage.tree.values());
    let allowed: Vec<_> = pods
        .iter()
        .flat_map(|pod| &pod.containers)
        .map(|container| container.process.first.clone())
        .collect();
    let agent = stage.start_agent()?;
    wait_until("limits", stage.limit(10), || held(stage, &agent, &batch))?;
    stays("cpusets", stage.limit(3), || {
        let changed = super::tree::differences(&before, &cpusets(stage.tree.values()));
        if changed.is_empty() {
            Ok(())
        } else {
            Err(changed.join("; "))
        }
    })?;
    for (container, first) in pods.iter().flat_map(|pod| &pod.containers).zip(&allowed) {
        let now = container.process.allowed()?;
        if now != *first {
            return Err(format!(
                "{}: {first:?} became {now:?}",
                container.group.display()
            ));
        }
    }
    pods.iter_mut().try_for_each(Pod::lives)?;
    Ok(Verdict::Shown(format!(
        "{} files of cpusets as before, all on {}",
        before.len(),
        stage.place.cpus
    )))
}

/// `pod` has exactly `wanted` CPUs, in whole cores, and no one else any of them; what it has.
fn apart(place: &Place, pod: &Pod, wanted: u64, others: &[&Pod]) -> Result<CpuSet, String> {
    let own = cpus(pod)?;
    if own.len() as u64 != wanted || place.whole_cores(&own) != own {
        return Err(format!(
            "{} may use {own}, not {wanted} CPUs in whole cores",
            pod.spec.name
        ));
    }
    for other in others {
        let theirs = cpus(other)?;
        if !theirs.is_disjoint(&own) {
            return Err(format!(
                "{} may use {theirs}, which meets {own} of {}",
                other.spec.name, pod.spec.name
            ));
        }
        if theirs.is_empty() {
            return Err(format!("{} has no CPU", other.spec.name));
        }
    }
    Ok(own)
}

fn dedicated(stage: &Stage<'_>) -> Outcome {
    let core = match core_size(stage.place) {
        Ok(core) => core,
        Err(skipped) => return Ok(skipped),
    };
    let service = stage.start_pod(
        &PodSpec::service("service", 200, 64).containers(2),
        Kind::Sleep,
    )?;
    let batch = stage.start_pod(&PodSpec::reclaimed("batch", 500, 64), Kind::Sleep)?;
    let plain = stage.start_pod(&PodSpec::plain("plain"), Kind::Sleep)?;
    let others = [&service, &batch, &plain];
    let agent = stage.start_agent()?;
    wait_until("limits", stage.limit(10), || {
        held(stage, &agent, std::slice::from_ref(&batch))
    })?;
    let before = stage.tree.values();
    let mut pod = stage.start_pod(
        &PodSpec::dedicated("dedicated", core, 64).containers(2),
        Kind::Sleep,
    )?;
    let limit = stage.limit(15);
    let own = wait_until("CPUs of its own", limit, || {
        apart(stage.place, &pod, core, &others)
    })?;
    // A crash, then a crash with everything lost that was on disk: the same CPUs, and no moment on others.
    agent.kill()?;
    let agent = stage.start_agent()?;
    let same = || {
        let now = apart(stage.place, &pod, core, &others)?;
        if now == own {
            Ok(())
        } else {
            Err(format!("{own} became {now}"))
        }
    };
    stays("the pod's CPUs after a restart", stage.limit(3), same)?;
    agent.kill()?;
    let state = stage.state_dir();
    std::fs::remove_dir_all(&state)
        .map_err(|error| format!("remove {}: {error}", state.display()))?;
    let agent = stage.start_agent()?;
    stays(
        "the pod's CPUs after the loss of the state",
        stage.limit(3),
        same,
    )?;
    pod.lives()?;
    stage.end_pod(pod)?;
    let all = &stage.place.cpus;
    wait_until("all CPUs for all others", stage.limit(15), || {
        for other in others {
            let now = cpus(other)?;
            if now != *all {
                return Err(format!("{} may use {now} of {all}", other.spec.name));
            }
        }
        Ok(())
    })?;
    agent.kill()?;
    stage.agent().restore()?;
    // The limits of the batch pod were there before; they are the only thing that may differ.
    let left: Vec<String> = super::tree::differences(&before, &stage.tree.values())
        .into_iter()
        .filter(|line| line.contains("/cpuset."))
        .collect();
    if !left.is_empty() {
        return Err(format!("not as before: {}", left.join("; ")));
    }
    Ok(Verdict::Shown(format!(
        "{own} of {all} for {core} CPUs, kept through two crashes; then everybody on {all}"
    )))
}

fn refused(stage: &Stage<'_>) -> Outcome {
    let machine = stage.place.cpus.len() as u64;
    // Services request all but half a CPU: a whole core for one pod would squeeze them.
    let service = stage.start_pod(
        &PodSpec::service("service", machine * 1000 - 500, 64),
        Kind::Sleep,
    )?;
    let mut pod = stage.start_pod(&PodSpec::dedicated("dedicated", machine, 64), Kind::Sleep)?;
    let agent = stage.start_agent()?;
    stays("all CPUs for both", stage.limit(4), || {
        for pod in [&service, &pod] {
            let now = cpus(pod)?;
            if now != stage.place.cpus {
                return Err(format!("{} may use {now} only", pod.spec.name));
            }
        }
        Ok(())
    })?;
    let state = agent.state()?.to_string();
    if !state.contains("refused") {
        return Err(format!("the refusal is not in /debug/state: {state}"));
    }
    pod.lives()?;
    Ok(Verdict::Shown(format!(
        "{machine} dedicated CPUs refused beside a service that requests {}m; both on {}",
        machine * 1000 - 500,
        stage.place.cpus
    )))
}

fn named_pool(stage: &Stage<'_>) -> Outcome {
    if let Err(skipped) = core_size(stage.place) {
        return Ok(skipped);
    }
    let web =
        PodSpec::service("web", 500, 64).annotated(CPU_ENHANCEMENT, r#"{"cpuset_pool":"web"}"#);
    let web = stage.start_pod(&web, Kind::Sleep)?;
    let service = stage.start_pod(&PodSpec::service("service", 500, 64), Kind::Sleep)?;
    let batch = [stage.start_pod(&PodSpec::reclaimed("batch", 500, 64), Kind::Sleep)?];
    let agent = stage.start_agent()?;
    let (pool, rest) = wait_until("two pools", stage.limit(20), || {
        let (pool, rest) = (cpus(&web)?, cpus(&service)?);
        if pool.is_disjoint(&rest) && stage.place.whole_cores(&pool) == pool {
            Ok((pool, rest))
        } else {
            Err(format!("web on {pool}, service on {rest}"))
        }
    })?;
    wait_until("limits", stage.limit(10), || held(stage, &agent, &batch))?;
    Ok(Verdict::Shown(format!(
        "web on {pool}, the other service on {rest}, batch on {}",
        cpus(&batch[0])?
    )))
}

fn kubelet_static(stage: &Stage<'_>) -> Outcome {
    let core = match core_size(stage.place) {
        Ok(core) => core,
        Err(skipped) => return Ok(skipped),
    };
    // Kubelet takes the last core, and keeps everybody else on the others by itself.
    let last = stage.place.cpus.iter().last().unwrap_or_default();
    let pinned_cpus = stage.place.siblings.get(&last).cloned().unwrap_or_default();
    let rest = stage.place.cpus.difference(&pinned_cpus);
    let pinned = stage.start_pod(&PodSpec::guaranteed("pinned", core, 64), Kind::Sleep)?;
    let service = stage.start_pod(&PodSpec::service("service", 200, 64), Kind::Sleep)?;
    let batch = stage.start_pod(&PodSpec::reclaimed("batch", 500, 64), Kind::Sleep)?;
    for (pod, set) in [(&pinned, &pinned_cpus), (&service, &rest), (&batch, &rest)] {
        for container in &pod.containers {
            stage
                .tree
                .write(&container.group, "cpuset.cpus", &set.to_string())?;
        }
    }
    let state = serde_json::json!({
        "policyName": "static",
        "defaultCpuSet": rest.to_string(),
        "entries": {pinned.spec.uid(): {"c0": pinned_cpus.to_string()}},
        "checksum": 0,
    });
    stage.write_kubelet("cpu_manager_state", &state.to_string())?;
    let before = stage.tree.values();
    let agent = stage.start_agent()?;
    wait_until("limits", stage.limit(10), || {
        held(stage, &agent, std::slice::from_ref(&batch))
    })?;
    let kept = || -> Result<(), String> {
        let own = cpus(&pinned)?;
        if own != pinned_cpus {
            return Err(format!(
                "the pinned pod may use {own}, kubelet gave it {pinned_cpus}"
            ));
        }
        for other in [&service, &batch] {
            let theirs = cpus(other)?;
            if !theirs.is_disjoint(&pinned_cpus) {
                return Err(format!(
                    "{} may use {theirs}, among them CPUs of the pinned pod",
                    other.spec.name
                ));
            }
        }
        let touched: Vec<String> = super::tree::differences(&before, &stage.tree.values())
            .into_iter()
            .filter(|line| line.starts_with(&pinned.group.display().to_string()))
            .collect();
        if touched.is_empty() {
            Ok(())
        } else {
            Err(touched.join("; "))
        }
    };
    stays("kubelet's CPUs", stage.limit(4), kept)?;
    let notices = agent.notices()?;
    if !notices.iter().any(|text| text.contains("static")) {
        return Err(format!(
            "no notice says that kubelet's CPU manager is static: {notices:?}"
        ));
    }
    Ok(Verdict::Shown(format!(
        "{pinned_cpus} is the pinned pod's alone, all others on {rest}; {}",
        notices.join("; ")
    )))
}

fn pools_crash(stage: &Stage<'_>) -> Outcome {
    let core = match core_size(stage.place) {
        Ok(core) => core,
        Err(skipped) => return Ok(skipped),
    };
    let mut pods = [
        stage.start_pod(
            &PodSpec::service("service", 200, 64).containers(2),
            Kind::Sleep,
        )?,
        stage.start_pod(&PodSpec::reclaimed("batch", 500, 64), Kind::Sleep)?,
        stage.start_pod(&PodSpec::dedicated("dedicated", core, 64), Kind::Sleep)?,
    ];
    every_step(stage, &mut pods)
}
