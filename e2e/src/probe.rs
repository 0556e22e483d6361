//! Looking at a node from outside the product, and killing on it: a small DaemonSet that sees the cgroup tree and the processes, asked through `kubectl exec`.
//!
//! It works on every node of every cluster (host, virtual machine, kind), and it does not believe the agent's own reports.

use std::time::Duration;

use crate::kubectl::{Kubectl, wait_for};

const MANIFEST: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: katalyst-e2e-probe}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: probe, namespace: katalyst-e2e-probe}
spec:
  selector: {matchLabels: {app: probe}}
  template:
    metadata: {labels: {app: probe}}
    spec:
      terminationGracePeriodSeconds: 0
      hostPID: true
      tolerations: [{operator: Exists}]
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms: [{matchExpressions: [{key: katalyst.local/hollow, operator: DoesNotExist}]}]
      containers:
      - name: probe
        image: katalyst.local/busybox:1
        imagePullPolicy: IfNotPresent
        command: [/bin/busybox, sleep, "1000000"]
        volumeMounts: [{name: cgroup, mountPath: /host/cgroup}]
      volumes: [{name: cgroup, hostPath: {path: /sys/fs/cgroup}}]
"#;

/// The limits of a pod's cgroup, as the kernel has them. `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a CPU.
    pub millicpu: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
}

/// The probes of a cluster.
#[derive(Debug, Clone)]
pub struct Probe {
    kubectl: Kubectl,
}

impl Probe {
    /// Starts the DaemonSet and waits until it runs everywhere.
    pub fn start(kubectl: &Kubectl) -> Result<Self, String> {
        kubectl.apply(MANIFEST).map_err(|e| e.to_string())?;
        wait_for("probe DaemonSet", Duration::from_secs(120), || {
            let set = kubectl
                .json(&["-n", "katalyst-e2e-probe", "get", "daemonset", "probe"])
                .map_err(|e| e.to_string())?;
            let count = |field: &str| set["status"][field].as_u64().unwrap_or(0);
            if count("desiredNumberScheduled") > 0
                && count("numberReady") == count("desiredNumberScheduled")
            {
                Ok(())
            } else {
                Err(format!(
                    "{} of {} ready",
                    count("numberReady"),
                    count("desiredNumberScheduled")
                ))
            }
        })?;
        Ok(Self {
            kubectl: kubectl.clone(),
        })
    }

    /// Removes it.
    pub fn stop(&self) -> Result<(), String> {
        self.kubectl
            .run(&["delete", "namespace", "katalyst-e2e-probe", "--wait=false"])
            .map(drop)
            .map_err(|e| e.to_string())
    }

    /// Runs a shell script on a node, with the cgroup tree at `/host/cgroup`.
    pub fn shell(&self, node: &str, script: &str) -> Result<String, String> {
        let selector = format!("spec.nodeName={node}");
        let pods = self
            .kubectl
            .json(&[
                "-n",
                "katalyst-e2e-probe",
                "get",
                "pods",
                "-l",
                "app=probe",
                "--field-selector",
                &selector,
            ])
            .map_err(|e| e.to_string())?;
        let pod = pods["items"][0]["metadata"]["name"]
            .as_str()
            .ok_or_else(|| format!("no probe on node {node}"))?
            .to_owned();
        // A kubelet that has just started knows none of its pods for a moment: the instrument waits, the claim is judged on what it reads.
        wait_for("exec in the probe", Duration::from_secs(30), || {
            self.kubectl
                .run(&[
                    "-n",
                    "katalyst-e2e-probe",
                    "exec",
                    &pod,
                    "--",
                    "/bin/busybox",
                    "sh",
                    "-c",
                    script,
                ])
                .map_err(|e| e.to_string())
        })
    }

    /// The limits of the pod with `uid` on `node`, on cgroup v1 or v2, with either driver.
    pub fn limits(&self, node: &str, uid: &str) -> Result<Limits, String> {
        let output = self.shell(node, &limits_script(uid))?;
        parse_limits(&output)
            .ok_or_else(|| format!("node {node}, pod {uid}: unexpected cgroup values {output:?}"))
    }

    /// Waits, on the node itself, until the pod with `uid` has a CPU and a memory limit; how long its first process beside the sandbox ran
    /// without (zero: the limits came first). Resolution: the script looks about every 20 ms.
    pub fn unheld(&self, node: &str, uid: &str) -> Result<Duration, String> {
        let output = self.shell(node, &unheld_script(uid))?;
        parse_unheld(&output)
            .ok_or_else(|| format!("node {node}, pod {uid}: not held within 60 s ({output:?})"))
    }

    /// Kills (SIGKILL, as in a crash) the processes of the pod with `uid` on `node` whose command begins with `program`; how many.
    pub fn kill(&self, node: &str, uid: &str, program: &str) -> Result<usize, String> {
        let output = self.shell(node, &kill_script(uid, program))?;
        let killed = output
            .lines()
            .filter(|line| line.starts_with("killed"))
            .count();
        if killed > 0 {
            Ok(killed)
        } else {
            Err(format!("node {node}, pod {uid}: no process {program}"))
        }
    }

    /// Every CPU and memory limit file of the node's pod cgroups with its value, to compare before and after.
    pub fn snapshot(&self, node: &str) -> Result<String, String> {
        self.shell(
            node,
            "cd /host/cgroup; for f in $(busybox find . -path '*pod*' \\( -name cpu.cfs_quota_us -o -name memory.limit_in_bytes -o -name cpu.max -o -name memory.max -o -name memory.high -o -name cpu.idle -o -name cpu.shares -o -name cpu.weight \\) 2>/dev/null | busybox sort); do echo \"$f $(busybox cat $f 2>/dev/null)\"; done",
        )
    }
}

