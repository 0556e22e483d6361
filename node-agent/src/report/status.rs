//! Builds the report.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use katalyst_core::{
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};
use katalyst_crds::{
    constants::zone,
    node::{
        AgentReport, Attribute, CustomNodeResourceStatus, GroupMetric, NodeMetric,
        NodeMetricStatus, ResourceMetric, Resources, ServicePeak, Sibling, TopologyZone,
        ZoneChildren,
    },
    translate::{cpu_and_memory, machine_list},
};

use crate::{
    reflex::Snapshot,
    topology::{NumaNode, by_socket, format_cpus},
};

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

/// The agent's half of the status. What it leaves out, the controller owns (and `topologyPolicy`, which is kubelet's to tell).
pub fn report_status(
    now: Timestamp,
    snapshot: &Snapshot,
    topology: &[NumaNode],
    agent: &AgentIdentity,
    notices: Vec<String>,
) -> CustomNodeResourceStatus {
    CustomNodeResourceStatus {
        topology_zone: zones(topology),
        node_metric_status: Some(NodeMetricStatus {
            update_time: Some(Time(now)),
            node_metric: Some(NodeMetric {
                generic_usage: Some(metric(snapshot.machine)),
                ..NodeMetric::default()
            }),
            group_metric: snapshot
                .levels
                .iter()
                .map(|group| GroupMetric {
                    qos_level: group.level.as_str().to_owned(),
                    generic_usage: Some(metric(group.usage)),
                    pod_list: group.pods.iter().take(POD_LIST).cloned().collect(),
                    ..GroupMetric::default()
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

/// Sockets with their NUMA nodes.
fn zones(topology: &[NumaNode]) -> Vec<TopologyZone> {
    by_socket(topology)
        .into_iter()
        .map(|(socket, nodes)| {
            let whole = nodes.iter().map(|node| capacity(node)).sum();
            TopologyZone {
                type_: zone::SOCKET.to_owned(),
                name: socket.to_string(),
                resources: Some(whole_resources(whole)),
                children: ZoneChildren::Zones(
                    nodes
                        .into_iter()
                        .map(|node| numa_zone(node, topology))
                        .collect(),
                ),
                ..TopologyZone::default()
            }
        })
        .collect()
}

fn capacity(node: &NumaNode) -> Reclaimed {
    Reclaimed {
        cpu: Millicpu::new((node.cpus.len() as u64).saturating_mul(1_000)),
        memory: node.memory,
    }
}

fn whole_resources(of: Reclaimed) -> Resources {
    Resources {
        capacity: Some(machine_list(&of)),
        ..Resources::default()
    }
}

fn numa_zone(node: &NumaNode, all: &[NumaNode]) -> TopologyZone {
    TopologyZone {
        type_: zone::NUMA.to_owned(),
        name: node.id.to_string(),
        resources: Some(whole_resources(capacity(node))),
        attributes: vec![Attribute {
            name: "cpu_list".to_owned(),
            value: format_cpus(&node.cpus),
        }],
        siblings: all
            .iter()
            .zip(&node.distances)
            .filter(|(other, _)| other.id != node.id)
            .map(|(other, distance)| Sibling {
                type_: zone::NUMA.to_owned(),
                name: other.id.to_string(),
                attributes: vec![Attribute {
                    name: "numa_distance".to_owned(),
                    value: distance.to_string(),
                }],
            })
            .collect(),
        ..TopologyZone::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reflex::{CeilingView, LevelUsage, ServicePeakView};

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
            levels: vec![LevelUsage {
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
        let topology = [
            NumaNode {
                id: 0,
                socket: 0,
                cpus: vec![0, 1],
                memory: Bytes::new(4 << 30),
                distances: vec![10, 21],
            },
            NumaNode {
                id: 1,
                socket: 1,
                cpus: vec![2, 3],
                memory: Bytes::new(4 << 30),
                distances: vec![21, 10],
            },
        ];
        let agent = AgentIdentity {
            version: "1.2.3".to_owned(),
            started: Timestamp::UNIX_EPOCH,
        };
        let status = report_status(
            Timestamp::UNIX_EPOCH,
            &snapshot(),
            &topology,
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
        assert_eq!(metric["reclaimedCeiling"]["cpu"], "2");
        assert_eq!(metric["agent"]["notices"][0], "psi: none");
        let numa = &json["topologyZone"][1]["children"][0];
        assert_eq!(numa["name"], "1");
        assert_eq!(numa["resources"]["capacity"]["memory"], "4Gi");
        assert_eq!(numa["attributes"][0]["value"], "2-3");
        assert_eq!(numa["siblings"][0]["attributes"][0]["value"], "21");
    }
}
