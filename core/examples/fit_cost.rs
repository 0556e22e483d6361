//! What a decision costs, and what a node weighs: run with `cargo run --release -p katalyst-core --example fit_cost`.
//!
//! Half-full machines with eight GPUs and eight network cards below four switches, as many different states as there are seeds. Each figure is the median and the highest of
//! all states; each state is asked many times and its fastest run counts, so that other work on the machine does not.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::BTreeMap,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use katalyst_core::{
    placement::{
        Machine, NodePlacement, PodRequest, Scope, ScorePolicy, fit,
        machine::{CardSpec, MachineSpec, NicSpec, Spot, ZoneSpec},
        request::{
            Affinity, CardAmount, CardMemory, ContainerRequest, GpuRequest, Near, NumaRequest,
        },
        score,
    },
    qos::Level,
    reclaimed::Reclaimed,
    units::{Bytes, Millicpu},
};

/// Counts what is allocated.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

#[expect(
    unsafe_code,
    reason = "a global allocator is an unsafe trait; this one only counts and passes on"
)]
// SAFETY: every call is passed on to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the pointer came from `alloc` above, hence from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn spot(number: u32) -> Spot {
    Spot {
        address: format!("0000:{number:02x}:00.0"),
        root: format!("pci0000:{:02x}", number / 2),
        switches: vec![format!("0000:{:02x}:01.0", number / 2)],
        numa: Some(number / 4),
    }
}

fn machine(node: u32) -> Machine {
    let zone = |id| ZoneSpec {
        id,
        socket: id,
        cpu: Millicpu::new(64_000),
        memory: Bytes::new(1 << 39),
        ..ZoneSpec::default()
    };
    let card = |number| CardSpec {
        uuid: format!("GPU-{node:08x}-0000-0000-0000-{number:012x}"),
        index: Some(number),
        model: "NVIDIA H100 80GB HBM3".to_owned(),
        memory: Bytes::new(80 << 30),
        healthy: true,
        nvidia: true,
        spot: spot(number),
        links: Vec::new(),
    };
    let nic = |number| NicSpec {
        name: format!("mlx5_{number}"),
        interface: Some(format!("eth{number}")),
        up: true,
        rail: None,
        spot: spot(number),
    };
    Machine::new(MachineSpec {
        zones: vec![zone(0), zone(1)],
        cards: (0..8).map(card).collect(),
        nics: (0..8).map(nic).collect(),
        threads: 2,
        ..MachineSpec::default()
    })
}

fn job(gpus: Option<(u8, CardAmount)>, nics: u8, near: Option<Scope>) -> PodRequest {
    PodRequest {
        level: Level::Shared,
        containers: [ContainerRequest {
            name: "main".into(),
            gpus: gpus.map(|(cards, amount)| GpuRequest { cards, amount }),
            nics,
            ..ContainerRequest::default()
        }]
        .into(),
        affinity: Affinity {
            gpu_nic: near.map(|scope| Near {
                scope,
                required: true,
            }),
            ..Affinity::default()
        },
        ..PodRequest::default()
    }
}

const WHOLE: CardAmount = CardAmount::Whole { at_least_mib: 0 };

fn part(percent: u8) -> CardAmount {
    CardAmount::Part {
        percent,
        memory: CardMemory::Percent(percent),
    }
}

/// A machine on which pods of all kinds have come and gone.
fn used(seed: u32) -> NodePlacement {
    let mut node = NodePlacement::default();
    node.set_machine(Arc::new(machine(seed)));
    node.set_offer(Reclaimed::new(64_000, 1 << 38), true);
    let mut state = u64::from(seed) * 2 + 1;
    let mut draw = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for number in 0..20 {
        let request = match draw(6) {
            0 => job(Some((1, WHOLE)), 1, Some(Scope::Switch)),
            1 | 2 => job(Some((1, part(10 + draw(60) as u8))), 0, None),
            _ => PodRequest {
                level: Level::Reclaimed,
                reclaimed: Some(Reclaimed::new(1_000, 1 << 30)),
                ..PodRequest::default()
            },
        };
        if draw(3) > 0
            && let Ok(placement) = fit(&node, &request)
        {
            let uid = format!("00000000-0000-0000-{seed:04x}-{number:012x}").into();
            let held = placement.allocation(node.machine(), &request);
            node.add(&uid, &Arc::new(held));
        }
    }
    node
}

