//! Builds the report.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use katalyst_core::{
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};
use katalyst_crds::{
    node::{
        AgentReport, CustomNodeResourceStatus, GroupMetric, NodeMetric, NodeMetricStatus,
        NumaMetric, ResourceMetric, ServicePeak, TopologyZone,
    },
    translate::{cpu_and_memory, machine_list},
};

use crate::reflex::Snapshot;

/// The schema takes no more names of pods in one group.
const POD_LIST: usize = 4_096;

/// What the agent says of itself.
#[derive(Debug, Clone)]
pub struct AgentIdentity {
    /// Its version.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
}

/// The agent's half of the status. What it leaves out, the controller owns.
pub fn report_status(
    now: Timestamp,
    snapshot: &Snapshot,
    zones: Vec<TopologyZone>,
    topology_policy: Option<&str>,
    agent: &AgentIdentity,
    notices: Vec<String>,
) -> CustomNodeResourceStatus {
    CustomNodeResourceStatus {
        topology_zone: zones,
        topology_policy: topology_policy.map(str::to_owned),
        node_metric_status: Some(NodeMetricStatus {
            update_time: Some(Time(now)),
            node_metric: Some(NodeMetric {
                generic_usage: Some(metric(snapshot.machine)),
                numa_usage: snapshot
                    .numa
                    .iter()
                    .map(|numa| NumaMetric {
                        numa_id: i64::from(numa.node),
                        usage: Some(metric(numa.machine)),
                    })
                    .collect(),
            }),
            group_metric: snapshot
                .levels
                .iter()
                .map(|group| GroupMetric {
                    qos_level: group.level.as_str().to_owned(),
                    generic_usage: Some(metric(group.usage)),
                    numa_usage: group
                        .memory_nodes
                        .iter()
                        .map(|(node, memory)| NumaMetric {
                            numa_id: i64::from(*node),
                            // Whose CPU time it was on a node, the kernel does not count.
                            usage: Some(ResourceMetric {
                                cpu: None,
                                memory: metric(Reclaimed {
                                    cpu: Millicpu::ZERO,
                                    memory: *memory,
                                })
                                .memory,
                            }),
                        })
                        .collect(),
                    pod_list: group.pods.iter().take(POD_LIST).cloned().collect(),
                })
                .collect(),
            service_peak: Some(ServicePeak {
                window_seconds: Some(snapshot.service_peak.window_seconds as i64),
                filled_seconds: Some(snapshot.service_peak.filled_seconds as i64),
                samples: Some(i64::try_from(snapshot.service_peak.samples).unwrap_or(i64::MAX)),
                usage: Some(machine_list(&snapshot.service_peak.usage)),
            }),
            reclaimed_ceiling: Some(machine_list(&whole_mebibytes(snapshot.ceiling.value))),
            capacity: Some(machine_list(&snapshot.capacity)),
            agent: Some(AgentReport {
                version: Some(agent.version.clone()),
                start_time: Some(Time(agent.started)),
                cgroup: Some(snapshot.cgroup.clone()),
                notices,
            }),
        }),
        ..CustomNodeResourceStatus::default()
    }
}

fn metric(usage: Reclaimed) -> ResourceMetric {
    let (cpu, memory) = cpu_and_memory(&usage);
    ResourceMetric {
        cpu: Some(cpu),
        memory: Some(memory),
    }
}

/// The ceiling's memory follows from fractions; nobody reads its last bytes.
fn whole_mebibytes(of: Reclaimed) -> Reclaimed {
    Reclaimed {
        memory: Bytes::new(of.memory.get() >> 20 << 20),
        ..of
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        reflex::{CeilingView, LevelUsage, ServicePeakView},
        sample::NumaUsage,
    };

    /// A snapshot for tests of this module's neighbours too.
    pub(in crate::report) fn snapshot() -> Snapshot {
        Snapshot {
            at_nanos: 1,
            cgroup: "v2".to_owned(),
            kubepods: "kubepods".to_owned(),
            capacity: Reclaimed::new(4_000, 8 << 30),
            machine: Reclaimed::new(3_000, 4 << 30),
            service: Reclaimed::new(1_500, 3 << 30),
            reclaimed: Reclaimed::new(1_500, 1 << 30),
            recent_peak: Reclaimed::new(1_600, 3 << 30),
            service_peak: ServicePeakView {
                window_seconds: 300.0,
                filled_seconds: 42.9,
                samples: 42,
                usage: Reclaimed::new(1_750, 3 << 30),
            },
            ceiling: CeilingView {
                value: Reclaimed::new(2_000, 4 << 30),
                cpu_reason: "room",
                memory_reason: "room",
            },
            surge_watch: String::new(),
            numa: vec![NumaUsage {
                node: 0,
                machine: Reclaimed::new(3_000, 4 << 30),
                service: Reclaimed::new(1_500, 3 << 30),
                reclaimed: Reclaimed::new(1_500, 1 << 30),
                cpu_estimated: false,
            }],
            levels: vec![LevelUsage {
                memory_nodes: std::collections::BTreeMap::from([(0, Bytes::new(1 << 30))]),
                level: Level::Reclaimed,
                usage: Reclaimed::new(1_500, 1 << 30),
                pods: vec!["n/b".to_owned()],
            }],
            pods: Vec::new(),
            limits: Vec::new(),
        }
    }

    use katalyst_core::qos::Level;

    #[test]
    fn the_report_is_the_agents_half_only() {
        let agent = AgentIdentity {
            version: "1.2.3".to_owned(),
            started: Timestamp::UNIX_EPOCH,
        };
        let status = report_status(
            Timestamp::UNIX_EPOCH,
            &snapshot(),
            vec![TopologyZone::default()],
            Some("RestrictedPodLevel"),
            &agent,
            vec!["psi: none".to_owned()],
        );
        let json = serde_json::to_value(&status).unwrap();
        for theirs in ["resources", "conditions", "reclaim"] {
            assert!(json.get(theirs).is_none(), "{theirs} in {json}");
        }
        let metric = &json["nodeMetricStatus"];
        assert_eq!(metric["updateTime"], "1970-01-01T00:00:00Z");
        assert_eq!(
            metric["servicePeak"]["usage"],
            serde_json::json!({"cpu": "1750m", "memory": "3Gi"})
        );
        assert_eq!(metric["servicePeak"]["filledSeconds"], 42);
        assert_eq!(metric["groupMetric"][0]["QoSLevel"], "reclaimed_cores");
        assert_eq!(
            metric["nodeMetric"]["numaUsage"],
            serde_json::json!([{"numaId": 0, "usage": {"cpu": "3", "memory": "4Gi"}}])
        );
        assert_eq!(
            metric["groupMetric"][0]["numaUsage"],
            serde_json::json!([{"numaId": 0, "usage": {"memory": "1Gi"}}])
        );
        assert_eq!(metric["reclaimedCeiling"]["cpu"], "2");
        assert_eq!(metric["agent"]["notices"][0], "psi: none");
        assert_eq!(json["topologyZone"].as_array().unwrap().len(), 1);
        assert_eq!(json["topologyPolicy"], "RestrictedPodLevel");
    }
}
