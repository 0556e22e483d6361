//! From settings to writes: reads the kernel, keeps what differs, and says what must be on record before the first write.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::{
    apply::Problem,
    knob::Knob,
    reads::Reads,
    records::Records,
    setting::{Setting, Wanted},
};
use crate::cgroup::{Hierarchy, PodUid, file};

/// One write to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The pod.
    pub pod: PodUid,
    /// The group, relative to the mounts.
    pub group: PathBuf,
    /// The file.
    pub knob: Knob,
    /// What it holds, or will hold when the writes before this one are made.
    pub from: String,
    /// What it is to hold.
    pub to: String,
}

/// What is to be done, and what is to be noted before and after.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Old values that must be on record before the first write.
    pub remember: Vec<Remember>,
    /// The writes, in their order.
    pub changes: Vec<Change>,
    /// Files that hold their old values again once the writes are made: their records end.
    pub restored: Vec<(PathBuf, Knob)>,
    /// Files that cannot be brought to their value.
    pub problems: Vec<Problem>,
}

/// An old value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remember {
    /// The pod.
    pub pod: PodUid,
    /// The group.
    pub group: PathBuf,
    /// The file.
    pub knob: Knob,
    /// Its content before us.
    pub old: String,
}

/// Compares the settings with the kernel. `untrusted`: pods that ran before records began, so that their files may hold values of an
/// earlier run of ours.
pub(super) fn plan(
    hierarchy: &Hierarchy,
    reads: &mut Reads,
    records: &Records,
    untrusted: &BTreeSet<PodUid>,
    settings: Vec<Setting>,
) -> Plan {
    reads.begin();
    let mut planner = Planner {
        hierarchy,
        records,
        untrusted,
        plan: Plan::default(),
    };
    let mut sets: BTreeMap<Knob, Vec<Found>> = BTreeMap::new();
    for setting in settings {
        let Some(found) = planner.read(reads, setting) else {
            continue;
        };
        if found.setting.knob.is_set() {
            sets.entry(found.setting.knob).or_default().push(found);
        } else {
            planner.single(found);
        }
    }
    planner.plan.changes.sort_by_key(Change::phase);
    let later = planner
        .plan
        .changes
        .iter()
        .position(|change| change.phase() > Knob::CpusetCpus.phase("", ""))
        .unwrap_or(planner.plan.changes.len());
    let tail = planner.plan.changes.split_off(later);
    for (knob, found) in sets {
        planner.tree(knob, found);
    }
    planner.plan.changes.extend(tail);
    planner.plan
}

impl Change {
    fn phase(&self) -> u8 {
        self.knob.phase(&self.from, &self.to)
    }
}

/// A setting and what its file holds.
pub(super) struct Found {
    pub(super) setting: Setting,
    pub(super) current: String,
}

pub(super) struct Planner<'a> {
    pub(super) hierarchy: &'a Hierarchy,
    pub(super) records: &'a Records,
    pub(super) untrusted: &'a BTreeSet<PodUid>,
    pub(super) plan: Plan,
}

