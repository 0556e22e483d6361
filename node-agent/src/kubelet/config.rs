//! kubelet's configuration file: what it keeps for the system, and how its topology manager aligns pods.

use katalyst_core::cpu_set::CpuSet;
use serde::Deserialize;

use super::Malformed;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    #[serde(default, rename = "reservedSystemCPUs")]
    reserved_system_cpus: String,
    #[serde(default)]
    topology_manager_policy: String,
    #[serde(default)]
    topology_manager_scope: String,
}

/// `reservedSystemCPUs`; `None` where it names none.
pub(super) fn reserved(text: &str) -> Result<Option<CpuSet>, Malformed> {
    let configuration: Configuration = katalyst_crds::yaml::read("config.yaml", text)?;
    let cpus = CpuSet::parse(&configuration.reserved_system_cpus)?;
    Ok((!cpus.is_empty()).then_some(cpus))
}

/// The topology manager's policy and scope in one word, as the CNR's `topologyPolicy` spells them. kubelet's own defaults stand for what the
/// file leaves out: policy `none`, scope `container`. `None` for a word that this version does not know.
pub(super) fn topology_policy(text: &str) -> Result<Option<&'static str>, Malformed> {
    let configuration: Configuration = katalyst_crds::yaml::read("config.yaml", text)?;
    let pod = match configuration.topology_manager_scope.as_str() {
        "" | "container" => false,
        "pod" => true,
        _ => return Ok(None),
    };
    Ok(
        match (configuration.topology_manager_policy.as_str(), pod) {
            ("" | "none", _) => Some("None"),
            ("best-effort", false) => Some("BestEffortContainerLevel"),
            ("best-effort", true) => Some("BestEffortPodLevel"),
            ("restricted", false) => Some("RestrictedContainerLevel"),
            ("restricted", true) => Some("RestrictedPodLevel"),
            ("single-numa-node", false) => Some("SingleNUMANodeContainerLevel"),
            ("single-numa-node", true) => Some("SingleNUMANodePodLevel"),
            _ => None,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_and_scope_are_one_word() {
        for (text, expected) in [
            ("kind: KubeletConfiguration\n", Some("None")),
            (
                "topologyManagerPolicy: restricted\n",
                Some("RestrictedContainerLevel"),
            ),
            (
                "topologyManagerPolicy: single-numa-node\ntopologyManagerScope: pod\n",
                Some("SingleNUMANodePodLevel"),
            ),
            ("topologyManagerPolicy: perfect\n", None),
            ("topologyManagerScope: cluster\n", None),
        ] {
            assert_eq!(topology_policy(text).unwrap(), expected, "{text}");
        }
    }
}
