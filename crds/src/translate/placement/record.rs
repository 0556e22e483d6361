//! A placement as annotations of the Binding, and back. The API server merges them into the pod in the write that binds it, so the record is as true as the
//! binding; a restarted scheduler reads from it what the pod holds.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::api::resource::Quantity};
use katalyst_core::{
    placement::{
        Allocation, CardShare, HeldCard, Machine, NumaShare, PlacedCard, Placement, PodRequest,
        RecordedDevices, request::RequestError,
    },
    qos::NumaSet,
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};
use thiserror::Error;

use super::pod::placed_request;
use crate::{
    constants::annotation,
    devices::{AllocatedGpu, AllocatedNic, ContainerDevices, DeviceAllocation, DeviceError},
    node::ResourceList,
    translate::{AmountError, machine_list, read_cpu_and_memory, read_reclaimed, reclaimed_list},
};

/// A record that cannot be read.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The pod itself.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The devices.
    #[error(transparent)]
    Devices(#[from] DeviceError),
    /// Not JSON of amounts by NUMA node.
    #[error("annotation {}: {source}", annotation::NUMA_ALLOCATION)]
    Json {
        /// What the reader says.
        #[from]
        source: serde_json::Error,
    },
    /// No number of a NUMA node.
    #[error("annotation {annotation}: {value:?} is not {expected}")]
    Nodes {
        /// The annotation.
        annotation: &'static str,
        /// Its value, or the beginning of it.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
    /// An amount.
    #[error(
        "annotation {}: NUMA node {node}: {source}",
        annotation::NUMA_ALLOCATION
    )]
    Amount {
        /// The NUMA node.
        node: u32,
        /// What is wrong.
        source: AmountError,
    },
}

/// The annotations that record a placement. Empty for a pod that gets neither NUMA nodes nor devices.
///
/// # Errors
///
/// None that a placement of ours can cause: what JSON cannot hold.
pub fn record(
    placement: &Placement,
    machine: &Machine,
    request: &PodRequest,
) -> Result<BTreeMap<String, String>, serde_json::Error> {
    let mut annotations = BTreeMap::new();
    let mut note = |key: &str, value: String| annotations.insert(key.to_owned(), value);
    let nodes = NumaSet::from_ids(placement.numa.iter().map(|share| share.id));
    if let Some(nodes) = nodes {
        if !placement.predicted {
            note(annotation::NUMA_BIND_RESULT, nodes.to_string());
        }
        let shares: BTreeMap<String, ResourceList> = placement
            .numa
            .iter()
            .map(|share| (share.id.to_string(), amounts(share)))
            .collect();
        note(annotation::NUMA_ALLOCATION, serde_json::to_string(&shares)?);
    }
    let containers: BTreeMap<String, ContainerDevices> = placement
        .containers
        .iter()
        .filter_map(|placed| {
            let container = request.containers.get(usize::from(placed.container))?;
            let devices = ContainerDevices {
                gpus: placed
                    .cards
                    .iter()
                    .filter_map(|card| gpu(machine, *card))
                    .collect(),
                nics: placed
                    .nics
                    .iter()
                    .filter_map(|position| nic(machine, usize::from(*position)))
                    .collect(),
            };
            Some((container.name.to_string(), devices))
        })
        .collect();
    if !containers.is_empty() {
        let allocation = DeviceAllocation { containers };
        note(
            annotation::DEVICE_ALLOCATION,
            serde_json::to_string(&allocation)?,
        );
    }
    Ok(annotations)
}

/// CPU and memory; for a reclaimed pod its reclaimed amounts.
fn amounts(share: &NumaShare) -> ResourceList {
    let mut list = ResourceList::new();
    if share.cpu > Millicpu::ZERO || share.memory > Bytes::ZERO {
        list.extend(machine_list(&Reclaimed {
            cpu: share.cpu,
            memory: share.memory,
        }));
    }
    if !share.reclaimed.is_zero() {
        list.extend(reclaimed_list(&share.reclaimed));
    }
    list.retain(|_, amount: &mut Quantity| amount.0 != "0");
    list
}

