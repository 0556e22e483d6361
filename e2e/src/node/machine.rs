//! Scenarios of sensing: the machine as the agent reports it, and kernels that lack a file.

use std::collections::BTreeSet;

use serde_json::Value;

use super::holding::held;
use super::pod::PodSpec;
use super::stage::Stage;
use super::suite::Scenario;
use super::wait::wait_until;
use super::work::Kind;
use crate::scenario::{Outcome, Verdict};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "report",
            claim: "The report shows every NUMA node of the machine, also one without CPUs",
            run: report,
        },
        Scenario {
            name: "missing-files",
            claim: "On a kernel without pressure and without NUMA files the agent says what is off, and holds",
            run: missing_files,
        },
    ]
}

/// Names of all zones of a kind in a tree of zones.
fn zones(tree: &Value, kind: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut queue: Vec<&Value> = tree.as_array().into_iter().flatten().collect();
    while let Some(zone) = queue.pop() {
        let text = |field: &str| zone.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("type") == kind {
            found.insert(text("name").to_owned());
        }
        queue.extend(
            zone.get("children")
                .and_then(Value::as_array)
                .into_iter()
                .flatten(),
        );
    }
    found
}

fn report(stage: &Stage<'_>) -> Outcome {
    let _service = stage.start_pod(&PodSpec::service("service", 100, 64), Kind::Sleep)?;
    let _agent = stage.start_agent()?;
    let nodes: BTreeSet<String> = stage.place.nodes.keys().map(ToString::to_string).collect();
    let sockets = wait_until("a report", stage.limit(20), || {
        let report = stage.api.report().ok_or("none yet")?;
        let tree = report
            .pointer("/status/topologyZone")
            .ok_or("no topologyZone")?;
        let seen = zones(tree, "Numa");
        if seen == nodes {
            Ok(zones(tree, "Socket").len())
        } else {
            Err(format!(
                "NUMA zones {seen:?} where the kernel has {nodes:?}: {tree}"
            ))
        }
    })?;
    Ok(Verdict::Shown(format!(
        "{} NUMA nodes in {sockets} sockets",
        nodes.len()
    )))
}

fn missing_files(stage: &Stage<'_>) -> Outcome {
    let batch = stage.start_pod(&PodSpec::reclaimed("batch", 500, 64), Kind::Sleep)?;
    let mut setup = stage.agent();
    // Empty directories over the kernel's, seen by the agent alone.
    let hide = "for directory in /proc/pressure /sys/devices/system/node; do [ ! -d $directory ] || mount -t tmpfs none $directory || exit 99; done; exec \"$@\"";
    setup.wrapper = ["unshare", "--mount", "sh", "-c", hide, "sh"]
        .map(str::to_owned)
        .into();
    let mut agent = setup.start()?;
    agent.wait_sampled(stage.limit(10))?;
    wait_until("limits", stage.limit(10), || {
        held(stage, &agent, std::slice::from_ref(&batch))
    })?;
    let notices = agent.notices()?;
    if !notices.iter().any(|text| text.contains("pressure")) {
        return Err(format!(
            "no word of the missing pressure files: {notices:?}"
        ));
    }
    Ok(Verdict::Shown(format!(
        "holds; notices: {}",
        notices.join("; ")
    )))
}
