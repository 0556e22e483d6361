//! Between NRI's messages and the placement's values.
//!
//! Outgoing values are checked here: what the OCI runtime or the kernel refuses makes the container fail to start, which is worse than a
//! container that starts without it. A field that does not pass is left out and named; the rest of the adjustment stands.

use std::{collections::HashMap, path::PathBuf};

use katalyst_core::{cpu_set::CpuSet, qos::NumaSet, units::Bytes};

use super::{
    features::Features,
    messages as wire,
    placer::{
        Adjustment, DeviceKind, DeviceNode, NewContainer, PolicyMode, Resources, RunningContainer,
        Sandbox, Scheduling,
    },
};

/// Weights that the kernel takes (`kernel/sched/core.c`: `MIN_SHARES`, `MAX_SHARES`).
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// Periods that the kernel takes, microseconds (`min_cfs_quota_period`, `max_cfs_quota_period`).
const PERIOD: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
/// Least quota that the kernel takes, microseconds.
const MIN_QUOTA: i64 = 1_000;

/// A pod.
pub fn sandbox(pod: wire::PodSandbox) -> Sandbox {
    Sandbox {
        id: pod.id,
        uid: pod.uid,
        namespace: pod.namespace,
        name: pod.name,
        labels: pod.labels.into_iter().collect(),
        annotations: pod.annotations.into_iter().collect(),
        cgroup_parent: pod
            .linux
            .map(|linux| linux.cgroup_parent)
            .unwrap_or_default(),
    }
}

/// A container before its creation.
pub fn new_container(container: wire::Container) -> NewContainer {
    let linux = container.linux.unwrap_or_default();
    NewContainer {
        id: container.id,
        name: container.name,
        cgroups_path: linux.cgroups_path,
        resources: resources(linux.resources.as_ref()),
        env: container.env,
        devices: linux
            .devices
            .into_iter()
            .map(|device| PathBuf::from(device.path))
            .collect(),
    }
}

/// A container that exists; `requested` is what an update asks for on top of what it holds.
pub fn running_container(
    container: wire::Container,
    requested: Option<&wire::LinuxResources>,
) -> RunningContainer {
    let linux = container.linux.unwrap_or_default();
    let held = resources(linux.resources.as_ref());
    let wanted = resources(requested);
    RunningContainer {
        id: container.id,
        name: container.name,
        cgroups_path: linux.cgroups_path,
        resources: Resources {
            cpus: wanted.cpus.or(held.cpus),
            mems: wanted.mems.or(held.mems),
            cpu_shares: wanted.cpu_shares.or(held.cpu_shares),
            cpu_quota: wanted.cpu_quota.or(held.cpu_quota),
            cpu_period: wanted.cpu_period.or(held.cpu_period),
            memory_limit: wanted.memory_limit.or(held.memory_limit),
        },
    }
}

/// Zero is "no statement" in requests of kubelet; a list that cannot be read is one too.
fn resources(message: Option<&wire::LinuxResources>) -> Resources {
    let cpu = message.and_then(|message| message.cpu.as_ref());
    let memory = message.and_then(|message| message.memory.as_ref());
    Resources {
        cpus: cpu
            .and_then(|cpu| CpuSet::parse(&cpu.cpus).ok())
            .filter(|cpus| !cpus.is_empty()),
        mems: cpu.and_then(|cpu| NumaSet::parse(&cpu.mems)),
        cpu_shares: cpu
            .and_then(|cpu| cpu.shares)
            .map(|shares| shares.value)
            .filter(|shares| *shares != 0),
        cpu_quota: cpu
            .and_then(|cpu| cpu.quota)
            .map(|quota| quota.value)
            .filter(|quota| *quota != 0),
        cpu_period: cpu
            .and_then(|cpu| cpu.period)
            .map(|period| period.value)
            .filter(|period| *period != 0),
        memory_limit: memory
            .and_then(|memory| memory.limit)
            .and_then(|limit| u64::try_from(limit.value).ok())
            .filter(|limit| *limit != 0)
            .map(Bytes::new),
    }
}

/// The answer to CreateContainer. Adds what had to be left out to `problems`.
pub fn creation(
    adjustment: &Adjustment,
    features: Features,
    problems: &mut Vec<String>,
) -> Option<wire::ContainerAdjustment> {
    let env = environment(&adjustment.env, problems);
    let devices = adjustment
        .devices
        .iter()
        .filter_map(|node| device(node, problems))
        .collect::<Vec<_>>();
    let resources = linux_resources(adjustment, &Resources::default(), problems);
    let scheduler = adjustment.scheduling.and_then(|scheduling| {
        if !features.scheduling {
            problems.push("scheduling policy: the runtime's NRI has none".to_owned());
            return None;
        }
        let policy = match scheduling {
            Scheduling::Batch => wire::SchedulerPolicy::Batch,
            Scheduling::Idle => wire::SchedulerPolicy::Idle,
        };
        Some(wire::LinuxScheduler {
            policy: policy.into(),
        })
    });
    let memory_policy = adjustment.memory_policy.as_ref().and_then(|policy| {
        if !features.memory_policy {
            problems.push("memory policy: the runtime's NRI has none".to_owned());
            return None;
        }
        let mode = match policy.mode {
            PolicyMode::Bind => wire::MemoryPolicyMode::Bind,
            PolicyMode::PreferredMany => wire::MemoryPolicyMode::PreferredMany,
            PolicyMode::Interleave => wire::MemoryPolicyMode::Interleave,
        };
        Some(wire::LinuxMemoryPolicy {
            mode: mode.into(),
            nodes: policy.nodes.to_string(),
        })
    });
    let linux = wire::LinuxContainerAdjustment {
        devices,
        resources,
        scheduler,
        memory_policy,
    };
    let linux = Some(linux).filter(|linux| *linux != wire::LinuxContainerAdjustment::default());
    let cdi_devices = (adjustment.cdi.iter())
        .map(|name| wire::CdiDevice { name: name.clone() })
        .collect();
    let answer = wire::ContainerAdjustment {
        env,
        linux,
        cdi_devices,
    };
    (answer != wire::ContainerAdjustment::default()).then_some(answer)
}

