//! What the agent costs and how fast it is on one node, on a real kernel, without Kubernetes (the stage of [`crate::node`]).
//!
//! **Cost.** Groups of 10, 110 and 500 pods as kubelet makes them (half of them reclaimed, a tenth guaranteed, each with two containers; one sleeping process a
//! pod), the agent with the flags it is installed with, its CPU time and resident memory over a minute. Beside it, over the same groups, a bare walk as
//! cAdvisor does one: every file of every pod and container opened, read, parsed and closed, once a second.
//!
//! **Surge.** A batch pod that computes, an idle one whose quota is read, then threads that burn in a service; the time until the quota is lower, with the API server gone.
//! Read from the kernel's file every 5 ms.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use super::median;
use crate::{
    node::{
        agent::{Agent, AgentSetup},
        api::Api,
        pod::PodSpec,
        stage::{Pod, Stage},
        suite::Scenario,
        tree::Version,
        wait::wait_until,
        work::{Kind, Process},
    },
    report::Row,
    scenario::{Outcome, Verdict},
};

/// Bars of the issue: resident memory and CPU at 110 pods and 1 s sampling.
const BAR_MIB: f64 = 15.0;
const BAR_MILLICORES: f64 = 5.0;
/// Bars of the issue: the promise, and the median with pressure triggers.
const BAR_SURGE_MS: f64 = 1_000.0;
const BAR_MEDIAN_MS: f64 = 200.0;
/// How long the agent's CPU is measured: the kernel tells it in ticks of 10 ms, here a sixth of a millicore, and of threads that ended too.
const SPAN: Duration = Duration::from_secs(60);
/// Until it has found everything and grown what it keeps.
const SETTLE: Duration = Duration::from_secs(12);
/// Walks that are timed.
const WALKS: u32 = 5;
/// Surges that are timed.
const SURGES: usize = 9;

/// The measurements, in the form of scenarios.
pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "cost-10",
            claim: "What the agent costs with 10 pods",
            run: |stage| cost(stage, 10),
        },
        Scenario {
            name: "cost-110",
            claim: "What the agent costs with 110 pods, the most that kubelet takes by default",
            run: |stage| cost(stage, 110),
        },
        Scenario {
            name: "cost-500",
            claim: "What the agent costs with 500 pods, to see that it grows no faster than they do",
            run: |stage| cost(stage, 500),
        },
        Scenario {
            name: "surge-latency",
            claim: "How long a surge of services leaves batch its quota, with the API server gone",
            run: surges,
        },
    ]
}

/// The agent as it is installed: the program itself where it is given, with plans, reports and logs at their defaults.
fn installed(stage: &Stage<'_>) -> AgentSetup {
    let mut setup = stage.agent();
    setup.program.clone_from(&stage.installed);
    setup.flags.retain(|flag| {
        ["--log-level", "--report-min-interval", "--pools-interval"]
            .iter()
            .all(|scenarios_own| !flag.starts_with(scenarios_own))
    });
    setup
}

/// A pod's groups and one process.
struct Resident {
    _process: Process,
    groups: Vec<PathBuf>,
}

/// Of ten pods five are reclaimed, four burstable services, one is guaranteed.
fn spec(name: &str, number: usize) -> PodSpec {
    match number % 10 {
        0..=4 => PodSpec::reclaimed(name, 10, 16),
        5..=8 => PodSpec::service(name, 10, 16),
        _ => PodSpec::guaranteed(name, 1, 16),
    }
}

fn settle_pod(stage: &Stage<'_>, number: usize) -> Result<Resident, String> {
    let name = format!("many-{number}");
    let spec = spec(&name, number);
    stage.api.put(spec.object("node"));
    let pod = stage.tree.layout.pod(spec.class(), &spec.uid());
    stage.tree.create(&pod)?;
    stage.tree.set_shares(&pod, spec.shares())?;
    let mut groups = vec![pod.clone()];
    for container in ["sandbox", "main"] {
        let group = stage
            .tree
            .layout
            .container(&pod, &format!("{name}-{container}"));
        stage.tree.create(&group)?;
        groups.push(group);
    }
    let main = groups.last().cloned().unwrap_or_default();
    Ok(Resident {
        _process: Process::start(&stage.tree.entrances(&main), Kind::Sleep)?,
        groups,
    })
}

/// CPU use over [`SPAN`], and resident memory at its end, KiB.
fn millicores_of(agent: &Agent) -> Result<(f64, u64), String> {
    let (before, _) = agent.cost()?;
    let began = Instant::now();
    std::thread::sleep(SPAN);
    let (after, resident) = agent.cost()?;
    let millicores = (after - before) / began.elapsed().as_secs_f64() * 1_000.0;
    Ok((millicores, resident))
}

