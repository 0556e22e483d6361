//! `memory_manager_state`: policy, and the memory nodes of pods that the static policy pinned.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Malformed;

/// State of kubelet's memory manager.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryManager {
    /// `None` or `Static`.
    pub policy: String,
    /// NUMA nodes that containers' memory is pinned to, by the pod's UID.
    pub pods: BTreeMap<String, BTreeSet<u32>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    policy_name: String,
    #[serde(default)]
    entries: Option<BTreeMap<String, BTreeMap<String, Vec<Block>>>>,
    #[serde(default)]
    pod_entries: Option<BTreeMap<String, PodEntry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodEntry {
    #[serde(default)]
    memory_blocks: Vec<Block>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    #[serde(default, rename = "numaAffinity")]
    nodes: Vec<u32>,
}

impl MemoryManager {
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let state: State = serde_json::from_str(text)?;
        let mut pods: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        let of_containers =
            state
                .entries
                .unwrap_or_default()
                .into_iter()
                .flat_map(|(pod, containers)| {
                    containers
                        .into_values()
                        .flatten()
                        .map(move |block| (pod.clone(), block))
                });
        let of_pods = state
            .pod_entries
            .unwrap_or_default()
            .into_iter()
            .flat_map(|(pod, entry)| {
                entry
                    .memory_blocks
                    .into_iter()
                    .map(move |block| (pod.clone(), block))
            });
        for (pod, block) in of_containers.chain(of_pods) {
            pods.entry(pod).or_default().extend(block.nodes);
        }
        pods.retain(|_, nodes| !nodes.is_empty());
        Ok(Self {
            policy: state.policy_name,
            pods,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_pods() {
        let text = r#"{"policyName":"Static","machineState":{"0":{"numberOfAssignments":1,"cells":[0]}},
            "entries":{"u-1":{"a":[{"numaAffinity":[0,1],"type":"memory","size":7}],"b":[]},"u-2":{}},
            "podEntries":{"u-3":{"memoryBlocks":[{"numaAffinity":[1],"type":"memory","size":7}]}},"checksum":1}"#;
        let manager = MemoryManager::parse(text).unwrap();
        assert_eq!(manager.policy, "Static");
        let pods: Vec<_> = manager
            .pods
            .iter()
            .map(|(pod, nodes)| format!("{pod}={nodes:?}"))
            .collect();
        assert_eq!(pods, ["u-1={0, 1}", "u-3={1}"]);
        assert!(MemoryManager::parse("{}").is_err());
    }
}