/// The update that takes a container from what it holds to the adjustment; `None` where it holds that already.
pub fn update(
    id: &str,
    adjustment: &Adjustment,
    held: &Resources,
    problems: &mut Vec<String>,
) -> Option<wire::ContainerUpdate> {
    let resources = linux_resources(adjustment, held, problems)?;
    Some(wire::ContainerUpdate {
        container_id: id.to_owned(),
        linux: Some(wire::LinuxContainerUpdate {
            resources: Some(resources),
        }),
        ignore_failure: true,
    })
}

/// What differs from `held`; `None` for nothing.
fn linux_resources(
    wanted: &Adjustment,
    held: &Resources,
    problems: &mut Vec<String>,
) -> Option<wire::LinuxResources> {
    let mut checked = |name: &str, passes: bool, value: &dyn std::fmt::Display| {
        if !passes {
            problems.push(format!(
                "{name}: {value} is not a value that the kernel takes"
            ));
        }
        passes
    };
    let cpus = wanted
        .cpus
        .as_ref()
        .filter(|cpus| held.cpus.as_ref() != Some(cpus) && checked("cpus", !cpus.is_empty(), cpus));
    let mems = wanted
        .mems
        .as_ref()
        .filter(|mems| held.mems.as_ref() != Some(mems));
    let shares = wanted.cpu_shares.filter(|shares| {
        held.cpu_shares != Some(*shares) && checked("cpu shares", SHARES.contains(shares), shares)
    });
    let quota = wanted.cpu_quota.filter(|quota| {
        held.cpu_quota != Some(*quota)
            && checked("cpu quota", *quota == -1 || *quota >= MIN_QUOTA, quota)
    });
    let period = wanted.cpu_period.filter(|period| {
        held.cpu_period != Some(*period) && checked("cpu period", PERIOD.contains(period), period)
    });
    let limit = wanted.memory_limit.filter(|limit| {
        held.memory_limit != Some(*limit) && checked("memory limit", limit.get() > 0, &limit.get())
    });
    let unified: HashMap<String, String> = wanted
        .unified
        .iter()
        .filter(|(file, value)| {
            let passes = !file.is_empty()
                && !file.contains('/')
                && !file.contains('\0')
                && !value.contains('\0');
            checked("unified", passes, &format_args!("{file:?}={value:?}"))
        })
        .map(|(file, value)| (file.clone(), value.clone()))
        .collect();
    let cpu = wire::LinuxCpu {
        shares: shares.map(|value| wire::OptionalU64 { value }),
        quota: quota.map(|value| wire::OptionalI64 { value }),
        period: period.map(|value| wire::OptionalU64 { value }),
        cpus: cpus.map(ToString::to_string).unwrap_or_default(),
        mems: mems.map(ToString::to_string).unwrap_or_default(),
    };
    let memory = limit
        .and_then(|limit| i64::try_from(limit.get()).ok())
        .map(|value| wire::LinuxMemory {
            limit: Some(wire::OptionalI64 { value }),
        });
    let cpu = Some(cpu).filter(|cpu| *cpu != wire::LinuxCpu::default());
    let resources = wire::LinuxResources {
        memory,
        cpu,
        unified,
    };
    Some(resources).filter(|resources| *resources != wire::LinuxResources::default())
}

/// A key that starts with `-` would remove a variable.
fn environment(env: &[(String, String)], problems: &mut Vec<String>) -> Vec<wire::KeyValue> {
    env.iter()
        .filter(|(key, value)| {
            let passes = !key.is_empty()
                && !key.starts_with('-')
                && !key.contains(['=', '\0'])
                && !value.contains('\0');
            if !passes {
                problems.push(format!("environment: {key:?}={value:?} is not a variable"));
            }
            passes
        })
        .map(|(key, value)| wire::KeyValue {
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}

fn device(node: &DeviceNode, problems: &mut Vec<String>) -> Option<wire::LinuxDevice> {
    let path = node
        .path
        .to_str()
        .filter(|path| path.starts_with('/') && !path.ends_with('/') && !path.contains('\0'));
    let Some(path) = path else {
        problems.push(format!(
            "device: {} is not an absolute path of a file",
            node.path.display()
        ));
        return None;
    };
    let kind = match node.kind {
        DeviceKind::Character => "c",
        DeviceKind::Block => "b",
        DeviceKind::Fifo => "p",
    };
    let optional = |value: Option<u32>| value.map(|value| wire::OptionalU32 { value });
    Some(wire::LinuxDevice {
        path: path.to_owned(),
        r#type: kind.to_owned(),
        major: i64::from(node.major),
        minor: i64::from(node.minor),
        file_mode: optional(node.mode),
        uid: optional(node.uid),
        gid: optional(node.gid),
    })
}

#[cfg(test)]
mod tests;
