//! Scenarios of holding: the ceiling, surges, what is written and what is not, and how everything returns.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::agent::Agent;
use super::pod::PodSpec;
use super::stage::{Pod, Stage};
use super::suite::Scenario;
use super::tree::{Version, differences};
use super::wait::{stays, wait_until};
use super::work::Kind;
use crate::report::Row;
use crate::scenario::{Outcome, Verdict};

/// Promise of the product: within a second of a change in service use.
const SURGE_BAR: Duration = Duration::from_secs(1);

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "ceiling",
            claim: "Batch pods are held under the ceiling, with their memory limited to the request; no other group of the node changes",
            run: ceiling,
        },
        Scenario {
            name: "surge",
            claim: "When a service surges, the quota of a batch pod falls within a second",
            run: surge,
        },
        Scenario {
            name: "surge-without-api",
            claim: "The same with the API server gone",
            run: surge_without_api,
        },
        Scenario {
            name: "arrival",
            claim: "A batch pod that starts under a running agent is held within a second; one that ends leaves no record",
            run: arrival,
        },
        Scenario {
            name: "dry-run",
            claim: "A dry run writes nothing",
            run: dry_run,
        },
        Scenario {
            name: "restore",
            claim: "Restore puts every old value back, also those that no default would guess, and a running agent stops writing",
            run: restore,
        },
        Scenario {
            name: "damaged-records",
            claim: "With a damaged state file holding goes on, the file is kept aside, and restore gives kubelet's values",
            run: damaged_records,
        },
    ]
}

/// Two batch pods, one best-effort pod that is not ours, one service.
struct Cast {
    batch: Vec<Pod>,
    others: Vec<Pod>,
}

impl Cast {
    fn enter(stage: &Stage<'_>) -> Result<Self, String> {
        Ok(Self {
            batch: vec![
                stage.start_pod(&PodSpec::reclaimed("batch-a", 1000, 64), Kind::Sleep)?,
                stage.start_pod(
                    &PodSpec::reclaimed("batch-b", 500, 96).containers(2),
                    Kind::Sleep,
                )?,
            ],
            others: vec![
                stage.start_pod(&PodSpec::plain("plain"), Kind::Sleep)?,
                stage.start_pod(&PodSpec::service("service", 200, 64), Kind::Sleep)?,
            ],
        })
    }

    fn lives(&mut self) -> Result<(), String> {
        self.batch
            .iter_mut()
            .chain(&mut self.others)
            .try_for_each(Pod::lives)
    }
}

/// The ceiling that the agent says is in force, thousandths of a CPU.
pub(super) fn ceiling_of(agent: &Agent) -> Result<u64, String> {
    let state = agent.state()?;
    let value = state
        .pointer("/snapshot/ceiling/value/cpu")
        .and_then(Value::as_u64);
    value.ok_or_else(|| format!("no ceiling in {state}"))
}

/// Every batch pod has its limits, and together no more CPU than the ceiling.
pub(super) fn held(stage: &Stage<'_>, agent: &Agent, pods: &[Pod]) -> Result<Vec<u64>, String> {
    let mut quotas = Vec::new();
    for pod in pods {
        let name = &pod.spec.name;
        let quota = stage.tree.quota(&pod.group)?;
        quotas.push(quota.ok_or_else(|| format!("{name} has no quota"))?);
        let (_, mib) = pod.spec.reclaimed.unwrap_or_default();
        let limit = stage
            .tree
            .read(&pod.group, stage.tree.memory_limit_file())?;
        if limit != (mib << 20).to_string() {
            return Err(format!(
                "{name}: memory limit {limit} where {mib} MiB were requested"
            ));
        }
        if stage.has_idle() && stage.tree.read(&pod.group, "cpu.idle")? != "1" {
            return Err(format!("{name}: cpu.idle is not 1"));
        }
    }
    let (sum, ceiling) = (quotas.iter().sum::<u64>(), ceiling_of(agent)?);
    if sum > ceiling {
        return Err(format!(
            "quotas of {quotas:?} where the ceiling is {ceiling}"
        ));
    }
    Ok(quotas)
}

