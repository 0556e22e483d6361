//! A node made of plain files: `/proc`, `/sys/fs/cgroup` and kubelet's tree, with counters that advance as told.

#![allow(dead_code, reason = "each test file uses a part of the fixture")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a fixture of tests: a panic is the test's failure"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use katalyst_core::{hold::CeilingParams, qos::Level, reclaimed::Reclaimed};
use katalyst_node_agent::{
    cgroup::{Hierarchy, PodUid},
    metrics::AgentMetrics,
    notices::Notices,
    pods::{Asks, PodIndex, PodInfo},
    reflex::{Peaks, Reflex, ReflexConfig, Snapshot, Turn},
    sample::MachineUsage,
};

pub(crate) const MIB: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    V1Cgroupfs,
    V1Systemd,
    V2Cgroupfs,
    V2Systemd,
}

impl Layout {
    pub(crate) const ALL: [Self; 4] = [
        Self::V1Cgroupfs,
        Self::V1Systemd,
        Self::V2Cgroupfs,
        Self::V2Systemd,
    ];

    pub(crate) fn version(self) -> u8 {
        match self {
            Self::V1Cgroupfs | Self::V1Systemd => 1,
            Self::V2Cgroupfs | Self::V2Systemd => 2,
        }
    }

    /// kubelet's tree, with a cgroup root of its own for two of them.
    fn tree(self) -> &'static str {
        match self {
            Self::V1Cgroupfs => "some-root/kubepods",
            Self::V2Cgroupfs => "kubepods",
            Self::V1Systemd => "kubelet.slice/kubelet-kubepods.slice",
            Self::V2Systemd => "kubepods.slice",
        }
    }

    fn prefix(self) -> Option<&'static str> {
        match self {
            Self::V1Cgroupfs | Self::V2Cgroupfs => None,
            Self::V1Systemd => Some("kubelet-kubepods"),
            Self::V2Systemd => Some("kubepods"),
        }
    }

    fn class(self, class: &str) -> String {
        match self.prefix() {
            None => format!("{}/{class}", self.tree()),
            Some(prefix) => format!("{}/{prefix}-{class}.slice", self.tree()),
        }
    }

    fn pod(self, class: &str, uid: &str) -> String {
        match self.prefix() {
            None => format!("{}/pod{uid}", self.class(class)),
            Some(prefix) => format!(
                "{}/{prefix}-{class}-pod{}.slice",
                self.class(class),
                uid.replace('-', "_")
            ),
        }
    }
}

pub(crate) struct Node {
    pub(crate) layout: Layout,
    pub(crate) index: PodIndex,
    pub(crate) notices: Notices,
    root: tempfile::TempDir,
    millis: u64,
    busy_millis: u64,
    /// Class and CPU of each group.
    groups: BTreeMap<String, (&'static str, u64)>,
    classes: BTreeMap<&'static str, u64>,
    /// Groups have sets of CPUs and memory nodes, as the kernel and the runtime leave them.
    cpusets: bool,
}

impl Node {
    pub(crate) fn new(layout: Layout) -> Self {
        let mut index = PodIndex::default();
        index.synced = true;
        let node = Self {
            layout,
            index,
            notices: Notices::new(),
            root: tempfile::tempdir().unwrap(),
            millis: 10_000,
            busy_millis: 0,
            groups: BTreeMap::new(),
            classes: BTreeMap::from([("besteffort", 0), ("burstable", 0)]),
            cpusets: false,
        };
        match layout.version() {
            1 => {
                node.write("sys/fs/cgroup/cpu/cpu.shares", "1024\n");
                node.write("sys/fs/cgroup/cpuacct/cpuacct.usage", "0\n");
                node.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n");
                fs::create_dir_all(node.root().join("sys/fs/cgroup/cpu,cpuacct")).unwrap();
            }
            _ => node.write("sys/fs/cgroup/cgroup.controllers", "cpu memory\n"),
        }
        node.write(
            "proc/meminfo",
            "MemTotal: 8388608 kB\nMemAvailable: 6291456 kB\n",
        );
        node.write(
            "proc/pressure/cpu",
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        );
        node.write_counters();
        node
    }

    /// A machine of four CPUs and one memory node whose groups have cpusets.
    pub(crate) fn with_cpusets(layout: Layout) -> Self {
        Self::with_mems(layout, "0")
    }

    /// The same with two memory nodes, of two CPUs each.
    pub(crate) fn with_memory_nodes(layout: Layout) -> Self {
        let node = Self::with_mems(layout, "0-1");
        node.two_nodes();
        node
    }

