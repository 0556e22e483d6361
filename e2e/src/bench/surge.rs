//! From a surge of services to the lowered batch quota in the kernel.
//!
//! The surge is CPU that threads of this process burn inside the cgroup of a running service pod, so its start is known to the microsecond. The quota is read from
//! the batch pod's own cgroup file every 10 ms: the figure includes sampling, decision and write, and nothing of the API.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{NAMESPACE, median};
use crate::kubectl::{Kubectl, wait_for};
use crate::product::{Product, offered_millicpu};
use crate::report::Row;

/// Promise of the product: within one second of a change in service use.
const BAR_MS: f64 = 1000.0;

pub(super) fn measure(
    kubectl: &Kubectl,
    product: &Product,
    rounds: usize,
) -> Result<Vec<Row>, String> {
    wait_for(
        "an offer on the host's node",
        Duration::from_secs(180),
        || {
            let offered = offered_millicpu(&product.cnr(NODE)?);
            if offered >= 200 {
                Ok(())
            } else {
                Err(format!("offers {offered}m"))
            }
        },
    )?;
    let batch = PodGroup::of(
        "besteffort",
        &start(kubectl, &reclaimed("batch", "while :; do :; done"))?,
    )?;
    let service = PodGroup::of("burstable", &start(kubectl, &service("service"))?)?;
    let mut latencies = Vec::new();
    let mut squeezed = Vec::new();
    for round in 1..=rounds {
        // Steady first: the ceiling has risen as far as it goes.
        let before = steady(&batch)?;
        let surge = Surge::start(2, &service)?;
        let began = Instant::now();
        let lowered = batch.wait_quota(Duration::from_secs(10), |quota| quota * 4 <= before * 3);
        let elapsed = began.elapsed();
        drop(surge);
        let after = lowered.ok_or_else(|| format!("round {round}: the quota did not fall below three quarters of {before}m within 10 s"))?;
        println!(
            "  round {round}: {before}m -> {after}m after {:.0} ms",
            elapsed.as_secs_f64() * 1000.0
        );
        latencies.push(elapsed.as_secs_f64() * 1000.0);
        squeezed.push(after as f64 / before as f64);
    }
    let started = start_latencies(kubectl, rounds)?;
    for name in ["batch", "service"] {
        remove(kubectl, name);
    }
    let worst = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let place = "host node, cgroup v1, release build";
    Ok(vec![
        Row::at_most(
            "surge-latency-median",
            "service surge to lowered batch quota, median",
            median(&latencies).unwrap_or(f64::NAN),
            "ms",
            BAR_MS,
            place,
        ),
        Row::figure(
            "surge-latency-max",
            &format!("the same, worst of {rounds}"),
            worst(&latencies),
            "ms",
            place,
        ),
        Row::figure(
            "surge-squeeze",
            "batch quota after the first write, as a fraction of before",
            median(&squeezed).unwrap_or(f64::NAN),
            "fraction",
            place,
        ),
        Row::at_most(
            "start-latency-median",
            "first process of a reclaimed pod to its CPU and memory limits, median",
            median(&started).unwrap_or(f64::NAN),
            "ms",
            BAR_MS,
            place,
        ),
        Row::at_most(
            "start-latency-max",
            &format!("the same, worst of {rounds}"),
            worst(&started),
            "ms",
            BAR_MS,
            place,
        ),
    ])
}

/// How long new reclaimed pods run without limits.
fn start_latencies(kubectl: &Kubectl, rounds: usize) -> Result<Vec<f64>, String> {
    let mut latencies = Vec::new();
    for round in 0..rounds {
        let name = format!("new-{round}");
        let created = kubectl
            .feed(
                &["create", "-f", "-", "-o", "json"],
                Some(&reclaimed(&name, IDLE).to_string()),
            )
            .map_err(|e| e.to_string())?;
        let created: Value = serde_json::from_str(&created).map_err(|e| e.to_string())?;
        let uid = created["metadata"]["uid"]
            .as_str()
            .ok_or("no uid")?
            .to_owned();
        let began = Instant::now();
        let mut first = None;
        let mut group = None;
        let latency = loop {
            if began.elapsed() > Duration::from_secs(60) {
                return Err(format!("pod {name} was not held within 60 s"));
            }
            std::thread::sleep(Duration::from_millis(5));
            if group.is_none() {
                group = PodGroup::of("besteffort", &uid).ok();
            }
            let Some(group) = &group else { continue };
            if first.is_none() && group.has_container() {
                first = Some(Instant::now());
            }
            if group.quota().is_some()
                && group.memory_limit().is_some_and(|bytes| bytes <= 32 << 20)
            {
                // Limits that were there before the first process: nothing ran without them.
                break first.map_or(Duration::ZERO, |first: Instant| first.elapsed());
            }
        };
        latencies.push(latency.as_secs_f64() * 1000.0);
        remove(kubectl, &name);
    }
    Ok(latencies)
}

const NODE: &str = "node-host";
const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 1 & wait; done";

fn pod(name: &str, class: &str, resources: &Value, script: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {"katalyst.kubewharf.io/qos_level": class}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": {"kubernetes.io/hostname": NODE},
            "containers": [{
                "name": "main", "image": "katalyst.local/busybox:1", "imagePullPolicy": "IfNotPresent",
                "command": ["/bin/busybox", "sh", "-c", script],
                "resources": resources,
            }],
        },
    })
}

