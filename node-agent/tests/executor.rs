//! The executor against trees of files that a checker guards with the kernel's rules: whatever plans come, and wherever the agent dies,
//! every write is one that the kernel takes, no group with processes is without a CPU or a memory node, and a restore gives back what was there.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a fixture of tests: a panic is the test's failure"
)]

use std::{
    collections::BTreeMap,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use katalyst_core::cpu_set::CpuSet;
use katalyst_node_agent::{
    cgroup::{Hierarchy, PodUid},
    hold::{Change, Executor, Knob, Purpose, Records, Setting, restore_all},
    metrics::AgentMetrics,
    notices::Notices,
};
use proptest::prelude::*;

/// CPUs of the machine.
const ALL: &str = "0-7";
/// Its memory nodes.
const ALL_MEMS: &str = "0-3";
/// The sets of a group.
const SETS: [Knob; 2] = [Knob::CpusetCpus, Knob::CpusetMems];
const PODS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// A tree of one class, its pods, their containers.
struct Tree {
    version: Version,
    root: tempfile::TempDir,
}

fn pod_path(pod: usize) -> PathBuf {
    PathBuf::from(format!("kubepods/burstable/pod{pod}"))
}

fn uid(pod: usize) -> PodUid {
    PodUid::new(pod.to_string())
}

impl Tree {
    fn new(version: Version) -> Self {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("sys/fs/cgroup");
        fs::create_dir_all(&base).unwrap();
        match version {
            Version::V1 => {
                for (dir, mark) in [
                    ("cpu", "cpu.shares"),
                    ("cpuacct", "cpuacct.usage"),
                    ("memory", "memory.usage_in_bytes"),
                    ("cpuset", "cpuset.cpus"),
                ] {
                    fs::create_dir_all(base.join(dir)).unwrap();
                    fs::write(base.join(dir).join(mark), ALL).unwrap();
                }
                fs::write(base.join("cpuset/cpuset.mems"), ALL_MEMS).unwrap();
            }
            Version::V2 => {
                fs::write(base.join("cgroup.controllers"), "cpuset cpu memory\n").unwrap();
            }
        }
        let tree = Self { version, root };
        tree.make(Path::new("kubepods"));
        tree.make(Path::new("kubepods/burstable"));
        tree
    }

    fn hierarchy(&self) -> Hierarchy {
        Hierarchy::detect(self.root.path()).unwrap()
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn file(&self, group: &Path, knob: Knob) -> PathBuf {
        let base = self.root.path().join("sys/fs/cgroup");
        let base = match self.version {
            Version::V1 => base.join("cpuset"),
            Version::V2 => base,
        };
        base.join(group).join(knob.file())
    }

    fn knobs(&self) -> &'static [Knob] {
        match self.version {
            Version::V1 => &[Knob::CpusetCpus, Knob::CpusetMems, Knob::MemoryMigrate],
            Version::V2 => &SETS,
        }
    }

    /// What a group holds that nobody changed.
    fn free(&self, knob: Knob) -> CpuSet {
        CpuSet::parse(match (self.version, knob) {
            (_, Knob::MemoryMigrate) => "0",
            (Version::V2, _) => "",
            (Version::V1, Knob::CpusetMems) => ALL_MEMS,
            (Version::V1, _) => ALL,
        })
        .unwrap()
    }

    /// A new group as runc leaves it: version 1 copies the parent's sets, version 2 leaves them empty.
    fn make(&self, group: &Path) {
        for knob in self.knobs() {
            let file = self.file(group, *knob);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            let text = match (self.version, knob) {
                (_, Knob::MemoryMigrate) => "0".to_owned(),
                (Version::V1, _) => {
                    fs::read_to_string(self.file(group.parent().unwrap(), *knob)).unwrap()
                }
                (Version::V2, _) => String::new(),
            };
            fs::write(file, text).unwrap();
        }
    }

    fn read(&self, group: &Path, knob: Knob) -> CpuSet {
        CpuSet::parse(&fs::read_to_string(self.file(group, knob)).unwrap()).unwrap()
    }

    fn values(&self) -> BTreeMap<(PathBuf, Knob), CpuSet> {
        let mut values = BTreeMap::new();
        for group in self.groups() {
            for knob in self.knobs() {
                values.insert((group.clone(), *knob), self.read(&group, *knob));
            }
        }
        values
    }

    fn groups(&self) -> Vec<PathBuf> {
        let mut groups = Vec::new();
        for pod in (0..PODS).map(pod_path) {
            let dir = self
                .file(&pod, Knob::CpusetCpus)
                .parent()
                .unwrap()
                .to_owned();
            let Ok(entries) = fs::read_dir(dir) else {
                continue;
            };
            groups.push(pod.clone());
            for entry in entries.map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    groups.push(pod.join(entry.file_name()));
                }
            }
        }
        groups
    }

    /// What a group's processes may use, by the rules of `kernel/cgroup/cpuset.c`.
    fn effective(&self, group: &Path, knob: Knob) -> CpuSet {
        let own = self.read(group, knob);
        match (self.version, group.parent()) {
            (Version::V1, _) => own,
            (Version::V2, Some(parent)) if group != Path::new("kubepods") => {
                let above = self.effective(parent, knob);
                let both = own.intersection(&above);
                if both.is_empty() { above } else { both }
            }
            (Version::V2, _) => {
                let all = if knob == Knob::CpusetMems {
                    ALL_MEMS
                } else {
                    ALL
                };
                CpuSet::parse(all).unwrap()
            }
        }
    }

    /// What the kernel would answer to a write. `Err` holds the error's name.
    fn judge(&self, change: &Change) -> Result<(), &'static str> {
        let value = CpuSet::parse(change.to.trim()).map_err(|_| "EINVAL")?;
        if self.version == Version::V2 || !change.knob.is_set() {
            return Ok(());
        }
        if value.is_empty() {
            return Err("ENOSPC");
        }
        if !value.is_subset(&self.read(change.group.parent().unwrap(), change.knob)) {
            return Err("EACCES");
        }
        let below = self
            .groups()
            .into_iter()
            .filter(|group| group.parent() == Some(&change.group));
        for group in below {
            if !self.read(&group, change.knob).is_subset(&value) {
                return Err("EBUSY");
            }
        }
        Ok(())
    }
}

