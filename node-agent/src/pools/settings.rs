//! From a plan to file contents. Pure.
//!
//! A pod that may use everyone's CPUs has nothing written; where something was written before, it is put back. The set goes into the
//! pod's group and into the groups below it: version 1 gives a new group a copy of its parent's set, version 2 lets it inherit, so a
//! container that appears later is right from its first instruction.
//!
//! One layout is different: on version 1 under kubelet's static CPU manager, kubelet names a set for every container, and the kernel
//! refuses one that is not within the pod's. There the pod's group keeps its set and only containers are written.

use std::path::{Path, PathBuf};

use katalyst_core::{cpu_set::CpuSet, pools::PodCpus};

use crate::{
    cgroup::{PodUid, Version},
    hold::{Knob, Setting},
};

/// The node, as far as settings depend on it.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) version: Version,
    /// What a pod without restriction runs on: every CPU, or, under kubelet's static policy, the set that kubelet gives to all.
    pub(super) everyone: &'a CpuSet,
    /// kubelet's static policy writes containers' sets.
    pub(super) kubelet_writes: bool,
}

/// A pod with a group.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) uid: &'a PodUid,
    pub(super) group: &'a Path,
    /// Groups below it.
    pub(super) below: &'a [PathBuf],
    pub(super) held: &'a PodCpus,
    /// Its files may hold values of a run whose records were lost.
    pub(super) untrusted: bool,
    /// kubelet's memory manager writes its memory nodes.
    pub(super) memory_is_kubelets: bool,
}

/// Whether the pod's CPUs are fewer than everyone's.
pub(super) fn is_restricted(held: &PodCpus, everyone: &CpuSet) -> bool {
    !everyone.is_subset(&held.cpus)
}

/// The files of one pod. `recorded`: whether a file was changed by us before.
pub(super) fn settings(
    node: &Node<'_>,
    place: &Place<'_>,
    recorded: impl Fn(&Path, Knob) -> bool,
) -> Vec<Setting> {
    let mut settings = Vec::new();
    let containers_only = node.kubelet_writes && node.version == Version::V1;
    let groups = (!containers_only)
        .then_some(place.group)
        .into_iter()
        .chain(place.below.iter().map(PathBuf::as_path));
    let restricted = is_restricted(place.held, node.everyone);
    let wanted: &[(Knob, Option<String>)] = &[
        (
            Knob::CpusetCpus,
            restricted.then(|| place.held.cpus.to_string()),
        ),
        (
            Knob::MemoryMigrate,
            place.held.mems.as_ref().map(|_| "1".to_owned()),
        ),
        (
            Knob::CpusetMems,
            place.held.mems.as_ref().map(ToString::to_string),
        ),
    ];
    for group in groups {
        let default = (node.kubelet_writes && group != place.group).then_some(node.everyone);
        for (knob, value) in wanted {
            let of_memory = matches!(knob, Knob::CpusetMems | Knob::MemoryMigrate);
            let absent = *knob == Knob::MemoryMigrate && node.version == Version::V2;
            if absent || (of_memory && place.memory_is_kubelets) {
                continue;
            }
            let setting = match value {
                Some(value) => Setting::value(place.uid, group, *knob, value.clone()),
                None if recorded(group, *knob) || place.untrusted => {
                    Setting::old(place.uid, group, *knob)
                }
                None => continue,
            };
            settings.push(match default {
                Some(everyone) if *knob == Knob::CpusetCpus => {
                    setting.or_default(everyone.to_string())
                }
                _ => setting,
            });
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use katalyst_core::qos::NumaSet;

    use super::*;
    use crate::hold::Wanted;

    fn set(text: &str) -> CpuSet {
        CpuSet::parse(text).unwrap()
    }

    fn texts(
        version: Version,
        kubelet_writes: bool,
        held: &PodCpus,
        recorded: &[Knob],
    ) -> Vec<String> {
        let everyone = set("0-7");
        let node = Node {
            version,
            everyone: &everyone,
            kubelet_writes,
        };
        let uid = PodUid::new("a");
        let below = [PathBuf::from("poda/c")];
        let place = Place {
            uid: &uid,
            group: Path::new("poda"),
            below: &below,
            held,
            untrusted: false,
            memory_is_kubelets: false,
        };
        settings(&node, &place, |_, knob| recorded.contains(&knob))
            .into_iter()
            .map(|setting| {
                let value = match setting.wanted {
                    Wanted::Value(value) => value,
                    Wanted::Old => "old".to_owned(),
                };
                format!(
                    "{}/{}={value}",
                    setting.group.display(),
                    setting.knob.file()
                )
            })
            .collect()
    }

    fn held(cpus: &str, mems: Option<&str>) -> PodCpus {
        PodCpus {
            pool: "share".to_owned(),
            cpus: set(cpus),
            mems: mems.map(|mems| NumaSet::parse(mems).unwrap()),
        }
    }

    #[test]
    fn a_pod_that_may_use_everything_has_nothing_written() {
        for version in [Version::V1, Version::V2] {
            assert!(texts(version, false, &held("0-7", None), &[]).is_empty());
            assert_eq!(
                texts(version, false, &held("0-7", None), &[Knob::CpusetCpus]),
                ["poda/cpuset.cpus=old", "poda/c/cpuset.cpus=old"]
            );
        }
    }

    #[test]
    fn a_bound_pod_moves_its_pages() {
        assert_eq!(
            texts(Version::V1, false, &held("0-3", Some("0")), &[]),
            [
                "poda/cpuset.cpus=0-3",
                "poda/cpuset.memory_migrate=1",
                "poda/cpuset.mems=0",
                "poda/c/cpuset.cpus=0-3",
                "poda/c/cpuset.memory_migrate=1",
                "poda/c/cpuset.mems=0"
            ]
        );
        assert_eq!(
            texts(Version::V2, false, &held("0-7", Some("0")), &[]),
            ["poda/cpuset.mems=0", "poda/c/cpuset.mems=0"]
        );
    }

    #[test]
    fn where_kubelet_names_sets_the_pods_group_stays_wide() {
        assert_eq!(
            texts(Version::V1, true, &held("0-3", None), &[]),
            ["poda/c/cpuset.cpus=0-3"]
        );
        assert_eq!(
            texts(Version::V2, true, &held("0-3", None), &[]),
            ["poda/cpuset.cpus=0-3", "poda/c/cpuset.cpus=0-3"]
        );
    }
}
