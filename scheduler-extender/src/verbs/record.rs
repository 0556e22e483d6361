//! The record of a decision, for the Binding's annotations: the API server writes it into the pod together with the node's name.

use std::collections::BTreeMap;

use katalyst_core::placement::{CardShare, Machine, PlacedCard, PodRequest as Wish};
use katalyst_core::qos::{NumaSet, keys};
use katalyst_core::quantity::format_bytes;
use katalyst_core::reclaimed::Reclaimed;
use katalyst_crds::constants::annotation;
use katalyst_crds::devices::{AllocatedGpu, AllocatedNic, ContainerDevices, DeviceAllocation};

use crate::ledger::Decision;

/// The annotations that say where a pod goes on its node.
pub fn annotations(
    wish: &Wish,
    decision: &Decision,
) -> Result<BTreeMap<String, String>, serde_json::Error> {
    let (placement, machine) = (&decision.placement, &decision.machine);
    let mut record = BTreeMap::new();
    if wish.reclaimed.is_some() {
        record.insert(
            annotation::RECLAIMED_ALLOCATION.to_owned(),
            amounts(&placement.reclaimed),
        );
    }
    // What kubelet will choose is no order to the agent.
    let zones = placement.numa.iter().map(|share| share.id);
    if !placement.predicted
        && let Some(zones) = NumaSet::from_ids(zones)
    {
        record.insert(keys::NUMA_BIND_RESULT.to_owned(), zones.to_string());
    }
    let containers: BTreeMap<String, ContainerDevices> = placement
        .containers
        .iter()
        .filter_map(|placed| {
            let name = &wish.containers.get(usize::from(placed.container))?.name;
            let devices = ContainerDevices {
                gpus: placed
                    .cards
                    .iter()
                    .filter_map(|card| gpu(machine, card))
                    .collect(),
                nics: placed
                    .nics
                    .iter()
                    .filter_map(|nic| self::nic(machine, *nic))
                    .collect(),
            };
            Some((name.to_string(), devices))
        })
        .collect();
    if !containers.is_empty() {
        record.insert(
            annotation::DEVICE_ALLOCATION.to_owned(),
            serde_json::to_string(&DeviceAllocation { containers })?,
        );
    }
    Ok(record)
}

/// `{"cpu":"4000m","memory":"1Gi"}`.
fn amounts(amount: &Reclaimed) -> String {
    serde_json::json!({"cpu": format!("{}m", amount.cpu.get()), "memory": format_bytes(amount.memory)}).to_string()
}

fn gpu(machine: &Machine, placed: &PlacedCard) -> Option<AllocatedGpu> {
    let card = machine.cards().get(usize::from(placed.card))?;
    let (percent, memory_mib) = match placed.share {
        CardShare::Whole => (None, None),
        CardShare::Part { percent, mib } => ((percent > 0).then_some(percent), Some(mib.into())),
    };
    // Other vendors' device nodes have names of their own, which the agent knows.
    let device = card.index.filter(|_| card.nvidia);
    Some(AllocatedGpu {
        uuid: card.uuid.to_string(),
        index: card.index,
        percent,
        memory_mib,
        devices: device
            .map(|index| format!("/dev/nvidia{index}"))
            .into_iter()
            .collect(),
    })
}

fn nic(machine: &Machine, position: u8) -> Option<AllocatedNic> {
    let nic = machine.nics().get(usize::from(position))?;
    Some(AllocatedNic {
        name: nic.name.to_string(),
        interface: nic.interface.as_deref().map(str::to_owned),
        devices: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use katalyst_core::placement::machine::{CardSpec, MachineSpec, NicSpec};
    use katalyst_core::placement::request::ContainerRequest;
    use katalyst_core::placement::{ContainerPlacement, NumaShare, Placement};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_record_says_what_was_decided_and_the_node_reads_it() {
        let machine = Machine::new(MachineSpec {
            cards: vec![CardSpec {
                uuid: "GPU-1".to_owned(),
                index: Some(3),
                nvidia: true,
                ..CardSpec::default()
            }],
            nics: vec![NicSpec {
                name: "mlx5_0".to_owned(),
                ..NicSpec::default()
            }],
            ..MachineSpec::default()
        });
        let share = CardShare::Part {
            percent: 0,
            mib: 512,
        };
        let decision = Decision {
            placement: Placement {
                numa: [0, 1, 3]
                    .map(|id| NumaShare {
                        id,
                        ..NumaShare::default()
                    })
                    .into_iter()
                    .collect(),
                containers: [ContainerPlacement {
                    container: 0,
                    cards: [PlacedCard { card: 0, share }].into_iter().collect(),
                    nics: [0].into_iter().collect(),
                }]
                .into_iter()
                .collect(),
                ..Placement::default()
            },
            machine: Arc::new(machine),
        };
        let wish = Wish {
            containers: [ContainerRequest {
                name: "main".into(),
                ..ContainerRequest::default()
            }]
            .into(),
            ..Wish::default()
        };
        let record = annotations(&wish, &decision).unwrap();
        assert_eq!(record[keys::NUMA_BIND_RESULT], "0-1,3");
        let devices: Value = serde_json::from_str(&record[annotation::DEVICE_ALLOCATION]).unwrap();
        assert_eq!(
            devices,
            json!({"containers": {"main": {
                "gpus": [{"uuid": "GPU-1", "index": 3, "memoryMiB": 512, "devices": ["/dev/nvidia3"]}],
                "nics": [{"name": "mlx5_0"}],
            }}})
        );
        let read = DeviceAllocation::parse(&record).unwrap().unwrap();
        assert_eq!(read.containers["main"].gpus[0].memory_mib, Some(512));
        assert!(!record.contains_key(annotation::RECLAIMED_ALLOCATION));
    }

    #[test]
    fn what_kubelet_will_choose_is_not_written() {
        let decision = Decision {
            placement: Placement {
                numa: [NumaShare::default()].into_iter().collect(),
                predicted: true,
                ..Placement::default()
            },
            machine: Arc::default(),
        };
        assert!(annotations(&Wish::default(), &decision).unwrap().is_empty());
    }
}
