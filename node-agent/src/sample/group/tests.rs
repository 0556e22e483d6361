use std::fs;

use super::*;

const MIB: u64 = 1 << 20;
const SECOND: u64 = 1_000_000_000;

struct Tree {
    root: tempfile::TempDir,
    hierarchy: Hierarchy,
    buffer: Buffer,
    descriptors: Descriptors,
}

impl Tree {
    fn new(version: Version) -> Self {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("sys/fs/cgroup");
        let files: &[(&str, &str)] = match version {
            Version::V1 => &[
                ("cpu/cpu.shares", "1024"),
                ("cpuacct/cpuacct.usage", "0"),
                ("memory/memory.usage_in_bytes", "0"),
                (
                    "cpu/g/cpu.stat",
                    "nr_periods 4\nnr_throttled 1\nthrottled_time 9\n",
                ),
                ("cpuacct/g/cpuacct.usage", "77\n"),
            ],
            Version::V2 => &[
                ("cgroup.controllers", ""),
                (
                    "g/cpu.stat",
                    "usage_usec 7\nnr_periods 4\nnr_throttled 1\nthrottled_usec 2\n",
                ),
            ],
        };
        for (file, text) in files {
            let path = base.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let tree = Self {
            hierarchy: Hierarchy::detect(root.path()).unwrap(),
            root,
            buffer: Buffer::default(),
            descriptors: Descriptors::new(100),
        };
        tree.memory(100 * MIB, 30 * MIB);
        tree
    }

    fn memory(&self, charged: u64, inactive: u64) {
        let dir = self.hierarchy.dir(Controller::Memory, Path::new("g"));
        fs::create_dir_all(&dir).unwrap();
        let prefix = if self.hierarchy.version() == Version::V1 {
            "total_"
        } else {
            ""
        };
        fs::write(dir.join(charge_file(&self.hierarchy)), charged.to_string()).unwrap();
        fs::write(
            dir.join("memory.stat"),
            format!("{prefix}inactive_file {inactive}\n{prefix}active_file {MIB}\n"),
        )
        .unwrap();
    }

    fn open(&mut self, pace: Pace) -> Group {
        Group::open(
            &self.hierarchy,
            Path::new("g"),
            pace,
            0,
            0,
            &mut self.descriptors,
        )
        .unwrap()
    }

    fn sample(&mut self, group: &mut Group, seconds: u64) -> GroupUsage {
        group
            .sample(seconds * SECOND, &self.hierarchy, &mut self.buffer)
            .unwrap()
    }
}

#[test]
fn both_versions_give_the_same_as_one_reading_of_everything() {
    for version in [Version::V1, Version::V2] {
        let mut tree = Tree::new(version);
        let whole = crate::cgroup::read_group(&tree.hierarchy, Path::new("g")).unwrap();
        let mut held = tree.open(Pace::Held);
        assert_eq!(tree.sample(&mut held, 0), whole, "{version}");
        let mut reported = tree.open(Pace::Reported);
        let sampled = tree.sample(&mut reported, 0);
        assert_eq!(
            (sampled.cpu_nanos, sampled.memory),
            (whole.cpu_nanos, whole.memory),
            "{version}"
        );
    }
}

#[test]
fn a_held_pods_memory_follows_its_charge() {
    for version in [Version::V1, Version::V2] {
        let mut tree = Tree::new(version);
        let mut group = tree.open(Pace::Held);
        let working_set = |tree: &mut Tree, group: &mut Group, seconds| {
            tree.sample(group, seconds).memory.unwrap().working_set / MIB
        };
        assert_eq!(working_set(&mut tree, &mut group, 0), 70);
        // The charge grows: read again, and so is what it is made of.
        tree.memory(120 * MIB, 10 * MIB);
        assert_eq!(working_set(&mut tree, &mut group, 1), 110);
        // It does not move, but what it is made of does: seen within ten seconds.
        tree.memory(120 * MIB, 50 * MIB);
        assert_eq!(working_set(&mut tree, &mut group, 2), 110);
        assert_eq!(working_set(&mut tree, &mut group, 12), 70);
    }
}

#[test]
fn other_pods_memory_is_read_seldom() {
    let mut tree = Tree::new(Version::V2);
    let mut group = tree.open(Pace::Reported);
    assert_eq!(tree.sample(&mut group, 0).memory.unwrap().usage, 100 * MIB);
    tree.memory(500 * MIB, 0);
    assert_eq!(tree.sample(&mut group, 9).memory.unwrap().usage, 100 * MIB);
    assert_eq!(tree.sample(&mut group, 10).memory.unwrap().usage, 500 * MIB);
    tree.memory(600 * MIB, 0);
    assert_eq!(tree.sample(&mut group, 19).memory.unwrap().usage, 500 * MIB);
    assert_eq!(tree.sample(&mut group, 20).memory.unwrap().usage, 600 * MIB);
}

#[test]
fn slow_readings_are_spread() {
    let tree = Tree::new(Version::V2);
    let mut descriptors = Descriptors::new(100);
    let mut due: Vec<u64> = (0..10)
        .map(|order| {
            let mut group = Group::open(
                &tree.hierarchy,
                Path::new("g"),
                Pace::Reported,
                order,
                100 * SECOND,
                &mut descriptors,
            )
            .unwrap();
            group
                .sample(100 * SECOND, &tree.hierarchy, &mut Buffer::default())
                .unwrap();
            group.due_nanos / SECOND
        })
        .collect();
    due.sort_unstable();
    due.dedup();
    assert_eq!(due.len(), 10, "{due:?}");
    assert!(due.iter().all(|due| (101..=110).contains(due)), "{due:?}");
}

#[test]
fn a_group_that_is_gone_says_so() {
    let mut tree = Tree::new(Version::V2);
    let mut group = tree.open(Pace::Reported);
    let dir = tree.root.path().join("sys/fs/cgroup/g");
    fs::remove_dir_all(dir).unwrap();
    // A plain file lives on while it is open; the kernel's does not. Memory is not kept open here and is seen to be gone.
    assert_eq!(tree.sample(&mut group, 0).memory, None);
}