/// Nanoseconds of the fastest of many runs.
fn fastest(mut run: impl FnMut()) -> f64 {
    const RUNS: u32 = 50;
    (0..20)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..RUNS {
                run();
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(RUNS)
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    let empty = BYTES.load(Relaxed);
    let nodes: Vec<NodePlacement> = (0..500).map(used).collect();
    let pods: usize = nodes.iter().map(|node| node.pods().len()).sum();
    let bytes = (BYTES.load(Relaxed) - empty) as f64;
    println!(
        "{} nodes with 8 GPUs and 8 network cards and {pods} pods: {:.1} KiB a node, {:.1} MiB at 5,000 nodes with {} pods",
        nodes.len(),
        bytes / 1024.0 / nodes.len() as f64,
        bytes * 10.0 / 1024.0 / 1024.0,
        pods * 10,
    );
    let bound = |cpus: u64, gpus| PodRequest {
        level: Level::Dedicated,
        cpu: Millicpu::new(cpus * 1_000),
        memory: Bytes::new(1 << 34),
        numa: NumaRequest::Set {
            exclusive: false,
            count: None,
            ids: None,
            even: false,
            by_socket: false,
        },
        ..job(Some((gpus, WHOLE)), gpus, Some(Scope::Switch))
    };
    let requests = BTreeMap::from([
        (
            "1 reclaimed",
            PodRequest {
                level: Level::Reclaimed,
                reclaimed: Some(Reclaimed::new(4_000, 1 << 32)),
                ..PodRequest::default()
            },
        ),
        ("2 a third of a card", job(Some((1, part(33))), 0, None)),
        ("3 one card", job(Some((1, WHOLE)), 0, None)),
        (
            "4 one card, one network card below its switch",
            job(Some((1, WHOLE)), 1, Some(Scope::Switch)),
        ),
        (
            "5 four cards, four network cards",
            job(Some((4, WHOLE)), 4, Some(Scope::Switch)),
        ),
        (
            "6 eight cards, eight network cards",
            job(Some((8, WHOLE)), 8, Some(Scope::Switch)),
        ),
        (
            "7 bound to NUMA nodes, two cards, two network cards",
            bound(16, 2),
        ),
        ("8 four thirds of cards", job(Some((4, part(33))), 0, None)),
    ]);
    let policy = ScorePolicy::default();
    println!(
        "{:<54} {:>9} {:>10} {:>10}",
        "fit and score of", "fits on", "median ns", "highest ns"
    );
    let idle: Vec<NodePlacement> = (0..1)
        .map(|seed| {
            let mut node = NodePlacement::default();
            node.set_machine(Arc::new(machine(seed)));
            node.set_offer(Reclaimed::new(64_000, 1 << 38), true);
            node
        })
        .collect();
    for (kind, nodes) in [
        ("idle", idle.as_slice()),
        ("used", nodes.get(..100).unwrap_or(&nodes)),
    ] {
        for (name, request) in &requests {
            let mut fits = 0;
            let mut times: Vec<f64> = nodes
                .iter()
                .map(|node| {
                    fits += u32::from(fit(node, request).is_ok());
                    fastest(|| {
                        let placed = fit(black_box(node), black_box(request));
                        black_box(placed.map(|placed| score(node, request, &placed, &policy))).ok();
                    })
                })
                .collect();
            times.sort_by(f64::total_cmp);
            let at = |index: usize| times.get(index).copied().unwrap_or_default();
            println!(
                "{kind} {name:<49} {:>5}/{:<3} {:>10.0} {:>10.0}",
                fits,
                nodes.len(),
                at(times.len() / 2),
                at(times.len().saturating_sub(1)),
            );
        }
    }
}
