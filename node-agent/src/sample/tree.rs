//! kubelet's tree: which groups are sampled, and one sample of all of them.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    counters::{Counters, PodCounters},
    group::{self, Group, Pace},
    listing::Listing,
    numa::PerCpu,
    open::{Buffer, Descriptors, Kept},
};
use crate::{
    cgroup::{
        Controller, GroupUsage, Hierarchy, KubeClass, Kubepods, PodUid, Version, file::FileError,
    },
    kernel::{cpu_stat, cpuacct, number},
};

/// Class groups whose CPU time tells what ended pods used.
const CLASSES: [KubeClass; 2] = [KubeClass::Burstable, KubeClass::BestEffort];

/// kubelet's tree.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) hierarchy: Hierarchy,
    pub(super) kubepods: Kubepods,
    /// The whole machine's group: the root of the hierarchy, where the kernel keeps CPU time there.
    machine: Kept,
    pub(super) listing: Listing,
    pub(super) top: Group,
    classes: [Option<Group>; CLASSES.len()],
    pub(super) pods: BTreeMap<PodUid, (KubeClass, Group)>,
    /// Version 1: CPU time of best-effort pods by CPU.
    pub(super) best_effort: PerCpu,
    best_effort_file: Kept,
    /// The listing changed since `pods` was brought to it.
    pub(super) stale: bool,
}

impl Tree {
    pub(super) fn open(
        now_nanos: u64,
        hierarchy: &Hierarchy,
        kubepods: &Kubepods,
        descriptors: &mut Descriptors,
    ) -> Result<Self, FileError> {
        let (controller, file) = group::cpu_file(hierarchy);
        let machine = hierarchy.mount(controller).join(file);
        Ok(Self {
            machine: Kept::open(&machine, descriptors)?,
            top: Group::open(
                hierarchy,
                kubepods.relative(),
                Pace::Held,
                0,
                now_nanos,
                descriptors,
            )?,
            hierarchy: hierarchy.clone(),
            kubepods: kubepods.clone(),
            listing: Listing::default(),
            classes: [const { None }; CLASSES.len()],
            pods: BTreeMap::new(),
            best_effort: PerCpu::default(),
            best_effort_file: Kept::Missing,
            stale: true,
        })
    }

    pub(super) fn close(self, descriptors: &mut Descriptors) {
        self.machine.close(descriptors);
        self.best_effort_file.close(descriptors);
        let pods = self.pods.into_values().map(|(_, group)| group);
        for group in self
            .classes
            .into_iter()
            .flatten()
            .chain([self.top])
            .chain(pods)
        {
            group.close(descriptors);
        }
    }

    pub(super) fn class(&self, class: KubeClass) -> Option<&Group> {
        let at = CLASSES.iter().position(|of| *of == class)?;
        self.classes.get(at)?.as_ref()
    }

    pub(super) fn pod(&self, uid: &PodUid) -> Option<&Group> {
        self.pods.get(uid).map(|(_, group)| group)
    }

    /// CPU time of the root group. Version 2 has it since 5.10; nanoseconds since boot either way.
    pub(super) fn machine_nanos(&self, buffer: &mut Buffer) -> Option<u64> {
        let (controller, file) = group::cpu_file(&self.hierarchy);
        let path = || self.hierarchy.mount(controller).join(file);
        let text = self.machine.read(buffer, path).ok()??;
        match self.hierarchy.version() {
            Version::V1 => number::parse(text),
            Version::V2 => cpu_stat::parse_v2(text).usage_nanos,
        }
        .filter(|nanos| *nanos > 0)
    }