fn cost(stage: &Stage<'_>, pods: usize) -> Outcome {
    let residents = (0..pods)
        .map(|number| settle_pod(stage, number))
        .collect::<Result<Vec<_>, _>>()?;
    // As kubelet leaves it on a node whose CPU manager is the default one.
    let state = serde_json::json!({"policyName": "none", "defaultCpuSet": "", "checksum": 1_353_318_690_u64});
    stage.write_kubelet("cpu_manager_state", &state.to_string())?;
    let mut agent = installed(stage).start()?;
    agent.wait_sampled(stage.limit(30))?;
    std::thread::sleep(SETTLE);
    let (millicores, resident) = millicores_of(&agent)?;
    let mib = resident as f64 / 1_024.0;
    // The first one is reclaimed.
    let worker = residents
        .first()
        .and_then(|resident| resident.groups.last())
        .map(|group| Process::start(&stage.tree.entrances(group), Kind::Burn { threads: 1 }))
        .transpose()?;
    let (working, _) = millicores_of(&agent)?;
    drop(worker);
    let groups: Vec<&Path> = residents
        .iter()
        .flat_map(|resident| resident.groups.iter().map(PathBuf::as_path))
        .collect();
    let walk = walk_millicores(stage, &groups);
    let place = format!(
        "{}, {pods} pods, half of them reclaimed, 1 s sampling",
        stage.place_words()
    );
    // Where instructions are emulated, CPU time is not comparable.
    let judged = pods == 110 && !stage.place.emulated;
    let row = |id: &str, shows: &str, value, unit, bar| {
        let id = format!("{id}-{pods}");
        if judged {
            Row::at_most(&id, shows, value, unit, bar, &place)
        } else {
            Row::figure(&id, shows, value, unit, &place)
        }
    };
    stage.figure(row(
        "agent-millicores",
        "CPU of the agent, thousandths of one CPU",
        millicores,
        "millicores",
        BAR_MILLICORES,
    ));
    stage.figure(row(
        "agent-millicores-batch-works",
        "the same while a reclaimed pod computes, so that surges are looked for at the fastest pace",
        working,
        "millicores",
        BAR_MILLICORES,
    ));
    stage.figure(row(
        "agent-mib",
        "resident memory of the agent",
        mib,
        "MiB",
        BAR_MIB,
    ));
    stage.figure(Row::figure(
        &format!("walk-millicores-{pods}"),
        "a bare walk of every file of every pod and container each second, in the same run",
        walk,
        "millicores",
        &place,
    ));
    Ok(Verdict::Shown(format!(
        "agent {millicores:.2} millicores, {working:.2} while batch works, {mib:.1} MiB; bare walk {walk:.1} millicores"
    )))
}

/// Files of a group that cAdvisor reads at each housekeeping.
fn walked(version: Version) -> &'static [&'static str] {
    match version {
        Version::V1 => &[
            "cpuacct.usage",
            "cpuacct.stat",
            "cpuacct.usage_percpu",
            "cpu.stat",
            "cpu.shares",
            "cpu.cfs_quota_us",
            "cpu.cfs_period_us",
            "cpuset.cpus",
            "memory.usage_in_bytes",
            "memory.max_usage_in_bytes",
            "memory.limit_in_bytes",
            "memory.failcnt",
            "memory.stat",
            "memory.numa_stat",
        ],
        Version::V2 => &[
            "cpu.stat",
            "cpu.max",
            "cpu.weight",
            "cpu.pressure",
            "cpuset.cpus.effective",
            "memory.current",
            "memory.peak",
            "memory.max",
            "memory.events",
            "memory.stat",
            "memory.numa_stat",
            "memory.pressure",
            "io.stat",
            "io.pressure",
            "pids.current",
        ],
    }
}

/// CPU time of a walk, as thousandths of a CPU at one walk a second.
fn walk_millicores(stage: &Stage<'_>, groups: &[&Path]) -> f64 {
    let files: Vec<PathBuf> = groups
        .iter()
        .flat_map(|group| {
            walked(stage.tree.version)
                .iter()
                .map(|file| stage.tree.file(group, file))
        })
        .collect();
    let mut sum = 0_u64;
    let began = thread_seconds();
    for _ in 0..WALKS {
        for file in &files {
            // A file that this kernel lacks costs its failed opening, as it does a walker.
            let Ok(text) = fs::read_to_string(file) else {
                continue;
            };
            sum = text
                .split_whitespace()
                .filter_map(|word| word.parse::<u64>().ok())
                .fold(sum, u64::wrapping_add);
        }
    }
    std::hint::black_box(sum);
    (thread_seconds() - began) / f64::from(WALKS) * 1_000.0
}

