//! Crashes at every step: the agent is killed before each of its writes to the kernel in turn.

use std::collections::{BTreeMap, BTreeSet};

use super::agent::CRASH_BEFORE_WRITE;
use super::holding::all_back;
use super::pod::PodSpec;
use super::stage::{Pod, Stage};
use super::suite::Scenario;
use super::tree::differences;
use super::wait::wait_until;
use super::work::Kind;
use crate::report::Row;
use crate::scenario::{Outcome, Verdict};

/// More steps than any plan of these scenarios has.
const MOST_STEPS: u64 = 200;

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![Scenario {
        name: "crash",
        claim: "Killed before any of its writes, the agent leaves what restore puts back wholly, and what a restart completes",
        run: crash,
    }]
}

fn crash(stage: &Stage<'_>) -> Outcome {
    let mut pods = [
        stage.start_pod(&PodSpec::reclaimed("batch-a", 1000, 64), Kind::Sleep)?,
        stage.start_pod(&PodSpec::reclaimed("batch-b", 500, 96), Kind::Sleep)?,
        stage.start_pod(&PodSpec::service("service", 200, 64), Kind::Sleep)?,
    ];
    every_step(stage, &mut pods)
}

/// Files that differ from `before`.
fn changed(before: &BTreeMap<String, String>, stage: &Stage<'_>) -> BTreeSet<String> {
    differences(before, &stage.tree.values())
        .into_iter()
        .filter_map(|line| line.split(": ").next().map(str::to_owned))
        .collect()
}

/// Crashes at each step of the plan for the pods at hand.
pub(super) fn every_step(stage: &Stage<'_>, pods: &mut [Pod]) -> Outcome {
    let before = stage.tree.values();
    // What the whole plan changes.
    let agent = stage.start_agent()?;
    let mut plan = BTreeSet::new();
    wait_until("a plan that is carried out", stage.limit(20), || {
        let now = changed(&before, stage);
        let settled = !now.is_empty() && now == plan;
        plan = now;
        // Two samples a second apart are alike.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        if settled {
            Ok(())
        } else {
            Err(format!("{} files changed so far", plan.len()))
        }
    })?;
    agent.kill()?;
    stage.agent().restore()?;
    all_back(&before, stage)?;

    let mut partial = BTreeSet::new();
    for step in 0..MOST_STEPS {
        if !crash_at(stage, step, &before, &plan)? {
            stage.agent().restore()?;
            all_back(&before, stage)?;
            for pod in pods.iter_mut() {
                pod.lives()?;
            }
            stage.figure(Row::figure(
                "crash-steps",
                "writes before each of which the agent was killed",
                step as f64,
                "count",
                &stage.place_words(),
            ));
            return Ok(Verdict::Shown(format!(
                "killed before each of {step} writes ({} different states of {} files), restored and restarted after each",
                partial.len(),
                plan.len()
            )));
        }
        partial.insert(changed(&before, stage));
        stage
            .agent()
            .restore()
            .map_err(|error| format!("after a crash before write {step}: {error}"))?;
        all_back(&before, stage)
            .map_err(|error| format!("after a crash before write {step} and a restore: {error}"))?;

        crash_at(stage, step, &before, &plan)?;
        let agent = stage.start_agent()?;
        complete(stage, &before, &plan)
            .map_err(|error| format!("after a crash before write {step} and a restart: {error}"))?;
        agent.kill()?;
        stage.agent().restore()?;
        all_back(&before, stage).map_err(|error| {
            format!("after a crash before write {step}, a restart and a restore: {error}")
        })?;
    }
    Err(format!(
        "a plan of {} files took more than {MOST_STEPS} writes",
        plan.len()
    ))
}

/// Runs an agent that is killed before its write number `step`; false: the whole plan was carried out first.
fn crash_at(
    stage: &Stage<'_>,
    step: u64,
    before: &BTreeMap<String, String>,
    plan: &BTreeSet<String>,
) -> Result<bool, String> {
    let mut setup = stage.agent();
    setup
        .environment
        .push((CRASH_BEFORE_WRITE.to_owned(), step.to_string()));
    let mut agent = setup.start()?;
    wait_until("a crash or the whole plan", stage.limit(20), || {
        if agent.ends_within(std::time::Duration::from_millis(20))? {
            return Ok(true);
        }
        if changed(before, stage).is_superset(plan) {
            // It may be killed in this very moment by a write that comes after the plan.
            return Ok(false);
        }
        Err(format!("neither; {}", agent.log_tail()))
    })
}

fn complete(
    stage: &Stage<'_>,
    before: &BTreeMap<String, String>,
    plan: &BTreeSet<String>,
) -> Result<(), String> {
    wait_until("the whole plan", stage.limit(20), || {
        let now = changed(before, stage);
        let missing: Vec<&String> = plan.difference(&now).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("as before: {missing:?}"))
        }
    })
}
