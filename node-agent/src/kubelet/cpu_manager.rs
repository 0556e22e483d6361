//! `cpu_manager_state`: policy, shared CPUs, exclusive CPUs of each container.
//!
//! Three formats are out there. Up to Kubernetes 1.17 entries were named by container ID; since 1.18 they are `{pod UID: {container: CPUs}}`;
//! 1.36 adds `podEntries` for pods whose resources are managed as a whole. Fields that are not known are left out.

use std::collections::BTreeMap;

use katalyst_core::cpu_set::CpuSet;
use serde::Deserialize;

use super::Malformed;

/// State of kubelet's CPU manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuManager {
    /// `none` or `static`.
    pub policy: String,
    /// CPUs of containers that have none of their own; empty under the policy `none`.
    pub default: CpuSet,
    /// Exclusive CPUs, by the pod's UID.
    pub pods: BTreeMap<String, CpuSet>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    policy_name: String,
    #[serde(default)]
    default_cpu_set: String,
    #[serde(default)]
    entries: Option<BTreeMap<String, Entry>>,
    #[serde(default)]
    pod_entries: Option<BTreeMap<String, PodEntry>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    /// Of a pod, by container.
    Pod(BTreeMap<String, String>),
    /// Of a container that is named by its ID: it cannot be told whose it is.
    Container(String),
}

#[derive(Deserialize)]
struct PodEntry {
    #[serde(default, rename = "cpuSet")]
    cpus: String,
}

impl CpuManager {
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let state: State = serde_json::from_str(text)?;
        let mut pods: BTreeMap<String, CpuSet> = BTreeMap::new();
        let mut give = |pod: String, cpus: &str| -> Result<(), Malformed> {
            let cpus = CpuSet::parse(cpus)?;
            let held = pods.entry(pod).or_default();
            *held = held.union(&cpus);
            Ok(())
        };
        for (name, entry) in state.entries.unwrap_or_default() {
            match entry {
                Entry::Pod(containers) => {
                    for cpus in containers.values() {
                        give(name.clone(), cpus)?;
                    }
                }
                Entry::Container(cpus) => give(name, &cpus)?,
            }
        }
        for (pod, entry) in state.pod_entries.unwrap_or_default() {
            give(pod, &entry.cpus)?;
        }
        pods.retain(|_, cpus| !cpus.is_empty());
        Ok(Self {
            policy: state.policy_name,
            default: CpuSet::parse(&state.default_cpu_set)?,
            pods,
        })
    }

    /// Whether it gives containers CPUs of their own, and writes every container's cpuset.
    pub fn is_static(&self) -> bool {
        self.policy == "static"
    }

    /// Every exclusive CPU.
    pub fn exclusive(&self) -> CpuSet {
        self.pods
            .values()
            .fold(CpuSet::new(), |all, cpus| all.union(cpus))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format() {
        for (text, policy, default, exclusive) in [
            (
                r#"{"policyName":"none","defaultCpuSet":"","checksum":1353318690}"#,
                "none",
                "",
                "",
            ),
            (
                r#"{"policyName":"static","defaultCpuSet":"0,4-7","entries":{"u-1":{"a":"1-2","b":"3"}},"checksum":1}"#,
                "static",
                "0,4-7",
                "1-3",
            ),
            (
                r#"{"policyName":"static","defaultCpuSet":"0","entries":{},"podEntries":{"u-2":{"cpuSet":"5"}},"new":{},"checksum":1}"#,
                "static",
                "0",
                "5",
            ),
            (
                r#"{"policyName":"static","defaultCpuSet":"0","entries":{"d34db33f":"2-3"},"checksum":1}"#,
                "static",
                "0",
                "2-3",
            ),
            (
                r#"{"policyName":"static","defaultCpuSet":"0-1","entries":null}"#,
                "static",
                "0-1",
                "",
            ),
        ] {
            let manager = CpuManager::parse(text).unwrap();
            assert_eq!(manager.policy, policy);
            assert_eq!(manager.default.to_string(), default);
            assert_eq!(manager.exclusive().to_string(), exclusive, "{text}");
        }
        for text in [
            "",
            "[]",
            r#"{"policyName":"static","defaultCpuSet":"0-"}"#,
            r#"{"policyName":"static","entries":{"u":{"a":"x"}}}"#,
        ] {
            assert!(CpuManager::parse(text).is_err(), "{text}");
        }
    }
}