/// Differences that are not in the groups of `pods`.
pub(super) fn foreign(
    before: &BTreeMap<String, String>,
    stage: &Stage<'_>,
    pods: &[Pod],
) -> Result<(), String> {
    let touched: Vec<String> = differences(before, &stage.tree.values())
        .into_iter()
        .filter(|line| {
            !pods
                .iter()
                .any(|pod| line.starts_with(&pod.group.display().to_string()))
        })
        .collect();
    if touched.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "groups that are not ours changed: {}",
            touched.join("; ")
        ))
    }
}

/// Nothing differs from `before`.
pub(super) fn all_back(before: &BTreeMap<String, String>, stage: &Stage<'_>) -> Result<(), String> {
    let left = differences(before, &stage.tree.values());
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("not put back: {}", left.join("; ")))
    }
}

fn ceiling(stage: &Stage<'_>) -> Outcome {
    let mut cast = Cast::enter(stage)?;
    let before = stage.tree.values();
    let agent = stage.start_agent()?;
    let limit = stage.limit(10);
    wait_until("limits", limit, || held(stage, &agent, &cast.batch))?;
    // For some ticks: nothing else is ever written, and the sum stays under the ceiling.
    stays("the other groups", stage.limit(3), || {
        foreign(&before, stage, &cast.batch)
    })?;
    let quotas = wait_until("limits after some ticks", limit, || {
        held(stage, &agent, &cast.batch)
    })?;
    cast.lives()?;
    let ceiling = ceiling_of(&agent)?;
    Ok(Verdict::Shown(format!(
        "quotas {quotas:?} under a ceiling of {ceiling} thousandths; {} files of other groups as before",
        before.len()
    )))
}

/// A batch pod and a service under an agent whose ceiling no longer rises.
struct Calm {
    batch: Pod,
    service: Pod,
    agent: Agent,
    quota: u64,
}

impl Calm {
    fn wait(stage: &Stage<'_>) -> Result<Self, String> {
        let batch = stage.start_pod(&PodSpec::reclaimed("batch", 1000, 64), Kind::Sleep)?;
        let service = stage.start_pod(&PodSpec::service("service", 500, 64), Kind::Sleep)?;
        let agent = stage.start_agent()?;
        let machine = stage.place.cpus.len() as u64 * 1000;
        // Idle, a batch pod may have nearly all of the machine; an emulated one has kernel threads and the agent itself to run.
        let share = if stage.place.emulated { 40 } else { 75 };
        let quota = wait_until("a calm machine", stage.limit(30), || {
            match stage.tree.quota(&batch.group)? {
                Some(quota) if quota * 100 >= machine * share => Ok(quota),
                quota => Err(format!("quota {quota:?} of a machine of {machine}")),
            }
        })?;
        Ok(Self {
            batch,
            service,
            agent,
            quota,
        })
    }

    /// A surge of half of the machine; the time until the quota is lower by at least a tenth. Not by half: where the machine has other work, the service gets less
    /// than it wants, and the ceiling rightly falls by as much as it gets.
    fn surge(&self, stage: &Stage<'_>) -> Result<(Duration, u64), String> {
        let threads = stage.place.cpus.len().div_ceil(2).max(1);
        let burner = stage.join(&self.service, Kind::Burn { threads })?;
        let began = Instant::now();
        let lowered = wait_until("a lower quota", stage.limit(10), || {
            match stage.tree.quota(&self.batch.group)? {
                Some(quota) if quota * 10 <= self.quota * 9 => Ok(quota),
                quota => Err(format!(
                    "{quota:?}, before the surge {}; {}",
                    self.quota,
                    self.agent.log_tail()
                )),
            }
        });
        let elapsed = began.elapsed();
        drop(burner);
        Ok((elapsed, lowered?))
    }
}

