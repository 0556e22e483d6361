//! Machines and pods for tests.

use std::sync::Arc;

use crate::{
    placement::{
        Allocation, NodePlacement, Uid,
        machine::{
            Alignment, CardSpec, KubeletPolicy, Machine, MachineSpec, NicSpec, Spot, ZoneSpec,
        },
        request::{
            Affinity, CardAmount, CardMemory, ContainerRequest, GpuRequest, Near, NumaRequest,
            PodRequest, Role,
        },
    },
    placement::{Placement, Scope, Unfit, fit},
    qos::Level,
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

pub(super) const GIB: u64 = 1 << 30;

pub(super) fn zone(id: u32, socket: u32, cpus: u64, gib: u64) -> ZoneSpec {
    ZoneSpec {
        id,
        socket,
        cpu: Millicpu::new(cpus * 1_000),
        memory: Bytes::new(gib * GIB),
        ..ZoneSpec::default()
    }
}

pub(super) fn spot(address: &str, switch: &str, numa: u32) -> Spot {
    Spot {
        address: address.to_owned(),
        root: format!("root-{numa}-{switch}"),
        switches: vec![switch.to_owned()],
        numa: Some(numa),
    }
}

pub(super) fn card(number: u32, switch: &str, numa: u32) -> CardSpec {
    CardSpec {
        uuid: format!("GPU-{number}"),
        index: Some(number),
        model: "NVIDIA H100 80GB HBM3".to_owned(),
        memory: Bytes::new(80 * GIB),
        healthy: true,
        nvidia: true,
        spot: spot(&format!("{number:04}"), switch, numa),
        links: Vec::new(),
    }
}

pub(super) fn nic(number: u32, switch: &str, numa: u32) -> NicSpec {
    NicSpec {
        name: format!("mlx5_{number}"),
        interface: Some(format!("eth{number}")),
        up: true,
        rail: None,
        spot: spot(&format!("{number:04}"), switch, numa),
    }
}

/// Two NUMA nodes of 64 CPUs, four switches, below each two cards and two network cards.
pub(super) fn eight_gpus() -> MachineSpec {
    let switch = |number: u32| format!("switch-{}", number / 2);
    MachineSpec {
        zones: vec![zone(0, 0, 64, 512), zone(1, 1, 64, 512)],
        cards: (0..8).map(|n| card(n, &switch(n), n / 4)).collect(),
        nics: (0..8).map(|n| nic(n, &switch(n), n / 4)).collect(),
        alignment: Alignment::default(),
        threads: 2,
    }
}

/// NUMA nodes 0, 1, 4 and 5 in two sockets, 8 CPUs and 32 GiB each; 1 and 4 are neighbours that the firmware sets apart.
pub(super) fn four_nodes() -> MachineSpec {
    let mut zones: Vec<ZoneSpec> = [(0, 0), (1, 0), (4, 1), (5, 1)]
        .map(|(id, socket)| zone(id, socket, 8, 32))
        .into();
    for zone in &mut zones {
        let socket = zone.socket;
        zone.distances = [(0, 0), (1, 0), (4, 1), (5, 1)]
            .into_iter()
            .filter(|(id, _)| *id != zone.id)
            .map(|(id, of)| (id, if of == socket { 12 } else { 32 }))
            .collect();
    }
    MachineSpec {
        zones,
        ..MachineSpec::default()
    }
}

pub(super) fn kubelet(policy: KubeletPolicy, pod_scope: bool) -> Alignment {
    Alignment { policy, pod_scope }
}

pub(super) fn node(spec: MachineSpec) -> NodePlacement {
    let mut node = NodePlacement::default();
    node.set_machine(Arc::new(Machine::new(spec)));
    node.set_offer(Reclaimed::new(100_000, 100 * GIB), true);
    node
}

/// Places a pod and adds it.
pub(super) fn place(
    node: &mut NodePlacement,
    uid: &str,
    request: &PodRequest,
) -> Result<Placement, Unfit> {
    let placement = fit(node, request)?;
    let held = placement.allocation(node.machine(), request);
    node.add(&uid.into(), &Arc::new(held));
    Ok(placement)
}

pub(super) fn hold(node: &mut NodePlacement, uid: &str, held: Allocation) {
    node.add(&Uid::from(uid), &Arc::new(held));
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what tests give to an optional field"
)]
pub(super) fn whole(cards: u8) -> Option<GpuRequest> {
    Some(GpuRequest {
        cards,
        amount: CardAmount::Whole { at_least_mib: 0 },
    })
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what tests give to an optional field"
)]
pub(super) fn part(cards: u8, percent: u8, mib: u32) -> Option<GpuRequest> {
    Some(GpuRequest {
        cards,
        amount: CardAmount::Part {
            percent,
            memory: CardMemory::Mib(mib),
        },
    })
}

pub(super) fn container(role: Role, gpus: Option<GpuRequest>, nics: u8) -> ContainerRequest {
    ContainerRequest {
        name: "c".into(),
        role,
        gpus,
        nics,
        ..ContainerRequest::default()
    }
}

pub(super) fn job(gpus: Option<GpuRequest>, nics: u8, affinity: Affinity) -> PodRequest {
    PodRequest {
        level: Level::Shared,
        containers: [container(Role::App, gpus, nics)].into(),
        affinity,
        ..PodRequest::default()
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what tests give to an optional field"
)]
pub(super) fn required(scope: Scope) -> Option<Near> {
    Some(Near {
        scope,
        required: true,
    })
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what tests give to an optional field"
)]
pub(super) fn preferred(scope: Scope) -> Option<Near> {
    Some(Near {
        scope,
        required: false,
    })
}

pub(super) fn dedicated(cpus: u64, gib: u64, exclusive: bool, count: Option<u32>) -> PodRequest {
    PodRequest {
        level: Level::Dedicated,
        cpu: Millicpu::new(cpus * 1_000),
        memory: Bytes::new(gib * GIB),
        numa: NumaRequest::Set {
            exclusive,
            count,
            ids: None,
            even: false,
            by_socket: false,
        },
        ..PodRequest::default()
    }
}

/// Numbers of the cards of the only container with devices.
pub(super) fn cards(placement: &Placement) -> Vec<u8> {
    let mut cards: Vec<u8> = placement
        .containers
        .iter()
        .flat_map(|container| container.cards.iter().map(|placed| placed.card))
        .collect();
    cards.sort_unstable();
    cards
}

pub(super) fn nics(placement: &Placement) -> Vec<u8> {
    let mut nics: Vec<u8> = placement
        .containers
        .iter()
        .flat_map(|container| container.nics.iter().copied())
        .collect();
    nics.sort_unstable();
    nics
}

/// `(number of the NUMA node, CPUs)`.
pub(super) fn shares(placement: &Placement) -> Vec<(u32, u64)> {
    let share = |share: &crate::placement::NumaShare| (share.id, share.cpu.get());
    placement.numa.iter().map(share).collect()
}