    /// Opens the groups of new pods, closes those of pods that are gone.
    pub(super) fn open_pods(
        &mut self,
        now_nanos: u64,
        descriptors: &mut Descriptors,
        mut problem: impl FnMut(FileError),
    ) {
        self.stale = false;
        let dirs = self.listing.dirs();
        let same = |uid: &PodUid, group: &Group| {
            dirs.binary_search_by(|dir| dir.uid.cmp(uid))
                .ok()
                .and_then(|at| dirs.get(at))
                .is_some_and(|dir| dir.relative == group.relative())
        };
        let (kept, gone) = std::mem::take(&mut self.pods)
            .into_iter()
            .partition(|(uid, (_, group))| same(uid, group));
        self.pods = kept;
        let gone: BTreeMap<PodUid, (KubeClass, Group)> = gone;
        for (_, group) in gone.into_values() {
            group.close(descriptors);
        }
        for (order, dir) in dirs.iter().enumerate() {
            if self.pods.contains_key(&dir.uid) {
                continue;
            }
            let pace = match dir.class {
                KubeClass::BestEffort => Pace::Held,
                KubeClass::Guaranteed | KubeClass::Burstable => Pace::Reported,
            };
            match Group::open(
                &self.hierarchy,
                &dir.relative,
                pace,
                order,
                now_nanos,
                descriptors,
            ) {
                Ok(group) => {
                    self.pods.insert(dir.uid.clone(), (dir.class, group));
                }
                Err(error) => problem(error),
            }
        }
        std::mem::take(&mut self.best_effort_file).close(descriptors);
        match Kept::open(&self.best_effort_path(), descriptors) {
            Ok(kept) => self.best_effort_file = kept,
            Err(error) => problem(error),
        }
        for (slot, class) in self.classes.iter_mut().zip(CLASSES) {
            // kubelet may have made it anew.
            if let Some(group) = slot.take() {
                group.close(descriptors);
            }
            let relative = self.kubepods.class_dir(class);
            match Group::open(
                &self.hierarchy,
                &relative,
                Pace::CpuOnly,
                0,
                now_nanos,
                descriptors,
            ) {
                Ok(group) => *slot = Some(group),
                Err(error) => problem(error),
            }
        }
    }

    fn best_effort_path(&self) -> PathBuf {
        self.hierarchy
            .dir(
                Controller::Cpuacct,
                &self.kubepods.class_dir(KubeClass::BestEffort),
            )
            .join("cpuacct.usage_percpu")
    }

    /// `at`: the time now, for each reading; `by_node`: also what each NUMA node has of it.
    pub(super) fn sample(
        &mut self,
        at: &dyn Fn() -> u64,
        buffer: &mut Buffer,
        counters: &mut Counters,
        by_node: bool,
        mut problem: impl FnMut(FileError),
    ) {
        let now_nanos = at();
        if by_node {
            match self
                .best_effort_file
                .read(buffer, || self.best_effort_path())
            {
                Ok(Some(text)) => self.best_effort.take(cpuacct::per_cpu(text)),
                Ok(None) => {}
                Err(error) if error.is_gone() => self.best_effort.forget(),
                Err(error) => problem(error),
            }
        }
        let Self {
            hierarchy,
            listing,
            top,
            classes,
            pods,
            ..
        } = self;
        counters.pods.retain(|uid, _| pods.contains_key(uid));
        for (uid, (class, group)) in pods {
            let at_nanos = at();
            let usage = match group.sample(now_nanos, hierarchy, buffer) {
                Ok(usage) if usage.cpu_nanos.is_some() => usage,
                Ok(_) => {
                    counters.pods.remove(uid);
                    listing.doubt();
                    continue;
                }
                Err(error) => {
                    counters.pods.remove(uid);
                    listing.doubt();
                    if !error.is_gone() {
                        problem(error);
                    }
                    continue;
                }
            };
            if by_node && let Err(error) = group.sample_nodes(now_nanos, hierarchy, buffer) {
                problem(error);
            }
            match counters.pods.get_mut(uid) {
                Some(pod) => {
                    pod.at_nanos = at_nanos;
                    pod.usage = usage;
                }
                None => {
                    counters.pods.insert(
                        uid.clone(),
                        PodCounters {
                            class: *class,
                            relative: group.relative().to_owned(),
                            at_nanos,
                            usage,
                        },
                    );
                }
            }
        }
        let mut read = |group: &mut Group| match group.sample(now_nanos, hierarchy, buffer) {
            Ok(usage) => usage,
            Err(error) => {
                listing.doubt();
                if !error.is_gone() {
                    problem(error);
                }
                GroupUsage::default()
            }
        };
        for (slot, class) in classes.iter_mut().zip(CLASSES) {
            match slot.as_mut().and_then(|group| read(group).cpu_nanos) {
                Some(nanos) => {
                    counters.classes.insert(class, nanos);
                }
                None => {
                    counters.classes.remove(&class);
                }
            }
        }
        counters.kubepods_at_nanos = at();
        counters.kubepods = read(top);
    }
}