impl Planner<'_> {
    /// Reads the file. `None` where there is nothing to do: the group is gone, or the kernel lacks the file.
    fn read(&mut self, reads: &mut Reads, setting: Setting) -> Option<Found> {
        if setting.wanted == Wanted::Old && self.old_value(&setting).is_none() {
            return None;
        }
        let dir = self
            .hierarchy
            .dir(setting.knob.controller(), &setting.group);
        let path = dir.join(setting.knob.file());
        if let Wanted::Value(value) = &setting.wanted
            && setting.knob.is_steady()
            && reads.stands(&path, setting.knob, value)
        {
            return None;
        }
        match reads.read(&path) {
            Ok(current) => Some(Found {
                current: current.trim().to_owned(),
                setting,
            }),
            Err(error) if error.is_gone() => {
                if setting.wanted == Wanted::Old {
                    self.plan.restored.push((setting.group, setting.knob));
                } else if !setting.knob.optional() && dir.exists() {
                    self.plan.problems.push(error.into());
                }
                None
            }
            Err(error) => {
                self.plan.problems.push(error.into());
                None
            }
        }
    }

    /// What to put back: the recorded value, or, where records were lost and it may have been overwritten, the default.
    pub(super) fn old_value<'s>(&'s self, setting: &'s Setting) -> Option<&'s str> {
        self.records.old(&setting.group, setting.knob).or_else(|| {
            self.untrusted
                .contains(&setting.pod)
                .then(|| setting.default_text())
        })
    }

    fn single(&mut self, found: Found) {
        let Found { setting, current } = found;
        let knob = setting.knob;
        if self.is_being_made(&setting, &current) {
            return;
        }
        let to = match &setting.wanted {
            Wanted::Value(value) => {
                let changes = !knob.same(&current, value);
                let value = value.clone();
                let ours = self.untrusted.contains(&setting.pod);
                self.note(&setting, &current, changes, ours);
                value
            }
            Wanted::Old => {
                self.plan
                    .restored
                    .push((setting.group.clone(), setting.knob));
                knob.spelled(self.old_value(&setting).unwrap_or_default())
                    .to_owned()
            }
        };
        let hidden = setting.wanted == Wanted::Old && self.hides_weight(&setting);
        let changes = hidden || !knob.same(&current, &to);
        if setting.wanted == Wanted::Old {
            // Also what was not: this run may be cut short, and the records that it leaves are then taken for whole.
            let ours = self.untrusted.contains(&setting.pod);
            self.note(&setting, &current, changes, ours);
        }
        // A value of an earlier run whose records were lost took the other file's value with it, then.
        let took =
            self.untrusted.contains(&setting.pod) && !knob.same(&current, setting.default_text());
        if let (Wanted::Value(_), Some(lost), true) = (
            &setting.wanted,
            knob.loses(self.hierarchy.version()),
            changes || took,
        ) {
            self.note_lost(&setting, lost, changes);
        }
        if !changes {
            return;
        }
        self.plan.changes.push(Change {
            pod: setting.pod,
            group: setting.group,
            knob,
            from: current,
            to,
        });
    }

    /// Whether kubelet has made the group and not set its weight yet, which the kernel would refuse for an idle group: kubelet would fail to start
    /// the pod, and the pod would be left with the kernel's weight, 512 times a best-effort pod's. The next look finds it set.
    fn is_being_made(&self, setting: &Setting, current: &str) -> bool {
        let Wanted::Value(to) = &setting.wanted else {
            return false;
        };
        let Some(weight) = setting.knob.loses(self.hierarchy.version()) else {
            return false;
        };
        let path = self
            .hierarchy
            .dir(weight.controller(), &setting.group)
            .join(weight.file());
        !setting.knob.same(current, to)
            && file::read(&path).is_ok_and(|text| Some(text.trim()) == weight.kernel_default())
    }

    /// Whether the file shows the weight of an idle group: the least there is, while the group comes back from idle with the kernel's default. A best-effort
    /// pod's own weight is the least too, so the two look alike and mean different things.
    fn hides_weight(&self, setting: &Setting) -> bool {
        let idle = self
            .hierarchy
            .dir(Knob::CpuIdle.controller(), &setting.group)
            .join(Knob::CpuIdle.file());
        matches!(setting.knob, Knob::CpuShares | Knob::CpuWeight)
            && file::read(&idle).is_ok_and(|text| text.trim() == "1")
    }

    /// The value that the kernel loses with this write. `changes`: it is still there, and nobody's but kubelet's.
    fn note_lost(&mut self, setting: &Setting, lost: Knob, changes: bool) {
        if self.records.old(&setting.group, lost).is_some() {
            return;
        }
        let path = self
            .hierarchy
            .dir(lost.controller(), &setting.group)
            .join(lost.file());
        if let Ok(current) = file::read(&path) {
            let lost = Setting {
                knob: lost,
                default: None,
                ..setting.clone()
            };
            let ours = !changes && self.untrusted.contains(&lost.pod);
            self.note(&lost, current.trim(), true, ours);
        }
    }

    /// Puts the old value on record, where it is not. `ours`: what the file holds may be our doing, so the default was there before.
    pub(super) fn note(&mut self, setting: &Setting, current: &str, changes: bool, ours: bool) {
        let default = setting.default_text();
        // The record is looked for last: nearly every file, each second, holds what it should.
        if (changes || (ours && !setting.knob.same(current, default)))
            && self.records.old(&setting.group, setting.knob).is_none()
        {
            self.plan.remember.push(Remember {
                pod: setting.pod.clone(),
                group: setting.group.clone(),
                knob: setting.knob,
                old: if ours { default } else { current }.to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::sample::Descriptors;

    fn v2(files: &[(&str, &str)]) -> (tempfile::TempDir, Hierarchy) {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("sys/fs/cgroup");
        fs::create_dir_all(&base).unwrap();
        fs::write(base.join("cgroup.controllers"), "cpu cpuset memory").unwrap();
        for (file, text) in files {
            let path = base.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        (root, hierarchy)
    }

    fn setting(pod: &str, knob: Knob, value: &str) -> Setting {
        Setting::value(&PodUid::new(pod), Path::new(pod), knob, value)
    }

    fn planned(
        hierarchy: &Hierarchy,
        records: &Records,
        untrusted: &[&str],
        settings: Vec<Setting>,
    ) -> Plan {
        let untrusted = untrusted.iter().copied().map(PodUid::new).collect();
        plan(
            hierarchy,
            &mut Reads::new(Descriptors::new(8)),
            records,
            &untrusted,
            settings,
        )
    }

    fn writes(plan: &Plan) -> Vec<String> {
        plan.changes
            .iter()
            .map(|c| format!("{}/{}={}", c.group.display(), c.knob.file(), c.to.trim()))
            .collect()
    }

    fn remembered(plan: &Plan) -> Vec<String> {
        plan.remember
            .iter()
            .map(|r| format!("{}/{}={}", r.group.display(), r.knob.file(), r.old))
            .collect()
    }

    #[test]
    fn only_differences_are_written_and_falls_come_first() {
        let (_root, hierarchy) = v2(&[
            ("a/cpu.max", "50000 100000\n"),
            ("b/cpu.max", "max 100000\n"),
            ("c/cpu.max", "7000 100000\n"),
        ]);
        let plan = planned(
            &hierarchy,
            &Records::in_memory(),
            &[],
            vec![
                setting("a", Knob::CpuMax, "90000 100000"),
                setting("b", Knob::CpuMax, "10000 100000"),
                setting("c", Knob::CpuMax, "7000 100000"),
                setting("b", Knob::CpuIdle, "1"),
                setting("gone", Knob::CpuMax, "7000 100000"),
            ],
        );
        assert!(plan.problems.is_empty(), "{:?}", plan.problems);
        assert_eq!(
            writes(&plan),
            ["b/cpu.max=10000 100000", "a/cpu.max=90000 100000"]
        );
    }

    #[test]
    fn lost_records_give_the_default_also_of_the_weight_that_idle_took() {
        let (_root, hierarchy) = v2(&[("a/cpu.idle", "1\n"), ("a/cpu.weight", "0\n")]);
        let settings = || vec![setting("a", Knob::CpuIdle, "1")];
        let plan = planned(&hierarchy, &Records::in_memory(), &["a"], settings());
        assert!(plan.changes.is_empty(), "{:?}", plan.changes);
        assert_eq!(remembered(&plan), ["a/cpu.idle=0", "a/cpu.weight=1"]);
        // Somebody else's idle pod is as it was.
        let plan = planned(&hierarchy, &Records::in_memory(), &[], settings());
        assert!(plan.remember.is_empty(), "{:?}", plan.remember);
    }

    /// What kubelet leaves in the group of a best-effort pod, and in that of one that asks for ordinary CPU as well.
    #[test]
    fn a_first_start_records_what_kubelet_left() {
        for (weight, kept) in [("1\n", "a/cpu.weight=1"), ("20\n", "a/cpu.weight=20")] {
            let (_root, hierarchy) = v2(&[
                ("a/cpu.max", "max 100000\n"),
                ("a/cpu.idle", "0\n"),
                ("a/cpu.weight", weight),
                ("a/memory.max", "max\n"),
                ("a/cpuset.cpus", "\n"),
                ("a/cpuset.mems", "\n"),
            ]);
            let settings = vec![
                setting("a", Knob::CpuMax, "5000 100000"),
                setting("a", Knob::CpuIdle, "1"),
                setting("a", Knob::MemoryMax, "67108864"),
                setting("a", Knob::CpusetCpus, "0-1"),
                setting("a", Knob::CpusetMems, "0"),
            ];
            let mut records = Records::in_memory();
            let plan = planned(&hierarchy, &records, &["a"], settings);
            assert_eq!(
                remembered(&plan),
                [
                    "a/cpu.max=max 100000",
                    "a/cpu.idle=0",
                    kept,
                    "a/memory.max=max",
                    "a/cpuset.cpus=",
                    "a/cpuset.mems="
                ]
            );
            for of in &plan.remember {
                records.remember(&of.pod, &of.group, of.knob, &of.old);
            }
            // And a restore writes just that: here nothing was written, so nothing differs.
            let settings = records.settings(|_, _| true);
            let back = planned(&hierarchy, &records, &[], settings);
            assert!(back.changes.is_empty(), "{:?}", writes(&back));
        }
    }

    #[test]
    fn the_weight_of_an_idle_group_is_written_though_it_looks_right() {
        let (_root, hierarchy) = v2(&[("a/cpu.idle", "1\n"), ("a/cpu.weight", "1\n")]);
        let mut records = Records::in_memory();
        for (knob, old) in [(Knob::CpuIdle, "0"), (Knob::CpuWeight, "1")] {
            records.remember(&PodUid::new("a"), Path::new("a"), knob, old);
        }
        let settings = records.settings(|_, _| true);
        let plan = planned(&hierarchy, &records, &[], settings);
        assert_eq!(writes(&plan), ["a/cpu.idle=0", "a/cpu.weight=1"]);
    }

    #[test]
    fn a_missing_required_file_is_a_problem() {
        let (_root, hierarchy) = v2(&[("a/cpu.stat", "")]);
        let settings = vec![setting("a", Knob::MemoryMax, "1")];
        let plan = planned(&hierarchy, &Records::in_memory(), &[], settings);
        assert!(plan.changes.is_empty());
        assert!(plan.problems[0].to_string().contains("memory.max"));
    }

    #[test]
    fn a_burst_is_never_above_its_quota() {
        let (_root, hierarchy) = v2(&[
            ("a/cpu.max", "50000 100000"),
            ("a/cpu.max.burst", "50000"),
            ("b/cpu.max", "50000 100000"),
            ("b/cpu.max.burst", "0"),
        ]);
        let settings = vec![
            setting("a", Knob::CpuMax, "10000 100000"),
            setting("a", Knob::CpuMaxBurst, "10000"),
            setting("b", Knob::CpuMaxBurst, "60000"),
            setting("b", Knob::CpuMax, "60000 100000"),
        ];
        let plan = planned(&hierarchy, &Records::in_memory(), &[], settings);
        assert_eq!(
            writes(&plan),
            [
                "a/cpu.max.burst=10000",
                "a/cpu.max=10000 100000",
                "b/cpu.max=60000 100000",
                "b/cpu.max.burst=60000"
            ]
        );
    }

    #[test]
    fn the_weight_that_idle_takes_is_recorded_and_comes_back_after_it() {
        let (root, hierarchy) = v2(&[("a/cpu.idle", "0\n"), ("a/cpu.weight", "1\n")]);
        let mut records = Records::in_memory();
        let plan = planned(
            &hierarchy,
            &records,
            &[],
            vec![setting("a", Knob::CpuIdle, "1")],
        );
        assert_eq!(remembered(&plan), ["a/cpu.idle=0", "a/cpu.weight=1"]);
        for of in &plan.remember {
            records.remember(&of.pod, &of.group, of.knob, &of.old);
        }
        let base = root.path().join("sys/fs/cgroup/a");
        fs::write(base.join("cpu.idle"), "1").unwrap();
        fs::write(base.join("cpu.weight"), "100").unwrap();
        let settings = records.settings(|_, _| true);
        let plan = planned(&hierarchy, &records, &[], settings);
        assert_eq!(writes(&plan), ["a/cpu.idle=0", "a/cpu.weight=1"]);
    }

    #[test]
    fn a_group_whose_weight_kubelet_has_not_set_is_not_made_idle_yet() {
        let (root, hierarchy) = v2(&[("a/cpu.idle", "0\n"), ("a/cpu.weight", "100\n")]);
        let planned = || {
            let idle = vec![setting("a", Knob::CpuIdle, "1")];
            planned(&hierarchy, &Records::in_memory(), &[], idle)
        };
        let early = planned();
        assert!(early.changes.is_empty() && early.remember.is_empty());
        fs::write(root.path().join("sys/fs/cgroup/a/cpu.weight"), "1\n").unwrap();
        assert_eq!(writes(&planned()), ["a/cpu.idle=1"]);
    }

    #[test]
    fn lost_records_fall_back_to_kubelets_values() {
        let (_root, hierarchy) = v2(&[
            ("old/cpu.max", "4000 100000"),
            ("new/cpu.max", "4000 100000"),
        ]);
        let settings = ["old", "new"].map(|pod| setting(pod, Knob::CpuMax, "5000 100000"));
        let plan = planned(&hierarchy, &Records::in_memory(), &["old"], settings.into());
        assert_eq!(
            remembered(&plan),
            ["old/cpu.max=max 100000", "new/cpu.max=4000 100000"]
        );
    }

    #[test]
    fn pages_move_because_it_was_said_before() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("sys/fs/cgroup");
        for (file, text) in [
            ("cpu/cpu.shares", "1024"),
            ("cpuacct/cpuacct.usage", "0"),
            ("memory/memory.usage_in_bytes", "0"),
            ("cpuset/cpuset.cpus", "0-3"),
            ("cpuset/cpuset.mems", "0-1"),
            ("cpuset/a/cpuset.mems", "0-1"),
            ("cpuset/a/cpuset.memory_migrate", "0"),
        ] {
            let path = base.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        let settings = vec![
            setting("a", Knob::CpusetMems, "1"),
            setting("a", Knob::MemoryMigrate, "1"),
        ];
        let plan = planned(&hierarchy, &Records::in_memory(), &[], settings);
        assert_eq!(
            writes(&plan),
            ["a/cpuset.memory_migrate=1", "a/cpuset.mems=1"]
        );
        let outside = vec![setting("a", Knob::CpusetMems, "5")];
        let plan = planned(&hierarchy, &Records::in_memory(), &[], outside);
        assert!(plan.changes.is_empty());
        assert!(
            matches!(plan.problems[..], [Problem::OutsideParent { .. }]),
            "{:?}",
            plan.problems
        );
    }
}