fn gpu(machine: &Machine, placed: PlacedCard) -> Option<AllocatedGpu> {
    let card = machine.cards().get(usize::from(placed.card))?;
    let (percent, memory_mib) = match placed.share {
        CardShare::Whole => (None, None),
        CardShare::Part { percent, mib } => (Some(percent), Some(u64::from(mib))),
    };
    let node = card.index.filter(|_| card.nvidia);
    Some(AllocatedGpu {
        uuid: card.uuid.to_string(),
        index: card.index,
        percent,
        memory_mib,
        devices: node
            .map(|index| format!("/dev/nvidia{index}"))
            .into_iter()
            .collect(),
    })
}

fn nic(machine: &Machine, position: usize) -> Option<AllocatedNic> {
    let nic = machine.nics().get(position)?;
    Some(AllocatedNic {
        name: nic.name.to_string(),
        interface: nic.interface.as_deref().map(str::to_owned),
        devices: Vec::new(),
    })
}

/// What a bound pod holds, by its request and its record, and what of either cannot be read: that part counts for nothing.
pub fn allocation(pod: &Pod) -> (Allocation, Vec<RecordError>) {
    let (request, errors) = placed_request(pod);
    let mut errors: Vec<RecordError> = errors.into_iter().map(Into::into).collect();
    let none = BTreeMap::new();
    let annotations = pod.metadata.annotations.as_ref().unwrap_or(&none);
    let numa = shares(annotations, &request).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    });
    let devices = DeviceAllocation::parse(annotations).unwrap_or_else(|error| {
        errors.push(error.into());
        None
    });
    let devices = devices.unwrap_or_default().containers;
    let held = devices
        .iter()
        .map(|(name, devices)| (name.as_str(), recorded(devices)));
    (Allocation::recorded(&request, numa, held), errors)
}

fn recorded(devices: &ContainerDevices) -> RecordedDevices {
    // Part of the compute and all of the memory leaves nothing to anybody.
    let share = |gpu: &AllocatedGpu| {
        gpu.memory_mib
            .map_or(CardShare::Whole, |mib| CardShare::Part {
                percent: gpu.percent.unwrap_or(100),
                mib: u32::try_from(mib).unwrap_or(u32::MAX),
            })
    };
    RecordedDevices {
        cards: devices
            .gpus
            .iter()
            .map(|gpu| HeldCard {
                uuid: gpu.uuid.as_str().into(),
                index: gpu.index,
                share: share(gpu),
            })
            .collect(),
        nics: devices
            .nics
            .iter()
            .map(|nic| nic.name.as_str().into())
            .collect(),
    }
}

/// The parts of NUMA nodes: as recorded, or, where only the nodes are known (Katalyst records no more), in equal parts.
fn shares(
    annotations: &BTreeMap<String, String>,
    request: &PodRequest,
) -> Result<Vec<NumaShare>, RecordError> {
    if let Some(text) = annotations.get(annotation::NUMA_ALLOCATION) {
        let lists: BTreeMap<String, ResourceList> = serde_json::from_str(text)?;
        return lists.iter().map(|(node, list)| share(node, list)).collect();
    }
    let Some(text) = annotations.get(annotation::NUMA_BIND_RESULT) else {
        return Ok(Vec::new());
    };
    let nodes = NumaSet::parse(text).ok_or_else(|| RecordError::Nodes {
        annotation: annotation::NUMA_BIND_RESULT,
        value: text.chars().take(80).collect(),
        expected: "a list of NUMA nodes such as 0-1,3",
    })?;
    let count = nodes.count() as u64;
    let part = |of: u64| of.div_ceil(count.max(1));
    let reclaimed = request.reclaimed.unwrap_or_default();
    Ok(nodes
        .iter()
        .map(|id| NumaShare {
            id,
            cpu: Millicpu::new(part(request.cpu.get())),
            memory: Bytes::new(part(request.memory.get())),
            reclaimed: Reclaimed::new(part(reclaimed.cpu.get()), part(reclaimed.memory.get())),
        })
        .collect())
}

fn share(node: &str, list: &ResourceList) -> Result<NumaShare, RecordError> {
    let id = node.parse().map_err(|_| RecordError::Nodes {
        annotation: annotation::NUMA_ALLOCATION,
        value: node.chars().take(80).collect(),
        expected: "the number of a NUMA node",
    })?;
    let wrong = |source| RecordError::Amount { node: id, source };
    let amounts = read_cpu_and_memory(list).map_err(wrong)?;
    Ok(NumaShare {
        id,
        cpu: amounts.cpu,
        memory: amounts.memory,
        reclaimed: read_reclaimed(list).map_err(wrong)?,
    })
}