/// A process is the pod's where its cgroup says so, with either driver.
fn kill_script(uid: &str, program: &str) -> String {
    let underscored = uid.replace('-', "_");
    format!(
        r"for p in /proc/[0-9]*; do
  read name 2>/dev/null < $p/comm || continue
  case $name in {program}*) ;; *) continue ;; esac
  busybox grep -q -e {uid} -e {underscored} $p/cgroup 2>/dev/null || continue
  kill -9 ${{p#/proc/}} && echo killed ${{p#/proc/}}
done; true"
    )
}

/// Prints the centiseconds of uptime at which a container's process was first seen (0: not yet) and at which both limits were there.
fn unheld_script(uid: &str) -> String {
    let underscored = uid.replace('-', "_");
    format!(
        r#"cd /host/cgroup
now() {{ read t rest < /proc/uptime; echo "${{t%.*}}${{t#*.}}"; }}
classes=$(busybox find . -type d \( -name besteffort -o -name '*-besteffort.slice' \) 2>/dev/null)
end=$(($(now) + 6000)) first=0
while [ "$(now)" -lt $end ]; do
  cpu= memory= busy=0
  for c in $classes; do
    for d in $c/pod{uid} ${{c}}/$(busybox basename $c .slice)-pod{underscored}.slice; do
      [ -d $d ] || continue
      if [ -f $d/cpu.max ]; then read quota period < $d/cpu.max; [ $quota = max ] || cpu=yes; fi
      if [ -f $d/cpu.cfs_quota_us ]; then read quota < $d/cpu.cfs_quota_us; [ $quota = -1 ] || cpu=yes; fi
      for f in $d/memory.max $d/memory.limit_in_bytes; do
        if [ -f $f ]; then read bytes < $f; [ $bytes = max ] || [ $bytes -gt 1099511627776 ] || memory=yes; fi
      done
      if [ -f $d/cpu.max ] || [ -f $d/cpu.cfs_quota_us ]; then
        for p in $d/*/cgroup.procs; do read id < $p 2>/dev/null && [ -n "$id" ] && busy=$((busy + 1)); done
      fi
    done
  done
  [ $first = 0 ] && [ $busy -ge 2 ] && first=$(now)
  if [ -n "$cpu" ] && [ -n "$memory" ]; then echo "$first $(now)"; exit 0; fi
  busybox usleep 10000
done
echo late"#
    )
}

fn parse_unheld(output: &str) -> Option<Duration> {
    let (first, held) = output.trim().split_once(' ')?;
    let (first, held): (u64, u64) = (first.parse().ok()?, held.parse().ok()?);
    let centiseconds = if first == 0 {
        0
    } else {
        held.checked_sub(first)?
    };
    Some(Duration::from_millis(centiseconds.checked_mul(10)?))
}

fn limits_script(uid: &str) -> String {
    let dashed = uid;
    let underscored = uid.replace('-', "_");
    format!(
        "cd /host/cgroup; for d in $(busybox find . -type d \\( -name 'pod{dashed}' -o -name '*-pod{underscored}.slice' \\) 2>/dev/null); do \
         for f in cpu.max cpu.cfs_quota_us cpu.cfs_period_us memory.max memory.limit_in_bytes; do [ -f $d/$f ] && echo \"$f $(busybox cat $d/$f)\"; done; done; true"
    )
}

fn parse_limits(output: &str) -> Option<Limits> {
    let value = |file: &str| {
        output
            .lines()
            .find_map(|line| line.strip_prefix(file)?.strip_prefix(' '))
            .map(str::trim)
    };
    let millicpu = if let Some(max) = value("cpu.max") {
        let (quota, period) = max.split_once(' ')?;
        if quota == "max" {
            None
        } else {
            Some(quota.parse::<u64>().ok()? * 1000 / period.parse::<u64>().ok()?)
        }
    } else {
        let quota: i64 = value("cpu.cfs_quota_us")?.parse().ok()?;
        let period: u64 = value("cpu.cfs_period_us")?.parse().ok()?;
        u64::try_from(quota).ok().map(|quota| quota * 1000 / period)
    };
    let memory = match value("memory.max").or_else(|| value("memory.limit_in_bytes"))? {
        "max" => None,
        // cgroup v1 shows "unlimited" as the largest page-aligned number.
        number => Some(number.parse::<u64>().ok()?).filter(|bytes| *bytes < 1 << 60),
    };
    Some(Limits { millicpu, memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_without_limits() {
        assert_eq!(parse_unheld("0 812345\n"), Some(Duration::ZERO));
        assert_eq!(
            parse_unheld("812300 812345\n"),
            Some(Duration::from_millis(450))
        );
        assert_eq!(parse_unheld("late\n"), None);
    }

    #[test]
    fn limits_of_both_versions_are_read() {
        let v1 = "cpu.cfs_quota_us 25000\ncpu.cfs_period_us 100000\nmemory.limit_in_bytes 9223372036854771712\n";
        assert_eq!(
            parse_limits(v1),
            Some(Limits {
                millicpu: Some(250),
                memory: None
            })
        );
        let v2 = "cpu.max max 100000\nmemory.max 1048576\n";
        assert_eq!(
            parse_limits(v2),
            Some(Limits {
                millicpu: None,
                memory: Some(1_048_576)
            })
        );
        assert_eq!(
            parse_limits(
                "cpu.cfs_quota_us -1\ncpu.cfs_period_us 100000\nmemory.limit_in_bytes 4096"
            ),
            Some(Limits {
                millicpu: None,
                memory: Some(4096)
            })
        );
        assert_eq!(parse_limits(""), None);
    }
}