    fn with_mems(layout: Layout, mems: &str) -> Self {
        let mut node = Self::new(layout);
        node.cpusets = true;
        node.write("sys/devices/system/cpu/online", "0-3\n");
        match layout.version() {
            1 => node.write_sets("", "0-3", mems),
            _ => node.write("sys/fs/cgroup/cgroup.controllers", "cpu cpuset memory\n"),
        }
        let mut path = PathBuf::new();
        for part in Path::new(layout.tree()).components() {
            path.push(part);
            node.inherit_sets(path.to_str().unwrap());
        }
        for class in ["besteffort", "burstable"] {
            node.inherit_sets(&layout.class(class));
        }
        node
    }

    /// A container's group, as runc leaves it.
    pub(crate) fn container(&self, uid: &str, id: &str) {
        let group = format!("{}/{id}", self.group_of(uid));
        self.inherit_sets(&group);
    }

    pub(crate) fn group_of(&self, uid: &str) -> String {
        self.layout.pod(self.groups[uid].0, uid)
    }

    /// The CPUs that a group's file names.
    pub(crate) fn cpus(&self, group: &str) -> String {
        let path = format!("{}/cpuset.cpus", self.dir("cpuset", group));
        let text = fs::read_to_string(self.root().join(path)).unwrap();
        text.trim().to_owned()
    }

    /// The memory nodes that a group's file names.
    pub(crate) fn mems(&self, group: &str) -> String {
        let path = format!("{}/cpuset.mems", self.dir("cpuset", group));
        let text = fs::read_to_string(self.root().join(path)).unwrap();
        text.trim().to_owned()
    }

    pub(crate) fn set_cpus(&self, group: &str, cpus: &str) {
        self.write(&format!("{}/cpuset.cpus", self.dir("cpuset", group)), cpus);
    }

    /// Version 1 copies the parent's sets into a new group, version 2 leaves them empty.
    fn inherit_sets(&self, group: &str) {
        if self.layout.version() == 2 {
            return self.write_sets(group, "", "");
        }
        let parent = self.dir(
            "cpuset",
            Path::new(group).parent().unwrap().to_str().unwrap(),
        );
        let read = |file: &str| fs::read_to_string(self.root().join(&parent).join(file)).unwrap();
        self.write_sets(group, &read("cpuset.cpus"), &read("cpuset.mems"));
        let migrate = format!("{}/cpuset.memory_migrate", self.dir("cpuset", group));
        self.write(&migrate, "0\n");
    }

    fn write_sets(&self, group: &str, cpus: &str, mems: &str) {
        let dir = self.dir("cpuset", group);
        self.write(&format!("{dir}/cpuset.cpus"), cpus);
        self.write(&format!("{dir}/cpuset.mems"), mems);
    }

    pub(crate) fn write_file(&self, file: &str, text: &str) {
        self.write(file, text);
    }

    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn {
            now_nanos: self.millis * 1_000_000,
            index: &self.index,
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.root().join("state")
    }

    pub(crate) fn hierarchy(&self) -> Hierarchy {
        Hierarchy::detect(self.root()).unwrap()
    }

    pub(crate) fn reflex(&self) -> Reflex {
        self.reflex_with(|_| {})
    }

    pub(crate) fn reflex_with(&self, change: impl FnOnce(&mut ReflexConfig)) -> Reflex {
        let mut config = ReflexConfig {
            root: self.root().to_owned(),
            kubepods: None,
            state_dir: self.state_dir(),
            machine_usage: MachineUsage::Proc,
            cpu_capacity: None,
            memory_capacity: None,
            ceiling: CeilingParams::default(),
            clock: || 0,
            interval: Duration::from_secs(1),
            idle: true,
            dry_run: false,
        };
        change(&mut config);
        let registry = katalyst_runtime::Metrics::new("test", "0");
        let metrics = AgentMetrics::register(&registry);
        Reflex::new(
            config,
            Peaks::new(10.0, 300.0, 1.0),
            self.notices.clone(),
            metrics,
        )
    }

    pub(crate) fn tick(&self, reflex: &mut Reflex) -> Option<Snapshot> {
        reflex.tick(self.millis * 1_000_000, &self.index)
    }

    pub(crate) fn look(&self, reflex: &mut Reflex) -> bool {
        reflex.look(self.millis * 1_000_000, &self.index)
    }

    pub(crate) fn glance(&self, reflex: &mut Reflex) -> bool {
        reflex.glance(self.millis * 1_000_000, &self.index)
    }

