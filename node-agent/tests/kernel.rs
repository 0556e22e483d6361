//! The executor on the machine's own kernel, in groups that the test makes: cgroup v1's cpuset hierarchy, or cgroup v2 where the controller can
//! be had. Skipped, with the reason, where groups cannot be made or there is one CPU only.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a panic is the test's failure, and a skipped test says why"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use katalyst_core::cpu_set::CpuSet;
use katalyst_node_agent::{
    cgroup::{Controller, Hierarchy, PodUid, Version},
    hold::{Execution, Executor, Knob, Purpose, Records, Setting, restore_all},
    metrics::AgentMetrics,
    notices::Notices,
};

/// Groups of the test, removed at its end.
struct Groups {
    hierarchy: Hierarchy,
    base: PathBuf,
    made: Vec<PathBuf>,
    processes: Vec<Child>,
}

impl Drop for Groups {
    fn drop(&mut self) {
        for process in &mut self.processes {
            process.kill().ok();
            process.wait().ok();
        }
        for group in self.made.iter().rev() {
            fs::remove_dir(self.dir(group)).ok();
        }
    }
}

impl Groups {
    /// `None` where this machine does not let us; says why.
    fn new() -> Option<Self> {
        let hierarchy = Hierarchy::detect(Path::new("/"))
            .map_err(|error| eprintln!("skipped: {error}"))
            .ok()?;
        if !hierarchy.has_cpuset() {
            eprintln!("skipped: no cpuset controller");
            return None;
        }
        let mut groups = Self {
            hierarchy,
            base: PathBuf::from(format!("katalyst-executor-{}", std::process::id())),
            made: Vec::new(),
            processes: Vec::new(),
        };
        let base = groups.base.clone();
        let made = groups.make(&base);
        match made.and_then(|()| groups.make(&base.join("pod"))) {
            Ok(()) => Some(groups),
            Err(error) => {
                eprintln!("skipped: no group can be made: {error}");
                None
            }
        }
    }

    fn dir(&self, group: &Path) -> PathBuf {
        self.hierarchy.dir(Controller::Cpuset, group)
    }

    /// A group as the container runtime leaves it.
    fn make(&mut self, group: &Path) -> std::io::Result<()> {
        let dir = self.dir(group);
        let above = dir.parent().unwrap();
        if self.hierarchy.version() == Version::V2 {
            fs::write(above.join("cgroup.subtree_control"), "+cpuset")?;
        }
        fs::create_dir(&dir)?;
        self.made.push(group.to_owned());
        if self.hierarchy.version() == Version::V1 {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(dir.join(file), fs::read_to_string(above.join(file))?)?;
            }
        }
        Ok(())
    }

    /// A process in the group; returns its number.
    fn enter(&mut self, group: &Path) -> u32 {
        let process = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = process.id();
        self.processes.push(process);
        fs::write(self.dir(group).join("cgroup.procs"), pid.to_string()).unwrap();
        pid
    }

    fn cpus(&self, group: &Path) -> String {
        let text = fs::read_to_string(self.dir(group).join("cpuset.cpus")).unwrap();
        text.trim().to_owned()
    }
}

fn allowed(pid: u32) -> CpuSet {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap();
    CpuSet::parse(line).unwrap()
}

#[test]
fn a_pod_moves_and_comes_back() {
    let Some(mut groups) = Groups::new() else {
        return;
    };
    let base = groups.base.clone();
    let pod = base.join("pod");
    let (first, second) = (pod.join("first"), pod.join("second"));
    groups.make(&first).unwrap();
    let pid = groups.enter(&first);
    let all = allowed(pid);
    let (Some(one), Some(other)) = (all.iter().next(), all.iter().nth(1)) else {
        eprintln!("skipped: one CPU only");
        return;
    };
    let before = groups.cpus(&pod);

    let state = tempfile::tempdir().unwrap();
    let metrics = AgentMetrics::register(&katalyst_runtime::Metrics::new("test", "0"));
    let mut executor = Executor::new(
        state.path().to_owned(),
        false,
        Notices::new(),
        metrics.clone(),
    );
    let uid = PodUid::new("pod");
    let place = |groups: &Groups, executor: &mut Executor, cpu: u32| -> Execution {
        let settings = [&pod, &first, &second]
            .into_iter()
            .filter(|group| groups.dir(group).exists())
            .map(|group| Setting::value(&uid, group, Knob::CpusetCpus, cpu.to_string()))
            .collect();
        executor.execute(&groups.hierarchy, Purpose::Pools, settings)
    };

    for cpu in [one, other, one] {
        let execution = place(&groups, &mut executor, cpu);
        assert!(execution.problems.is_empty(), "{:?}", execution.problems);
        assert_eq!(allowed(pid), CpuSet::from_iter([cpu]));
        assert_eq!(groups.cpus(&pod), cpu.to_string());
        let again = place(&groups, &mut executor, cpu);
        assert!(again.changes.is_empty(), "{:?}", again.changes);
    }

    // A container that comes later starts where its pod is.
    groups.make(&second).unwrap();
    let late = groups.enter(&second);
    assert_eq!(allowed(late), CpuSet::from_iter([one]));

    // What the machine does not have is refused, by the executor on version 1 and by the kernel on version 2.
    let nowhere = place(&groups, &mut executor, 8_000);
    assert!(!nowhere.problems.is_empty());
    assert_eq!(allowed(pid), CpuSet::from_iter([one]));

    drop(executor);
    let (mut records, _) = Records::load(state.path()).unwrap();
    let restored = restore_all(&groups.hierarchy, &mut records).unwrap();
    assert!(restored.problems.is_empty(), "{:?}", restored.problems);
    for pid in [pid, late] {
        assert_eq!(allowed(pid), all);
    }
    if groups.hierarchy.version() == Version::V1 {
        for group in [&pod, &first, &second] {
            assert_eq!(groups.cpus(group), before, "{}", group.display());
        }
    }
}
