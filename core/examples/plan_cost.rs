//! What one plan of the CPU pools costs.
//!
//! ```text
//! cargo run --release -p katalyst-core --example plan_cost -- [--report FILE] [--rounds N]
//! ```
//! `--report` writes a JSON list of `{id, shows, value, unit, bar, holds, where}`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use katalyst_core::cpu_set::CpuSet;
use katalyst_core::pools::{PodReason, PoolInput, PoolParams, PoolPlan, PoolPod, plan_pools};
use katalyst_core::qos::{CpuWishes, Level};
use katalyst_core::topology::{Cpu, NumaNode, Topology};
use katalyst_core::units::{Bytes, Millicpu};
use serde_json::{Value, json};

/// A plan is made every second or so, and when a pod starts the container runtime waits for it: 1 ms is nothing to either.
const BAR_MICROSECONDS: f64 = 1000.0;

/// NUMA nodes, physical cores in each, CPUs in each core, last-level caches in each node: 512 CPUs.
const MACHINE: [u32; 4] = [8, 32, 2, 4];

/// Measures plans for nodes with many pods.
#[derive(Parser)]
struct Args {
    /// Where to write the figures.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Plans of each kind.
    #[arg(long, default_value_t = 400)]
    rounds: usize,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plan_cost: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let topology = machine();
    let reserved = CpuSet::parse("0,256")?;
    let mut figures = Vec::new();
    for pods in [10, 110, 500] {
        let pods = population(pods);
        let first = plan(&topology, &reserved, &pods, None);
        let own = first
            .reasons
            .values()
            .filter(|reason| **reason == PodReason::DedicatedNew)
            .count();
        ensure!(own > 0, "no dedicated pod was placed: {:?}", first.refused);
        let mut running = pods.clone();
        for pod in &mut running {
            pod.current = first.pods.get(&pod.uid).cloned();
        }
        let mut forgotten = running.clone();
        for pod in &mut forgotten {
            if let Some(current) = &mut pod.current {
                current.pool.clear();
            }
        }
        let mut arrival = running.clone();
        arrival.push(PoolPod {
            age_seconds: 0.0,
            ..pod("new", Level::Dedicated, 2000)
        });
        let cases: [(&str, &str, &[PoolPod], Option<&PoolPlan>); 4] = [
            ("rest", "nothing changed", &running, Some(&first)),
            ("arrival", "one more dedicated pod", &arrival, Some(&first)),
            ("first", "the first plan of a node", &pods, None),
            (
                "lost",
                "rebuilt from what the kernel holds",
                &forgotten,
                None,
            ),
        ];
        for (case, shows, pods, previous) in cases {
            let count = running.len();
            let microseconds =
                measure(&topology, &reserved, pods, previous, args.rounds)?.as_secs_f64() * 1e6;
            println!(
                "{count:>4} pods, {own:>3} dedicated, {case:<8} median {microseconds:>8.1} us a plan"
            );
            let bar = (count == 500).then_some(BAR_MICROSECONDS);
            figures.push(json!({
                "id": format!("pool-plan-{count}-{case}"),
                "shows": format!("plan of the CPU pools, {count} pods, 8 NUMA nodes, 512 CPUs, {shows}, median"),
                "value": (microseconds * 10.0).round() / 10.0,
                "unit": "us",
                "bar": bar,
                "holds": bar.is_none_or(|bar| microseconds <= bar),
                "where": "core/examples/plan_cost.rs",
            }));
        }
    }
    if let Some(path) = &args.report {
        std::fs::write(path, serde_json::to_vec_pretty(&Value::Array(figures))?)
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn measure(
    topology: &Topology,
    reserved: &CpuSet,
    pods: &[PoolPod],
    previous: Option<&PoolPlan>,
    rounds: usize,
) -> Result<Duration> {
    let mut times: Vec<Duration> = (0..rounds.max(1))
        .map(|_| {
            let started = Instant::now();
            black_box(plan(topology, reserved, pods, previous));
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .copied()
        .context("no round was run")
}

fn plan(
    topology: &Topology,
    reserved: &CpuSet,
    pods: &[PoolPod],
    previous: Option<&PoolPlan>,
) -> PoolPlan {
    let input = PoolInput {
        topology,
        reserved,
        pods,
        previous,
        now_seconds: 1000.0,
    };
    plan_pools(&input, &PoolParams::default())
}

/// A mix as on a colocated node: mostly plain services, some in named pools, bound or dedicated, and batch.
fn population(count: usize) -> Vec<PoolPod> {
    (0..count)
        .map(|index| {
            let uid = format!(
                "{:08x}-6d52-4a5e-9c42-{index:012}",
                index * 2_654_435_761 % 0xffff_ffff
            );
            let level = match index % 10 {
                0 => Level::Dedicated,
                1 => Level::Reclaimed,
                2 if index % 20 == 2 => Level::System,
                _ => Level::Shared,
            };
            let request = 200 + (index as u64 * 37) % 900;
            PoolPod {
                request: Millicpu::new(if level == Level::Dedicated {
                    request * 3
                } else {
                    request / 2
                }),
                usage: Some(Millicpu::new(request / 3)),
                wishes: CpuWishes {
                    cpuset_pool: (index % 10 == 3).then(|| format!("share-{}", index % 6)),
                    ..CpuWishes::default()
                },
                numa_binding: index % 10 == 4 || index % 20 == 0,
                ..pod(&uid, level, request)
            }
        })
        .collect()
}

fn pod(uid: &str, level: Level, request: u64) -> PoolPod {
    PoolPod {
        uid: uid.to_owned(),
        level,
        request: Millicpu::new(request),
        limit: None,
        usage: None,
        wishes: CpuWishes::default(),
        numa_binding: false,
        numa_exclusive: false,
        numa_bind_result: None,
        memory_request: Bytes::ZERO,
        age_seconds: 1000.0,
        runs_wild: false,
        kubelet_cpus: CpuSet::new(),
        current: None,
    }
}

fn machine() -> Topology {
    let [nodes, cores, threads, caches] = MACHINE;
    let all = nodes * cores;
    let cpus = (0..all * threads).map(|id| {
        let core = id % all;
        let numa = core / cores;
        Cpu {
            id,
            core,
            l3: numa * cores + (core % cores) / (cores / caches) * (cores / caches),
            numa,
            socket: numa / 4,
        }
    });
    let numa = (0..nodes).map(|id| NumaNode {
        id,
        socket: id / 4,
        memory: Bytes::new(64 << 30),
        distances: (0..nodes)
            .map(|to| {
                (
                    to,
                    if to == id {
                        10
                    } else if to / 4 == id / 4 {
                        12
                    } else {
                        32
                    },
                )
            })
            .collect::<BTreeMap<_, _>>(),
        ..NumaNode::default()
    });
    Topology::new(cpus, numa)
}
