//! What the agent costs with many pods on its node: CPU over a minute and resident memory, read from `/proc`.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use super::NAMESPACE;
use crate::kubectl::{Kubectl, wait_for};
use crate::report::Row;

/// How long the CPU is measured.
const SPAN: Duration = Duration::from_secs(30);

pub(super) fn measure(kubectl: &Kubectl, pods: usize) -> Result<Vec<Row>, String> {
    println!("  starting {pods} idle reclaimed pods ...");
    let amounts = json!({"resource.katalyst.kubewharf.io/reclaimed_millicpu": "1", "resource.katalyst.kubewharf.io/reclaimed_memory": "8Mi"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "many", "namespace": NAMESPACE},
        "spec": {
            "replicas": pods,
            "selector": {"matchLabels": {"app": "many"}},
            "template": {
                "metadata": {"labels": {"app": "many"}, "annotations": {"katalyst.kubewharf.io/qos_level": "reclaimed_cores"}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "nodeSelector": {"kubernetes.io/hostname": "node-host"},
                    "containers": [{"name": "main", "image": "katalyst.local/pause:1", "imagePullPolicy": "IfNotPresent", "resources": {"requests": amounts, "limits": amounts}}],
                },
            },
        },
    });
    kubectl
        .apply(&deployment.to_string())
        .map_err(|e| e.to_string())?;
    let running = wait_for(
        &format!("{pods} pods run"),
        Duration::from_secs(300),
        || {
            let object = kubectl
                .json(&["-n", NAMESPACE, "get", "deployment", "many"])
                .map_err(|e| e.to_string())?;
            let ready = object["status"]["readyReplicas"].as_u64().unwrap_or(0);
            if ready as usize == pods {
                Ok(ready)
            } else {
                Err(format!("{ready} ready"))
            }
        },
    )?;
    let pid = agent_pid().ok_or("no process katalyst-node-agent on this machine")?;
    let began = Instant::now();
    let before = cpu_ticks(pid)?;
    std::thread::sleep(SPAN);
    let ticks = cpu_ticks(pid)?.saturating_sub(before);
    let percent = ticks as f64
        / rustix::param::clock_ticks_per_second() as f64
        / began.elapsed().as_secs_f64()
        * 100.0;
    let resident = resident_mib(pid)?;
    let place = format!("host node, {running} reclaimed pods, release build");
    Ok(vec![
        Row::at_most(
            "agent-cpu",
            "CPU of the node agent, of one CPU",
            percent,
            "%",
            5.0,
            &place,
        ),
        Row::at_most(
            "agent-rss",
            "resident memory of the node agent",
            resident,
            "MiB",
            64.0,
            &place,
        ),
    ])
}

/// The agent of the host's node: the newest process of that name that is not inside a virtual machine.
fn agent_pid() -> Option<u32> {
    fs::read_dir("/proc")
        .ok()?
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                line.split('\0')
                    .next()
                    .is_some_and(|program| program.ends_with("katalyst-node-agent"))
            })
        })
        .max()
}

/// User and system time, in clock ticks: fields 14 and 15 of `/proc/PID/stat`.
fn cpu_ticks(pid: u32) -> Result<u64, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_err(|e| format!("the agent ended: {e}"))?;
    parse_ticks(&text).ok_or_else(|| format!("/proc/{pid}/stat: {text:?}"))
}

fn parse_ticks(stat: &str) -> Option<u64> {
    // The name in parentheses may hold spaces: count from its end.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn resident_mib(pid: u32) -> Result<f64, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| e.to_string())?;
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .trim()
            .strip_suffix(" kB")?
            .trim()
            .parse::<f64>()
            .ok()
    });
    kib.map(|kib| kib / 1024.0)
        .ok_or_else(|| format!("/proc/{pid}/status has no VmRSS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        assert_eq!(
            parse_ticks("7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14"),
            Some(23)
        );
    }
}