/// Bit masks of CPUs and of memory nodes.
type Wish = (Option<u8>, Option<u8>);

/// One thing that happens.
#[derive(Clone, Debug)]
enum Event {
    /// A plan: CPUs and memory nodes of each pod; `None` is no restriction. Dies before that write, if it comes to it.
    Plan(Vec<Wish>, Option<u64>),
    /// A container appears in a pod.
    Container(usize),
    /// The agent starts anew.
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    // Of eight CPUs and four memory nodes; never empty.
    let wish = (
        proptest::option::weighted(0.7, 1..=u8::MAX),
        proptest::option::weighted(0.5, 1..16_u8),
    );
    let plan = proptest::collection::vec(wish, PODS);
    let event = prop_oneof![
        4 => (plan, proptest::option::weighted(0.5, 0..16_u64)).prop_map(|(plan, dies)| Event::Plan(plan, dies)),
        2 => (0..PODS).prop_map(Event::Container),
        1 => Just(Event::Restart),
    ];
    proptest::collection::vec(event, 1..10)
}

fn set(mask: u8) -> CpuSet {
    (0..8).filter(|bit| mask & (1 << bit) != 0).collect()
}

fn executor(tree: &Tree) -> Executor {
    let metrics = AgentMetrics::register(&katalyst_runtime::Metrics::new("test", "0"));
    let mut executor = Executor::new(tree.state(), false, Notices::new(), metrics);
    executor.first_look((0..PODS).map(uid));
    executor
}

/// A plan as the pools loop would make it: every group of a pod gets the pod's sets.
fn settings(tree: &Tree, executor: &Executor, plan: &[Wish]) -> Vec<Setting> {
    let mut settings = Vec::new();
    for group in tree.groups() {
        let pod = pod_of(&group);
        let (cpus, mems) = plan[pod];
        for knob in tree.knobs() {
            let value = match knob {
                Knob::CpusetCpus => cpus.map(|mask| set(mask).to_string()),
                Knob::CpusetMems => mems.map(|mask| set(mask).to_string()),
                _ => mems.map(|_| "1".to_owned()),
            };
            let ours =
                executor.records().old(&group, *knob).is_some() || executor.is_untrusted(&uid(pod));
            settings.extend(match value {
                Some(value) => Some(Setting::value(&uid(pod), &group, *knob, value)),
                None => ours.then(|| Setting::old(&uid(pod), &group, *knob)),
            });
        }
    }
    settings
}

fn pod_of(group: &Path) -> usize {
    (0..PODS)
        .find(|pod| group.starts_with(pod_path(*pod)))
        .unwrap()
}