fn judge_surge(stage: &Stage<'_>, name: &str, shows: &str, calm: &Calm) -> Outcome {
    let (elapsed, lowered) = calm.surge(stage)?;
    let millis = elapsed.as_secs_f64() * 1000.0;
    // Half of the emulated machine's CPU time is the emulator's own: the bar is the same promise in its slower time, and said so.
    let (bar, note) = if stage.place.emulated {
        (SURGE_BAR * 3, " (emulated: three times the promise of 1 s)")
    } else {
        (SURGE_BAR, "")
    };
    let place = stage.place_words();
    stage.figure(Row::at_most(
        name,
        shows,
        millis,
        "ms",
        bar.as_secs_f64() * 1000.0,
        &place,
    ));
    let seen = format!("{}m -> {lowered}m after {millis:.0} ms{note}", calm.quota);
    if elapsed > bar {
        return Err(format!("{seen}: later than {} ms", bar.as_millis()));
    }
    Ok(Verdict::Shown(seen))
}

fn surge(stage: &Stage<'_>) -> Outcome {
    let calm = Calm::wait(stage)?;
    judge_surge(
        stage,
        "surge-latency",
        "service surge to lowered batch quota",
        &calm,
    )
}

fn surge_without_api(stage: &Stage<'_>) -> Outcome {
    // The API server is the stage's; a second one, for this agent alone, goes away.
    let mut api = super::api::Api::start("node")?;
    let kubeconfig = stage.directory.join("kubeconfig");
    api.write_kubeconfig(&kubeconfig)?;
    let specs = [
        PodSpec::reclaimed("batch", 1000, 64),
        PodSpec::service("service", 500, 64),
    ];
    for spec in &specs {
        api.put(spec.object("node"));
    }
    let calm = Calm::wait(stage)?;
    api.go_away();
    wait_until("a notice of the outage", stage.limit(30), || {
        let notices = calm.agent.notices()?;
        if notices.iter().any(|text| text.starts_with("api")) {
            Ok(())
        } else {
            Err(format!("{notices:?}"))
        }
    })?;
    judge_surge(
        stage,
        "surge-latency-without-api",
        "the same with the API server gone",
        &calm,
    )
}

fn arrival(stage: &Stage<'_>) -> Outcome {
    let first = stage.start_pod(&PodSpec::reclaimed("first", 500, 64), Kind::Sleep)?;
    let agent = stage.start_agent()?;
    wait_until("limits", stage.limit(10), || {
        held(stage, &agent, std::slice::from_ref(&first))
    })?;
    let spec = PodSpec::reclaimed("second", 500, 64);
    let second = stage.start_pod(&spec, Kind::Sleep)?;
    let began = Instant::now();
    wait_until("limits of the new pod", stage.limit(10), || {
        stage
            .tree
            .quota(&second.group)?
            .map(drop)
            .ok_or_else(|| "no quota".to_owned())
    })?;
    let elapsed = began.elapsed();
    let bar = if stage.place.emulated {
        SURGE_BAR * 3
    } else {
        SURGE_BAR
    };
    let millis = elapsed.as_secs_f64() * 1000.0;
    stage.figure(Row::at_most(
        "arrival-latency",
        "first process of a batch pod to its limits",
        millis,
        "ms",
        bar.as_secs_f64() * 1000.0,
        &stage.place_words(),
    ));
    wait_until("limits of both", stage.limit(10), || {
        held(stage, &agent, std::slice::from_ref(&second))
    })?;
    let recorded = |uid: &str| records(&stage.state_dir()).map(|text| text.contains(uid));
    if !recorded(&spec.uid())? {
        return Err("the new pod is held and has no record".to_owned());
    }
    stage.end_pod(second)?;
    wait_until("the record of the ended pod to go", stage.limit(10), || {
        if recorded(&spec.uid())? {
            Err("it is still there".to_owned())
        } else {
            Ok(())
        }
    })?;
    if elapsed > bar {
        return Err(format!(
            "held after {millis:.0} ms, later than {} ms",
            bar.as_millis()
        ));
    }
    Ok(Verdict::Shown(format!(
        "held {millis:.0} ms after its first process ran"
    )))
}

/// The records as text.
fn records(state_dir: &Path) -> Result<String, String> {
    super::tree::read(&state_dir.join("cgroup-records.json"))
}