fn thread_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn surges(stage: &Stage<'_>) -> Outcome {
    // The API server is the stage's; a second one, for this agent alone, goes away.
    let mut api = Api::start("node")?;
    api.write_kubeconfig(&stage.directory.join("kubeconfig"))?;
    let specs = [
        PodSpec::reclaimed("batch", 1_000, 64),
        PodSpec::service("service", 500, 64),
        PodSpec::reclaimed("worker", 100, 64),
    ];
    for spec in &specs {
        api.put(spec.object("node"));
    }
    let [batch, service, worker] = &specs;
    // It sleeps, so that its quota is the ceiling: one that burns is given what it can use, and on a machine with other work that is less.
    let batch = stage.start_pod(batch, Kind::Sleep)?;
    let service = stage.start_pod(service, Kind::Sleep)?;
    // Where no batch computes nothing could give way, and nobody hurries.
    let _worker = stage.start_pod(worker, Kind::Burn { threads: 1 })?;
    let mut agent = installed(stage).start()?;
    agent.wait_sampled(stage.limit(30))?;
    let with_triggers = agent
        .state()?
        .pointer("/snapshot/surge_watch")
        .and_then(|watch| watch.as_str().map(str::to_owned))
        .unwrap_or_default();
    api.go_away();
    let mut latencies = Vec::new();
    for round in 0..SURGES {
        latencies.push(surge(stage, &batch, &service, round)?);
    }
    let worst = latencies.iter().copied().fold(0.0, f64::max);
    let middle = median(&latencies).unwrap_or(f64::NAN);
    let place = format!("{}, API server gone; {with_triggers}", stage.place_words());
    // An emulated machine is some ten times slower than the clock that judges it.
    let row = |id: &str, shows: &str, value, bar| {
        if stage.place.emulated {
            Row::figure(id, shows, value, "ms", &place)
        } else {
            Row::at_most(id, shows, value, "ms", bar, &place)
        }
    };
    stage.figure(row(
        "surge-median",
        &format!("service surge to lowered batch quota, median of {SURGES}"),
        middle,
        BAR_MEDIAN_MS,
    ));
    stage.figure(row("surge-max", "the same, worst", worst, BAR_SURGE_MS));
    Ok(Verdict::Shown(format!(
        "median {middle:.0} ms, worst {worst:.0} ms; {with_triggers}"
    )))
}

/// One surge that wants the whole machine; milliseconds until the quota is lower by a tenth.
fn surge(stage: &Stage<'_>, batch: &Pod, service: &Pod, round: usize) -> Result<f64, String> {
    // The quota has risen as far as it goes: it has not changed for two seconds. It also rests where a surge has just left it, low.
    let half = stage.place.cpus.len() as u64 * 500;
    let (mut last, mut since) = (None, Instant::now());
    let before = wait_until("a quota that has risen again", stage.limit(60), || {
        let quota = stage.tree.quota(&batch.group)?;
        if quota != last {
            (last, since) = (quota, Instant::now());
        }
        match quota {
            Some(quota) if quota >= half && since.elapsed() >= Duration::from_secs(2) => Ok(quota),
            quota => Err(format!("{quota:?}, wanted steady and at least {half}")),
        }
    })?;
    // Rounds begin at other moments of the second.
    std::thread::sleep(Duration::from_millis(round as u64 * 137 % 1_000));
    let threads = stage.place.cpus.len();
    let burner = stage.join(service, Kind::Burn { threads })?;
    let began = Instant::now();
    wait_until("a lower quota", stage.limit(10), || {
        match stage.tree.quota(&batch.group)? {
            Some(quota) if quota * 10 <= before * 9 => Ok(()),
            quota => Err(format!("{quota:?}, before {before}")),
        }
    })?;
    let elapsed = began.elapsed().as_secs_f64() * 1_000.0;
    drop(burner);
    Ok(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::layout::Class;

    #[test]
    fn pods_are_of_every_class() {
        let count = |wanted: Class| {
            (0..110)
                .filter(|number| spec("x", *number).class() == wanted)
                .count()
        };
        assert_eq!(
            (
                count(Class::BestEffort),
                count(Class::Burstable),
                count(Class::Guaranteed)
            ),
            (55, 44, 11)
        );
    }
}