/// Guards every write, and dies before write number `dies`.
fn guard(
    executor: &mut Executor,
    tree: &Arc<Tree>,
    dies: Option<u64>,
    wrong: &Arc<parking_lot::Mutex<Vec<String>>>,
) {
    let (tree, wrong, count) = (Arc::clone(tree), Arc::clone(wrong), AtomicU64::new(0));
    executor.set_fault_point(Box::new(move |change| {
        if Some(count.fetch_add(1, Ordering::Relaxed)) == dies {
            return ControlFlow::Break(());
        }
        if let Err(error) = tree.judge(change) {
            wrong.lock().push(format!("{change:?}: {error}"));
        }
        for group in tree.groups() {
            for knob in SETS {
                if tree.effective(&group, knob).is_empty() {
                    wrong
                        .lock()
                        .push(format!("{}/{} is empty", group.display(), knob.file()));
                }
            }
        }
        ControlFlow::Continue(())
    }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_plans_any_crash_then_restore(
        version in prop_oneof![Just(Version::V1), Just(Version::V2)],
        containers in proptest::collection::vec(0..3_usize, PODS),
        narrow in proptest::option::of((1..=u8::MAX, 1..16_u8)),
        loses_records in any::<bool>(),
        events in events(),
    ) {
        let tree = Arc::new(Tree::new(version));
        for (pod, containers) in containers.iter().enumerate() {
            tree.make(&pod_path(pod));
            for container in 0..*containers {
                tree.make(&pod_path(pod).join(format!("c{container}")));
            }
        }
        // One container that somebody else gave CPUs and memory nodes of its own; only the records can know of it.
        if let (Some((cpus, mems)), false) = (narrow, loses_records)
            && containers[0] > 0
        {
            for (knob, mask) in SETS.into_iter().zip([cpus, mems]) {
                let file = tree.file(&pod_path(0).join("c0"), knob);
                fs::write(file, set(mask).to_string()).unwrap();
            }
        }
        let mut original = tree.values();
        let wrong = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let mut agent = executor(&tree);
        let mut made = 0;
        // Records that were lost are made anew by the next run.
        let last = events.iter().rev().find_map(|event| match event {
            Event::Plan(plan, _) => Some(plan.clone()),
            Event::Container(_) | Event::Restart => None,
        });
        let last = Event::Plan(last.unwrap_or_else(|| vec![(None, None); PODS]), None);
        for event in events.into_iter().chain(loses_records.then_some(last)) {
            match event {
                Event::Container(pod) => {
                    made += 1;
                    let group = pod_path(pod).join(format!("later{made}"));
                    tree.make(&group);
                    for knob in tree.knobs() {
                        original.insert((group.clone(), *knob), tree.free(*knob));
                    }
                }
                Event::Restart => {
                    if loses_records && tree.state().exists() {
                        fs::remove_dir_all(tree.state()).unwrap();
                    }
                    agent = executor(&tree);
                }
                Event::Plan(plan, dies) => {
                    guard(&mut agent, &tree, dies, &wrong);
                    let wanted = settings(&tree, &agent, &plan);
                    let execution = agent.execute(&tree.hierarchy(), Purpose::Pools, wanted);
                    prop_assert!(execution.problems.is_empty(), "{:?}", execution.problems);
                    let died = dies.is_some_and(|dies| (execution.changes.len() as u64) > dies);
                    if died {
                        // What a crash left is mended by the next run of the same plan.
                        agent = executor(&tree);
                        guard(&mut agent, &tree, None, &wrong);
                        let wanted = settings(&tree, &agent, &plan);
                        let execution = agent.execute(&tree.hierarchy(), Purpose::Pools, wanted);
                        prop_assert!(execution.problems.is_empty(), "{:?}", execution.problems);
                    }
                    for group in tree.groups() {
                        let (cpus, mems) = plan[pod_of(&group)];
                        for (knob, mask) in SETS.into_iter().zip([cpus, mems]) {
                            if let Some(mask) = mask {
                                prop_assert_eq!(tree.effective(&group, knob), set(mask), "{} of {}", knob.file(), group.display());
                            }
                        }
                    }
                    // The same again costs no write.
                    let wanted = settings(&tree, &agent, &plan);
                    let again = agent.execute(&tree.hierarchy(), Purpose::Pools, wanted);
                    prop_assert!(again.changes.is_empty(), "{:?}", again.changes);
                }
            }
        }
        drop(agent);
        prop_assert!(wrong.lock().is_empty(), "{:#?}", wrong.lock());

        let (mut records, _) = Records::load(&tree.state()).unwrap();
        let restored = restore_all(&tree.hierarchy(), &mut records).unwrap();
        prop_assert!(restored.problems.is_empty(), "{:?}", restored.problems);
        prop_assert!(records.is_empty());
        prop_assert_eq!(tree.values(), original);
    }
}
