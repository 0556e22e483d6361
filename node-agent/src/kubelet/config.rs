//! kubelet's configuration file: only what it keeps for the system.

use katalyst_core::cpu_set::CpuSet;
use serde::Deserialize;

use super::Malformed;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    #[serde(default, rename = "reservedSystemCPUs")]
    reserved_system_cpus: String,
}

/// `reservedSystemCPUs`; `None` where it names none.
pub(super) fn reserved(text: &str) -> Result<Option<CpuSet>, Malformed> {
    let configuration: Configuration = katalyst_crds::yaml::read("config.yaml", text)?;
    let cpus = CpuSet::parse(&configuration.reserved_system_cpus)?;
    Ok((!cpus.is_empty()).then_some(cpus))
}
