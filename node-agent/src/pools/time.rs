//! Weight, quota and burst of pods that wish something about them, by `katalyst_core::cpu_time`.
//!
//! A weight belongs to the pod's group, where it counts against other pods. Quota and burst belong to the pod and to its containers, since
//! kubelet sets a quota on each. Reclaimed pods are left out: their quota follows the ceiling, and they are idle instead of light.

use std::path::{Path, PathBuf};

use katalyst_core::{
    cpu_time::{CpuKnobs, KnobInput, QuotaWish, Shares, knobs},
    pools::PodReason,
    qos::{BurstPolicy, Level},
};

use crate::{
    cgroup::{Controller, Hierarchy, Version, below, file},
    hold::{Knob, Setting, Wanted},
    kernel::number,
    pods::PodInfo,
};

/// What decides.
pub(super) struct TimeInput<'a> {
    pub(super) info: &'a PodInfo,
    /// The pod's group.
    pub(super) group: &'a Path,
    /// Why the pod has the CPUs it has.
    pub(super) reason: Option<PodReason>,
    /// Percent of the machine's CPUs that is busy; `None` where unknown.
    pub(super) utilisation: Option<f64>,
}

/// Settings of one pod. `recorded`: whether a file was changed by us before.
pub(super) fn settings(
    hierarchy: &Hierarchy,
    input: &TimeInput<'_>,
    recorded: impl Fn(&Path, Knob) -> bool,
) -> Vec<Setting> {
    if input.info.level == Level::Reclaimed {
        return Vec::new();
    }
    let asks = &input.info.asks;
    let files = Files::of(hierarchy.version());
    let own_cpus = matches!(
        input.reason,
        Some(PodReason::DedicatedKept | PodReason::DedicatedNew)
    );
    let wishes =
        own_cpus || asks.weight_demand_cores.is_some() || asks.wishes.burst != BurstPolicy::Default;
    let before = [files.weight, files.quota, files.burst]
        .into_iter()
        .any(|knob| recorded(input.group, knob));
    if !wishes && !before {
        return Vec::new();
    }
    let containers: Vec<PathBuf> = below(hierarchy, Controller::Cpu, input.group)
        .into_iter()
        .filter(|group| group.parent() == Some(input.group))
        .collect();
    let mut settings = Vec::new();
    for group in std::iter::once(input.group).chain(containers.iter().map(PathBuf::as_path)) {
        let read =
            |knob: Knob| file::read(&hierarchy.dir(Controller::Cpu, group).join(knob.file())).ok();
        let number = |knob| number::parse(read(knob)?.split_whitespace().next()?);
        let wanted = knobs(&KnobInput {
            level: input.info.level,
            wishes: &asks.wishes,
            weight_demand_cores: asks.weight_demand_cores.filter(|_| group == input.group),
            own_cpus,
            // -1 and `max` are no numbers: no limit.
            quota: number(files.quota),
            utilisation: input.utilisation,
            burst_on: number(files.burst).is_some_and(|burst| burst > 0),
        });
        let period =
            read(files.quota).and_then(|text| Some(text.split_whitespace().nth(1)?.to_owned()));
        for (knob, value) in files.values(&wanted, period.as_deref()) {
            let setting = match value {
                Some(value) => Setting::value(&input.info.uid, group, knob, value),
                None if recorded(group, knob) => Setting::old(&input.info.uid, group, knob),
                None => continue,
            };
            settings.push(
                match before_us(input, group, knob, read(knob).as_deref(), &setting) {
                    Some(default) => setting.or_default(default),
                    None => setting,
                },
            );
        }
    }
    settings
}

/// What kubelet had put there, for a pod whose records were lost or which ran before any began. These pods are services, with a quota and a weight of
/// their own, so that the value of a best-effort pod would be wrong.
///
/// A quota we only ever lift: one that stands is kubelet's. Of a lifted one the pod's limit tells; a container's stays lifted, below the pod's.
/// A weight other than the one we want is taken for kubelet's, and for the one that its request gives where it is just that.
fn before_us(
    input: &TimeInput<'_>,
    group: &Path,
    knob: Knob,
    current: Option<&str>,
    setting: &Setting,
) -> Option<String> {
    let current = current?.trim();
    let asks = &input.info.asks;
    match knob {
        Knob::CfsQuota | Knob::CpuMax => {
            let quota = current.split_whitespace().next()?;
            if number::parse(quota).is_some() {
                return Some(current.to_owned());
            }
            let limit = asks.cpu_limit.filter(|_| group == input.group)?.get();
            // kubelet's `MilliCPUToQuota`: of its default period of 100 ms, at least 1 ms.
            let micros = (limit * 100).max(1_000);
            Some(match knob {
                Knob::CfsQuota => micros.to_string(),
                _ => format!("{micros} 100000"),
            })
        }
        Knob::CpuShares | Knob::CpuWeight => {
            if !matches!(&setting.wanted, Wanted::Value(value) if value == current) {
                return Some(current.to_owned());
            }
            let shares = Shares::of_request(asks.cpu_request);
            Some(match knob {
                Knob::CpuShares => shares.get().to_string(),
                _ => shares.to_weight().get().to_string(),
            })
        }
        _ => None,
    }
}

/// The files of a version.
struct Files {
    version: Version,
    weight: Knob,
    quota: Knob,
    burst: Knob,
}

impl Files {
    fn of(version: Version) -> Self {
        let (weight, quota, burst) = match version {
            Version::V1 => (Knob::CpuShares, Knob::CfsQuota, Knob::CfsBurst),
            Version::V2 => (Knob::CpuWeight, Knob::CpuMax, Knob::CpuMaxBurst),
        };
        Self {
            version,
            weight,
            quota,
            burst,
        }
    }

