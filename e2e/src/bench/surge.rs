//! From a surge of services to the lowered batch quota in the kernel.
//!
//! The surge is CPU that this process burns on the node: everything but reclaimed pods is a service. The quota is read from the pod's own cgroup file
//! every 10 ms, so the figure includes sampling, decision and write, and nothing of the API.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{NAMESPACE, median};
use crate::kubectl::{Kubectl, wait_for};
use crate::product::{Product, offered_millicpu};
use crate::report::Row;

/// Promise of the product: within one second of a change in service use.
const BAR_MS: f64 = 1000.0;

pub(super) fn measure(kubectl: &Kubectl, product: &Product, rounds: usize) -> Result<Vec<Row>, String> {
    let node = "node-host";
    wait_for("an offer on the host's node", Duration::from_secs(180), || {
        let offered = offered_millicpu(&product.cnr(node)?);
        if offered >= 200 { Ok(()) } else { Err(format!("offers {offered}m")) }
    })?;
    let amounts = json!({"resource.katalyst.kubewharf.io/reclaimed_millicpu": "200", "resource.katalyst.kubewharf.io/reclaimed_memory": "32Mi"});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "batch", "namespace": NAMESPACE, "annotations": {"katalyst.kubewharf.io/qos_level": "reclaimed_cores"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [{
                "name": "main", "image": "katalyst.local/busybox:1", "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/busybox", "sh", "-c", "while :; do :; done"],
                "resources": {"requests": amounts, "limits": amounts},
            }],
        },
    });
    kubectl.apply(&pod.to_string()).map_err(|e| e.to_string())?;
    let uid = wait_for("the batch pod runs", Duration::from_secs(60), || {
        let pod = kubectl.json(&["-n", NAMESPACE, "get", "pod", "batch"]).map_err(|e| e.to_string())?;
        if pod["status"]["phase"] == "Running" { pod["metadata"]["uid"].as_str().map(str::to_owned).ok_or_else(|| "no uid".to_owned()) } else { Err(pod["status"]["phase"].to_string()) }
    })?;
    let file = quota_file(&uid)?;
    let mut latencies = Vec::new();
    let mut squeezed = Vec::new();
    for round in 1..=rounds {
        // Steady first: the ceiling has risen as far as it goes.
        let before = steady(&file)?;
        let surge = Surge::start(2);
        let began = Instant::now();
        let lowered = wait_quota(&file, Duration::from_secs(10), |quota| quota * 4 <= before * 3);
        let elapsed = began.elapsed();
        drop(surge);
        let after = lowered.ok_or_else(|| format!("round {round}: the quota did not fall below three quarters of {before}m within 10 s"))?;
        println!("  round {round}: {before}m -> {after}m after {:.0} ms", elapsed.as_secs_f64() * 1000.0);
        latencies.push(elapsed.as_secs_f64() * 1000.0);
        squeezed.push(after as f64 / before as f64);
    }
    let worst = latencies.iter().copied().fold(0.0, f64::max);
    let place = "host node, cgroup v1, release build";
    Ok(vec![
        Row::at_most("surge-latency-median", "service surge to lowered batch quota, median", median(&latencies).unwrap_or(f64::NAN), "ms", BAR_MS, place),
        Row::figure("surge-latency-max", &format!("the same, worst of {rounds}"), worst, "ms", place),
        Row::figure("surge-squeeze", "batch quota after the first write, as a fraction of before", median(&squeezed).unwrap_or(f64::NAN), "fraction", place),
    ])
}

/// CPU burnt on this machine until dropped.
struct Surge(Arc<AtomicBool>);

impl Surge {
    fn start(threads: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..threads {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::black_box(crate::workload::serve::burn(16));
                }
            });
        }
        Self(stop)
    }
}

impl Drop for Surge {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The quota file of a best-effort pod of the default cluster.
fn quota_file(uid: &str) -> Result<PathBuf, String> {
    for hierarchy in ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"] {
        let path = PathBuf::from(hierarchy).join("katalyst-e2e/kubepods/besteffort").join(format!("pod{uid}")).join("cpu.cfs_quota_us");
        if path.exists() {
            return Ok(path);
        }
    }
    Err(format!("no quota file of pod {uid} below /sys/fs/cgroup: the bench needs the host node of `katalyst-e2e cluster up`"))
}

/// The quota in thousandths of a CPU; `None` without one.
fn quota(file: &PathBuf) -> Option<u64> {
    let quota: i64 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    let period: u64 = fs::read_to_string(file.with_file_name("cpu.cfs_period_us")).ok()?.trim().parse().ok()?;
    u64::try_from(quota).ok()?.checked_mul(1000)?.checked_div(period)
}

fn wait_quota(file: &PathBuf, limit: Duration, accept: impl Fn(u64) -> bool) -> Option<u64> {
    let began = Instant::now();
    while began.elapsed() < limit {
        if let Some(value) = quota(file).filter(|value| accept(*value)) {
            return Some(value);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// Waits until the quota has not changed for three seconds (at most 60 s); the quota.
fn steady(file: &PathBuf) -> Result<u64, String> {
    let began = Instant::now();
    let mut since = Instant::now();
    let mut last = quota(file);
    while began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(100));
        let now = quota(file);
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() >= Duration::from_secs(3)
            && let Some(value) = now.filter(|value| *value >= 400)
        {
            return Ok(value);
        }
    }
    last.ok_or_else(|| "the batch pod has no quota".to_owned())
}