fn dry_run(stage: &Stage<'_>) -> Outcome {
    let mut cast = Cast::enter(stage)?;
    let before = stage.tree.values();
    let mut setup = stage.agent();
    setup.flags.push("--dry-run".to_owned());
    let mut agent = setup.start()?;
    agent.wait_sampled(stage.limit(10))?;
    stays("every group", stage.limit(3), || all_back(&before, stage))?;
    cast.lives()?;
    let log = agent.log_tail();
    if !log.contains("dry run: would write") {
        return Err(format!("the plan is not in the log:\n{log}"));
    }
    Ok(Verdict::Shown(format!(
        "{} files as before; the plan is in the log",
        before.len()
    )))
}

fn restore(stage: &Stage<'_>) -> Outcome {
    // Records exist before the pods: without any, an agent cannot know whether it changed a pod that runs already, and takes kubelet's values for its old ones.
    let first = stage.start_pod(&PodSpec::reclaimed("first", 100, 64), Kind::Sleep)?;
    let agent = stage.start_agent()?;
    wait_until("limits", stage.limit(10), || {
        held(stage, &agent, std::slice::from_ref(&first))
    })?;
    agent.stop(stage.limit(20))?;
    let batch = stage.start_groups(&PodSpec::reclaimed("batch", 1000, 64), Kind::Sleep)?;
    let mut others = [
        stage.start_pod(&PodSpec::plain("plain"), Kind::Sleep)?,
        stage.start_pod(&PodSpec::service("service", 200, 64), Kind::Sleep)?,
    ];
    // Values that somebody else set: no default would guess them.
    let odd = batch.group.clone();
    stage.tree.set_quota(&odd, 1234)?;
    stage.tree.set_memory(&odd, 48 << 20)?;
    stage.tree.set_shares(&odd, 77)?;
    if stage.tree.version == Version::V2 {
        stage
            .tree
            .write(&odd, "memory.high", &(40_u64 << 20).to_string())?;
    }
    stage.end_pod(first)?;
    stage.show(&batch);
    let mut batch = [batch];
    let before = stage.tree.values();
    let agent = stage.start_agent()?;
    wait_until("limits", stage.limit(10), || held(stage, &agent, &batch))?;
    let changed = differences(&before, &stage.tree.values()).len();
    let printed = stage.agent().restore()?;
    all_back(&before, stage)?;
    // The agent still runs, and must leave them alone until it starts again.
    stays("the restored files", stage.limit(3), || {
        all_back(&before, stage)
    })?;
    let notices = agent.notices()?;
    if !notices.iter().any(|text| text.contains("restore")) {
        return Err(format!("no notice that the agent stands down: {notices:?}"));
    }
    agent.kill()?;
    let again = stage.start_agent()?;
    wait_until("limits after a new start", stage.limit(10), || {
        held(stage, &again, &batch)
    })?;
    again.kill()?;
    stage.agent().restore()?;
    all_back(&before, stage)?;
    batch
        .iter_mut()
        .chain(&mut others)
        .try_for_each(Pod::lives)?;
    Ok(Verdict::Shown(format!(
        "{changed} files changed and are back ({printed}); twice"
    )))
}

fn damaged_records(stage: &Stage<'_>) -> Outcome {
    let mut cast = Cast::enter(stage)?;
    let before = stage.tree.values();
    let agent = stage.start_agent()?;
    wait_until("limits", stage.limit(10), || {
        held(stage, &agent, &cast.batch)
    })?;
    agent.kill()?;
    let file = stage.state_dir().join("cgroup-records.json");
    let text = super::tree::read(&file)?;
    let half: String = text.chars().take(text.chars().count() / 2).collect();
    super::tree::write(&file, &half)?;
    let agent = stage.start_agent()?;
    wait_until("limits after the damage", stage.limit(10), || {
        held(stage, &agent, &cast.batch)
    })?;
    agent.kill()?;
    let aside = stage.state_dir().join("cgroup-records.json.damaged");
    if super::tree::read(&aside)? != half {
        return Err(format!("{} is not the damaged file", aside.display()));
    }
    stage.agent().restore()?;
    all_back(&before, stage)?;
    cast.lives()?;
    Ok(Verdict::Shown(
        "held all the time, and kubelet's values are back".to_owned(),
    ))
}
