//! What a pod on a node holds of it, read from its requests and from the record that its Binding left in its annotations.
//!
//! Amounts come from the requests, which cannot change; NUMA nodes and devices from the record. A record that cannot be read is told
//! once by the caller: the devices that it named are then not counted here, and are still told by the node's own report.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use katalyst_core::placement::request::{NumaRequest, Role};
use katalyst_core::placement::{Allocation, CardShare, HeldCard, NumaShare, PodRequest as Wish};
use katalyst_core::qos::{NumaSet, keys};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_core::units::{Bytes, Millicpu};
use katalyst_crds::devices::{AllocatedGpu, DeviceAllocation};

use crate::request::{amounts_of, wish_of};

/// What the pod holds, and what is wrong with what it says.
pub fn held(pod: &Pod) -> (Allocation, Option<String>) {
    let mut defect = None;
    // Annotations may be edited after the pod was placed; what it requests may not.
    let wish = wish_of(pod).or_else(|error| {
        defect = Some(error.to_string());
        amounts_of(pod)
    });
    let wish = wish.unwrap_or_else(|error| {
        defect = Some(error.to_string());
        Wish::default()
    });
    let none = BTreeMap::new();
    let annotations = pod.metadata.annotations.as_ref().unwrap_or(&none);
    let devices = DeviceAllocation::parse(annotations)
        .unwrap_or_else(|error| {
            defect = Some(error.to_string());
            None
        })
        .unwrap_or_default();
    let zones = annotations
        .get(keys::NUMA_BIND_RESULT)
        .and_then(|text| NumaSet::parse(text));
    let reclaimed = wish.reclaimed.unwrap_or_default();
    let numa = zones
        .map(|zones| shares(&zones, &wish, reclaimed))
        .unwrap_or_default();
    let allocation = Allocation {
        reclaimed,
        floating: if numa.is_empty() {
            wish.cpu
        } else {
            Millicpu::ZERO
        },
        exclusive: matches!(
            wish.numa,
            NumaRequest::Set {
                exclusive: true,
                ..
            }
        ),
        numa,
        cards: cards(&devices, &wish),
        nics: nics(&devices),
    };
    (allocation, defect)
}

/// The pod in equal parts, as the node's agent divides it until its report says better; what does not divide is the first ones'.
fn shares(zones: &NumaSet, wish: &Wish, reclaimed: Reclaimed) -> Box<[NumaShare]> {
    let count = (zones.count() as u64).max(1);
    let part = |total: u64, at: u64| total / count + u64::from(at < total % count);
    zones
        .iter()
        .zip(0..)
        .map(|(id, at)| NumaShare {
            id,
            cpu: Millicpu::new(part(wish.cpu.get(), at)),
            memory: Bytes::new(part(wish.memory.get(), at)),
            reclaimed: Reclaimed::new(
                part(reclaimed.cpu.get(), at),
                part(reclaimed.memory.get(), at),
            ),
        })
        .collect()
}

/// Each card once: shares of containers that run together add up, an init container takes turns with them.
fn cards(devices: &DeviceAllocation, wish: &Wish) -> Box<[HeldCard]> {
    let is_init = |name: &str| {
        let named = wish.containers.iter().find(|each| *each.name == *name);
        named.is_some_and(|container| container.role == Role::Init)
    };
    let mut held: Vec<HeldCard> = Vec::new();
    for init in [false, true] {
        let of_role = devices
            .containers
            .iter()
            .filter(|(name, _)| is_init(name) == init);
        for gpu in of_role.flat_map(|(_, devices)| &devices.gpus) {
            let same = |card: &&mut HeldCard| *card.uuid == *gpu.uuid && card.index == gpu.index;
            match held.iter_mut().find(same) {
                Some(card) if init => card.share = card.share.most(share(gpu)),
                Some(card) => card.share = card.share.sum(share(gpu)),
                None => held.push(HeldCard {
                    uuid: gpu.uuid.as_str().into(),
                    index: gpu.index,
                    share: share(gpu),
                }),
            }
        }
    }
    held.into()
}

fn share(gpu: &AllocatedGpu) -> CardShare {
    match (gpu.percent, gpu.memory_mib) {
        (None, None) => CardShare::Whole,
        (percent, mib) => CardShare::Part {
            percent: percent.unwrap_or(0),
            mib: u32::try_from(mib.unwrap_or(0)).unwrap_or(u32::MAX),
        },
    }
}

fn nics(devices: &DeviceAllocation) -> Box<[std::sync::Arc<str>]> {
    let all = devices.containers.values().flat_map(|each| &each.nics);
    let mut names: Vec<std::sync::Arc<str>> = all.map(|nic| nic.name.as_str().into()).collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(annotations: &serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "annotations": annotations},
            "spec": {"containers": [
                {"name": "a", "resources": {"requests": {"cpu": "3", "memory": "3Gi", "resource.katalyst.kubewharf.io/reclaimed_millicpu": "5"}}},
                {"name": "b"},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn requests_and_record_together() {
        let devices = json!({"containers": {
            "a": {"gpus": [{"uuid": "GPU-1", "percent": 30, "memoryMiB": 10}], "nics": [{"name": "mlx5_0"}]},
            "b": {"gpus": [{"uuid": "GPU-1", "percent": 20, "memoryMiB": 5}, {"uuid": "GPU-2"}], "nics": [{"name": "mlx5_0"}]},
        }});
        let pod = pod(&json!({
            "katalyst.kubewharf.io/numa_bind_result": "1,3",
            "katalyst.kubewharf.io/device_allocation": devices.to_string(),
        }));
        let (allocation, defect) = held(&pod);
        assert_eq!(defect, None);
        let share = |uuid: &str| {
            allocation
                .cards
                .iter()
                .find(|card| *card.uuid == *uuid)
                .unwrap()
                .share
        };
        assert_eq!(
            share("GPU-1"),
            CardShare::Part {
                percent: 50,
                mib: 15
            }
        );
        assert_eq!(share("GPU-2"), CardShare::Whole);
        assert_eq!(allocation.nics.len(), 1);
        let cpus: Vec<_> = allocation
            .numa
            .iter()
            .map(|share| (share.id, share.cpu.get(), share.reclaimed.cpu.get()))
            .collect();
        assert_eq!(cpus, [(1, 1500, 3), (3, 1500, 2)]);
        assert_eq!(
            (allocation.reclaimed.cpu.get(), allocation.floating.get()),
            (5, 0)
        );
    }

    #[test]
    fn a_pod_whose_annotations_mean_nothing_still_holds_its_amounts() {
        let pod = pod(&json!({
            "katalyst.kubewharf.io/qos_level": "nonsense",
            "katalyst.kubewharf.io/device_allocation": "{",
        }));
        let (allocation, defect) = held(&pod);
        assert!(defect.is_some());
        assert_eq!(
            (allocation.reclaimed.cpu.get(), allocation.floating.get()),
            (5, 3000)
        );
        assert!(allocation.cards.is_empty());
    }
}