    /// Like `run`, with something outside of pods that uses `elsewhere` thousandths of a CPU.
    pub(crate) fn run_elsewhere(&mut self, millis: u64, elsewhere: u64, used: &[(&str, u64)]) {
        self.busy_millis += elsewhere * millis / 1_000;
        self.run(millis, used);
    }

    /// A best-effort pod with a group, known to the API server.
    pub(crate) fn pod(&mut self, uid: &str, level: Level, millicpu: u64, bytes: u64) {
        self.know(uid, level, millicpu, bytes);
        self.group(uid, "besteffort");
    }

    /// A burstable pod without annotations.
    pub(crate) fn service(&mut self, uid: &str) {
        self.know(uid, Level::Shared, 0, 0);
        self.group(uid, "burstable");
    }

    /// What the API server says of a pod.
    pub(crate) fn know(&mut self, uid: &str, level: Level, millicpu: u64, bytes: u64) {
        self.index.insert(PodInfo {
            uid: PodUid::new(uid),
            object_uid: uid.to_owned(),
            namespace: "test".to_owned(),
            name: uid.to_owned(),
            level,
            requests: Reclaimed::new(millicpu, bytes),
            asks: Asks::default(),
            problems: Vec::new(),
            priority: 0,
            started: None,
            terminating: false,
            finished: false,
            protected: false,
        });
    }

    pub(crate) fn group(&mut self, uid: &str, class: &'static str) {
        self.groups.insert(uid.to_owned(), (class, 0));
        if self.cpusets {
            self.inherit_sets(&self.layout.pod(class, uid));
        }
        for (file, text) in self.fresh_files() {
            self.set_knob(uid, &file, &text);
        }
        let memory = self.dir("memory", &self.layout.pod(class, uid));
        let usage = if self.layout.version() == 1 {
            "memory.usage_in_bytes"
        } else {
            "memory.current"
        };
        self.write(&format!("{memory}/{usage}"), "10485760\n");
        self.write(
            &format!("{memory}/memory.stat"),
            "total_inactive_file 1048576\ninactive_file 1048576\n",
        );
        self.write_counters();
    }

    /// Makes it a machine of two NUMA nodes with two CPUs each; the second has `free` KiB more.
    pub(crate) fn two_nodes(&self) {
        let base = "sys/devices/system/node";
        self.write(&format!("{base}/online"), "0-1\n");
        for (id, cpus, free) in [(0, "0-1", 1_048_576), (1, "2-3", 3_145_728)] {
            let dir = format!("{base}/node{id}");
            self.write(&format!("{dir}/cpulist"), &format!("{cpus}\n"));
            self.write(&format!("{dir}/distance"), "10 21\n");
            self.write(
                &format!("{dir}/meminfo"),
                &format!("Node {id} MemTotal: 4194304 kB\nNode {id} MemFree: {free} kB\n"),
            );
        }
    }

    /// How much of a node's 4 GiB is free, MiB.
    pub(crate) fn free_on_node(&self, id: u32, mib: u64) {
        let file = format!("sys/devices/system/node/node{id}/meminfo");
        let text = format!(
            "Node {id} MemTotal: 4194304 kB\nNode {id} MemFree: {} kB\n",
            mib << 10
        );
        self.write(&file, &text);
    }

    /// Where a pod's memory is: MiB on each of two nodes.
    pub(crate) fn memory_on_nodes(&self, uid: &str, mib: [u64; 2]) {
        let [first, second] = if self.layout.version() == 1 {
            mib.map(|mib| (mib << 20) / rustix::param::page_size() as u64)
        } else {
            mib.map(|mib| mib << 20)
        };
        let text = if self.layout.version() == 1 {
            format!(
                "total={0} N0={first} N1={second}\nanon={0} N0={first} N1={second}\nfile=0 N0=0 N1=0\n",
                first + second
            )
        } else {
            format!("anon N0={first} N1={second}\nfile N0=0 N1=0\n")
        };
        self.set_knob(uid, "memory.numa_stat", &text);
    }

    /// What kubelet and the kernel leave in a best-effort pod's files.
    pub(crate) fn fresh_files(&self) -> BTreeMap<String, String> {
        let files: &[(&str, &str)] = match self.layout.version() {
            1 => &[
                ("cpu.cfs_period_us", "100000"),
                ("cpu.cfs_quota_us", "-1"),
                ("cpu.idle", "0"),
                ("memory.limit_in_bytes", "-1"),
            ],
            _ => &[
                ("cpu.max", "max 100000"),
                ("cpu.idle", "0"),
                ("memory.high", "max"),
                ("memory.max", "max"),
            ],
        };
        files
            .iter()
            .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
            .collect()
    }