fn reclaimed(name: &str, script: &str) -> Value {
    let amounts = json!({"resource.katalyst.kubewharf.io/reclaimed_millicpu": "100", "resource.katalyst.kubewharf.io/reclaimed_memory": "32Mi"});
    pod(
        name,
        "reclaimed_cores",
        &json!({"requests": amounts, "limits": amounts}),
        script,
    )
}

fn service(name: &str) -> Value {
    pod(
        name,
        "shared_cores",
        &json!({"requests": {"cpu": "500m", "memory": "16Mi"}}),
        IDLE,
    )
}

/// Starts a pod; its uid once it runs.
fn start(kubectl: &Kubectl, pod: &Value) -> Result<String, String> {
    kubectl.apply(&pod.to_string()).map_err(|e| e.to_string())?;
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    wait_for(&format!("pod {name} runs"), Duration::from_secs(60), || {
        let pod = kubectl
            .json(&["-n", NAMESPACE, "get", "pod", name])
            .map_err(|e| e.to_string())?;
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        pod["metadata"]["uid"]
            .as_str()
            .filter(|_| phase == "Running")
            .map(str::to_owned)
            .ok_or_else(|| format!("phase {phase}"))
    })
}

fn remove(kubectl: &Kubectl, name: &str) {
    // The namespace is deleted at the end in any case.
    kubectl
        .run(&[
            "-n",
            NAMESPACE,
            "delete",
            "pod",
            name,
            "--grace-period=0",
            "--force",
        ])
        .ok();
}

/// A pod's cgroup of the default cluster's host node, seen from outside of the cluster.
struct PodGroup {
    cpu: PathBuf,
    cpuacct: PathBuf,
    memory: PathBuf,
}

impl PodGroup {
    fn of(class: &str, uid: &str) -> Result<Self, String> {
        let below = format!("katalyst-e2e/kubepods/{class}/pod{uid}");
        let path = |hierarchy: &str| PathBuf::from("/sys/fs/cgroup").join(hierarchy).join(&below);
        let group = Self {
            cpu: path("cpu"),
            cpuacct: path("cpuacct"),
            memory: path("memory"),
        };
        if group.cpu.is_dir() {
            return Ok(group);
        }
        Err(format!(
            "no group {}: the bench needs the host node of `katalyst-e2e cluster up`, on cgroup v1",
            group.cpu.display()
        ))
    }

    /// The quota in thousandths of a CPU; `None` without one.
    fn quota(&self) -> Option<u64> {
        let read = |file: &str| fs::read_to_string(self.cpu.join(file)).ok();
        let quota: i64 = read("cpu.cfs_quota_us")?.trim().parse().ok()?;
        let period: u64 = read("cpu.cfs_period_us")?.trim().parse().ok()?;
        u64::try_from(quota)
            .ok()?
            .checked_mul(1000)?
            .checked_div(period)
    }

    fn memory_limit(&self) -> Option<u64> {
        fs::read_to_string(self.memory.join("memory.limit_in_bytes"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Groups of containers below it.
    fn containers(dir: &Path) -> Vec<PathBuf> {
        fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()
    }

    /// True when a container beside the sandbox has a process.
    fn has_container(&self) -> bool {
        let busy = |path: &PathBuf| {
            fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|text| !text.trim().is_empty())
        };
        Self::containers(&self.cpu)
            .iter()
            .filter(|path| busy(path))
            .count()
            >= 2
    }

    fn wait_quota(&self, limit: Duration, accept: impl Fn(u64) -> bool) -> Option<u64> {
        let began = Instant::now();
        while began.elapsed() < limit {
            if let Some(value) = self.quota().filter(|value| accept(*value)) {
                return Some(value);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

/// CPU burnt inside a pod's cgroup until dropped.
struct Surge(Arc<AtomicBool>);

impl Surge {
    fn start(threads: usize, pod: &PodGroup) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let surge = Self(Arc::clone(&stop));
        let homes: Vec<PathBuf> = [&pod.cpu, &pod.cpuacct]
            .into_iter()
            .filter_map(|dir| PodGroup::containers(dir).into_iter().next())
            .map(|dir| dir.join("tasks"))
            .collect();
        let (entered, inside) = std::sync::mpsc::channel();
        for _ in 0..threads {
            let (stop, homes, entered) = (Arc::clone(&stop), homes.clone(), entered.clone());
            std::thread::spawn(move || {
                let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
                let moved = homes.iter().try_for_each(|tasks| {
                    fs::write(tasks, &thread).map_err(|e| format!("{}: {e}", tasks.display()))
                });
                // The receiver waits for each thread; it is gone only when one before failed.
                entered.send(moved).ok();
                while !stop.load(Ordering::Relaxed) {
                    std::hint::black_box(crate::workload::serve::burn(16));
                }
            });
        }
        for _ in 0..threads {
            inside.recv().map_err(|e| e.to_string())??;
        }
        Ok(surge)
    }
}

impl Drop for Surge {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a batch pod is given again on the two CPUs of the bench before the next surge: a quota also rests where a surge has just left it, low.
const RISEN_MILLICPU: u64 = 1_000;

/// Waits until the quota has risen again and has not changed for three seconds (at most 60 s); the quota.
fn steady(batch: &PodGroup) -> Result<u64, String> {
    let began = Instant::now();
    let mut since = Instant::now();
    let mut last = batch.quota();
    while began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(100));
        let now = batch.quota();
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() >= Duration::from_secs(3)
            && let Some(value) = now.filter(|value| *value >= RISEN_MILLICPU)
        {
            return Ok(value);
        }
    }
    last.ok_or_else(|| "the batch pod has no quota".to_owned())
}