    /// `period`: the one that the group has, microseconds.
    fn values(&self, wanted: &CpuKnobs, period: Option<&str>) -> [(Knob, Option<String>); 3] {
        let weight = wanted.weight.map(|shares| match self.version {
            Version::V1 => shares.get(),
            Version::V2 => shares.to_weight().get(),
        });
        let quota = wanted.quota.map(|QuotaWish::Unlimited| match self.version {
            Version::V1 => "-1".to_owned(),
            Version::V2 => format!("max {}", period.unwrap_or("100000")),
        });
        [
            (self.weight, weight.map(|weight| weight.to_string())),
            (self.quota, quota),
            (self.burst, wanted.burst.map(|burst| burst.to_string())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use katalyst_core::units::Millicpu;
    use rstest::rstest;

    use super::*;
    use crate::cgroup::PodUid;

    fn settings_of(
        annotations: &[(&str, &str)],
        reason: PodReason,
        recorded: &[Knob],
    ) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().join("sys/fs/cgroup");
        for (file, text) in [
            ("cgroup.controllers", "cpu cpuset memory"),
            ("poda/cpu.max", "200000 100000"),
            ("poda/cpu.max.burst", "0"),
            ("poda/c/cpu.max", "50000 100000"),
            ("poda/c/cpu.max.burst", "0"),
            ("poda/d/cpu.max", "max 100000"),
        ] {
            let path = base.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let hierarchy = Hierarchy::detect(root.path()).unwrap();
        let annotations: BTreeMap<String, String> = annotations
            .iter()
            .map(|(key, value)| (format!("katalyst.kubewharf.io/{key}"), (*value).to_owned()))
            .collect();
        let info = PodInfo::from_annotations(PodUid::new("a"), "n", "a", &annotations);
        let input = TimeInput {
            info: &info,
            group: Path::new("poda"),
            reason: Some(reason),
            utilisation: Some(10.0),
        };
        settings(&hierarchy, &input, |_, knob| recorded.contains(&knob))
            .into_iter()
            .map(|s| format!("{}/{} {:?}", s.group.display(), s.knob.file(), s.wanted))
            .collect()
    }

    #[test]
    fn who_wishes_nothing_has_nothing_written() {
        assert!(settings_of(&[], PodReason::Shared, &[]).is_empty());
        let back = settings_of(&[], PodReason::Shared, &[Knob::CpuWeight]);
        assert_eq!(back[0], "poda/cpu.weight Old");
    }

    #[test]
    fn a_burst_follows_each_groups_quota() {
        let enhancement = r#"{"cpu_burst_policy":"static","cpu_burst_percent":"50"}"#;
        assert_eq!(
            settings_of(&[("cpu_enhancement", enhancement)], PodReason::Shared, &[]),
            [
                r#"poda/cpu.max.burst Value("100000")"#,
                r#"poda/c/cpu.max.burst Value("25000")"#
            ]
        );
    }

    #[test]
    fn cpus_of_its_own_have_no_quota() {
        assert_eq!(
            settings_of(
                &[("qos_level", "dedicated_cores")],
                PodReason::DedicatedNew,
                &[]
            ),
            [
                r#"poda/cpu.max Value("max 100000")"#,
                r#"poda/c/cpu.max Value("max 100000")"#,
                r#"poda/d/cpu.max Value("max 100000")"#
            ]
        );
    }

    #[rstest]
    #[case::kubelets_quota_stands(
        Knob::CpuMax,
        "poda",
        "200000 100000",
        "max 100000",
        Some("200000 100000")
    )]
    #[case::lifted_before(
        Knob::CpuMax,
        "poda",
        "max 100000",
        "max 100000",
        Some("150000 100000")
    )]
    #[case::lifted_before_v1(Knob::CfsQuota, "poda", "-1", "-1", Some("150000"))]
    #[case::a_containers_limit_is_not_known(
        Knob::CpuMax,
        "poda/c",
        "max 100000",
        "max 100000",
        None
    )]
    #[case::kubelets_weight_stands(Knob::CpuShares, "poda", "512", "1024", Some("512"))]
    #[case::weighed_before(Knob::CpuShares, "poda", "4096", "4096", Some("1024"))]
    #[case::weighed_before_v2(Knob::CpuWeight, "poda", "157", "157", Some("100"))]
    #[case::burst(Knob::CpuMaxBurst, "poda", "5", "6", None)]
    fn what_kubelet_had_put_there(
        #[case] knob: Knob,
        #[case] group: &str,
        #[case] current: &str,
        #[case] wanted: &str,
        #[case] expected: Option<&str>,
    ) {
        let mut info = PodInfo::from_annotations(PodUid::new("a"), "n", "a", &BTreeMap::new());
        info.asks.cpu_limit = Some(Millicpu::new(1_500));
        info.asks.cpu_request = Millicpu::new(1_000);
        let input = TimeInput {
            info: &info,
            group: Path::new("poda"),
            reason: None,
            utilisation: None,
        };
        let setting = Setting::value(&info.uid, Path::new(group), knob, wanted);
        let before = before_us(&input, Path::new(group), knob, Some(current), &setting);
        assert_eq!(before.as_deref(), expected);
    }

    #[test]
    fn a_weight_is_the_pods() {
        assert_eq!(
            settings_of(&[("cpu_weight_demand_cores", "1")], PodReason::Shared, &[]),
            [r#"poda/cpu.weight Value("100")"#]
        );
    }
}