    /// The limits in a pod's files.
    pub(crate) fn files(&self, uid: &str) -> BTreeMap<String, String> {
        self.fresh_files()
            .into_keys()
            .map(|file| (file.clone(), self.knob(uid, &file)))
            .collect()
    }

    pub(crate) fn knob(&self, uid: &str, file: &str) -> String {
        fs::read_to_string(self.root().join(self.knob_path(uid, file)))
            .unwrap()
            .trim()
            .to_owned()
    }

    pub(crate) fn set_knob(&self, uid: &str, file: &str, text: &str) {
        self.write(&self.knob_path(uid, file), text);
    }

    fn knob_path(&self, uid: &str, file: &str) -> String {
        let controller = if file.starts_with("memory") {
            "memory"
        } else {
            "cpu"
        };
        format!(
            "{}/{file}",
            self.dir(controller, &self.layout.pod(self.groups[uid].0, uid))
        )
    }

    /// Ends a pod: its group goes, the API server still knows it.
    pub(crate) fn remove(&mut self, uid: &str) {
        let (class, _) = self.groups.remove(uid).unwrap();
        for controller in ["cpu", "cpuacct", "memory", "cpuset"] {
            let dir = self
                .root()
                .join(self.dir(controller, &self.layout.pod(class, uid)));
            if dir.exists() {
                fs::remove_dir_all(dir).unwrap();
            }
        }
    }

    /// kubelet starts anew with another cgroup root.
    pub(crate) fn move_tree(&mut self, layout: Layout) {
        assert_eq!(self.layout.version(), layout.version());
        for controller in ["cpu", "cpuacct", "memory"] {
            let dir = self.root().join(self.dir(controller, self.layout.tree()));
            if dir.exists() {
                fs::remove_dir_all(dir).unwrap();
            }
        }
        self.layout = layout;
        for (uid, (class, _)) in self.groups.clone() {
            self.group(&uid, class);
        }
    }

    /// Lets time pass in which pods use that many thousandths of a CPU, and everything else a tenth of a CPU when a service runs.
    pub(crate) fn run(&mut self, millis: u64, used: &[(&str, u64)]) {
        self.millis += millis;
        for (uid, millicpu) in used {
            let nanos = millicpu * millis * 1_000;
            let (class, total) = self.groups.get_mut(*uid).unwrap();
            *total += nanos;
            *self.classes.get_mut(class).unwrap() += nanos;
            self.busy_millis += millicpu * millis / 1_000;
        }
        if used
            .iter()
            .any(|(uid, _)| self.groups[*uid].0 == "burstable")
        {
            self.busy_millis += millis / 10;
        }
        self.write_counters();
    }

    fn write_counters(&self) {
        let busy = self.busy_millis / 10;
        // Everything runs on the first CPU.
        let cpus = [busy, 0, 0, 0]
            .iter()
            .enumerate()
            .map(|(cpu, busy)| format!("cpu{cpu} {busy} 0 0 0 0 0 0 0 0 0\n"))
            .collect::<Vec<_>>()
            .concat();
        self.write(
            "proc/stat",
            &format!("cpu  {busy} 0 0 1000 0 0 0 0 0 0\n{cpus}"),
        );
        for (uid, (class, nanos)) in &self.groups {
            self.write_group(&self.layout.pod(class, uid), *nanos);
        }
        for (class, nanos) in &self.classes {
            let group = self.layout.class(class);
            self.write_group(&group, *nanos);
            if self.layout.version() == 1 {
                self.write(
                    &format!("{}/cpuacct.usage_percpu", self.dir("cpuacct", &group)),
                    &format!("{nanos} 0 0 0\n"),
                );
            }
        }
        self.write_group(self.layout.tree(), self.classes.values().sum());
        self.write(
            &format!("{}/cpu.idle", self.dir("cpu", self.layout.tree())),
            "0\n",
        );
    }

    fn write_group(&self, relative: &str, nanos: u64) {
        if self.layout.version() == 1 {
            self.write(
                &format!("{}/cpuacct.usage", self.dir("cpuacct", relative)),
                &format!("{nanos}\n"),
            );
            self.write(
                &format!("{}/cpu.stat", self.dir("cpu", relative)),
                "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n",
            );
        } else {
            self.write(
                &format!("{}/cpu.stat", self.dir("cpu", relative)),
                &format!("usage_usec {}\n", nanos / 1_000),
            );
        }
    }

    fn dir(&self, controller: &str, relative: &str) -> String {
        match self.layout.version() {
            1 => format!("sys/fs/cgroup/{controller}/{relative}"),
            _ => format!("sys/fs/cgroup/{relative}"),
        }
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.root().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}
