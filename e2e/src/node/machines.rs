//! The scenarios in virtual machines: each machine boots, runs them all, and powers off. Lines are shown as they come.
//!
//! Machines differ in what the agent must cope with: NUMA nodes and their distances, a node of memory only, pressure. All have cgroup v2 (their kernel is built
//! without version 1 of cpuset and memory; the host's scenarios cover it) and swap on zram, except where
//! it would hide something. Time inside is slow (software emulation), so limits are longer there and the report says so.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;

use super::suite::ROWS;
use crate::{
    cache::Cache,
    report::{self, Row},
    vm::{
        assets::{self, Assets},
        bare,
        machine::{ACCELERATOR_VARIABLE, Accelerator, Machine, NumaNode},
        root_image::Contents,
        seed::BareRun,
    },
};

/// Where the program is in the machine.
const PROGRAM: &str = "/usr/bin/katalyst-node-scenarios";
/// The bare machine has no loader and no libraries.
const DYNAMIC: &str =
    "is not static: build it with RUSTFLAGS=\"-C target-feature=+crt-static\" (make e2e-vm does)";

/// A machine and what is special about it.
struct Kind {
    name: &'static str,
    words: &'static str,
    build: fn() -> Machine,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "two-nodes",
        words: "two NUMA nodes",
        build: two_nodes,
    },
    Kind {
        name: "four-nodes",
        words: "four NUMA nodes with unequal distances, the last without CPUs",
        build: four_nodes,
    },
    Kind {
        name: "no-pressure",
        words: "one NUMA node, no pressure reported, no swap",
        build: no_pressure,
    },
];

fn two_nodes() -> Machine {
    Machine {
        numa: vec![
            NumaNode {
                memory_mib: 640,
                cpus: 2
            };
            2
        ],
        zram_mib: 256,
        ..Machine::two_nodes("scenarios", None)
    }
}

/// Nodes 0 and 1 are near each other, node 2 is far, node 3 has memory only and is nearest to node 2.
fn four_nodes() -> Machine {
    let node = |cpus| NumaNode {
        memory_mib: 384,
        cpus,
    };
    Machine {
        numa: vec![node(2), node(2), node(2), node(0)],
        distances: vec![
            (0, 1, 12),
            (0, 2, 31),
            (1, 2, 31),
            (0, 3, 40),
            (1, 3, 40),
            (2, 3, 17),
        ],
        zram_mib: 256,
        ..Machine::two_nodes("scenarios", None)
    }
}

fn no_pressure() -> Machine {
    Machine {
        numa: vec![NumaNode {
            memory_mib: 768,
            cpus: 2,
        }],
        psi: false,
        ..Machine::two_nodes("scenarios", None)
    }
}

/// Flags of `katalyst-e2e vm scenarios`.
#[derive(Debug, Args)]
pub struct MachinesArgs {
    /// The static program `katalyst-node-scenarios`.
    #[arg(long, value_name = "FILE")]
    program: PathBuf,
    /// Only these machines (may be given several times): two-nodes, four-nodes, no-pressure.
    #[arg(long, value_name = "NAME")]
    machine: Vec<String>,
    /// Run only scenarios whose name contains this text (may be given several times).
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Measure the agent's cost and speed instead of running the scenarios.
    #[arg(long)]
    bench: bool,
    /// How instructions are executed.
    #[arg(long, value_enum, default_value_t, env = ACCELERATOR_VARIABLE)]
    accelerator: Accelerator,
    /// Seconds until a machine that has not powered off is ended.
    #[arg(long, default_value_t = 1_800)]
    limit: u64,
}

/// Runs the scenarios in every machine; the exit status.
pub fn run(args: &MachinesArgs, cache: &Cache) -> anyhow::Result<u8> {
    let unknown: Vec<&String> = args
        .machine
        .iter()
        .filter(|name| !KINDS.iter().any(|kind| kind.name == name.as_str()))
        .collect();
    anyhow::ensure!(unknown.is_empty(), "no such machine: {unknown:?}");
    let program = fs::read(&args.program)
        .with_context(|| format!("{}: build it first", args.program.display()))?;
    let dynamic = crate::image::catalogue::has_interpreter(&args.program)
        .with_context(|| args.program.display().to_string())?;
    anyhow::ensure!(!dynamic, "{} {DYNAMIC}", args.program.display());
    let assets = assets::prepare(cache, &Contents::Bare)?;
    let began = Instant::now();
    let mut rows = Vec::new();
    let mut bad = Vec::new();
    for kind in KINDS
        .iter()
        .filter(|kind| args.machine.is_empty() || args.machine.iter().any(|name| name == kind.name))
    {
        println!("-- {}: {}", kind.name, kind.words);
        let directory = cache
            .vm()
            .join(format!("scenarios-{}-{}", kind.name, std::process::id()));
        let booted = Instant::now();
        let outcome = boot(kind, args, &program, &assets, &directory);
        let seconds = booted.elapsed().as_secs_f64();
        match outcome {
            Ok((more, status)) => {
                rows.extend(more);
                rows.push(Row::figure(
                    "machine-seconds",
                    "boot, all scenarios, power-off",
                    seconds,
                    "s",
                    kind.name,
                ));
                if status != 0 {
                    bad.push(kind.name);
                }
                fs::remove_dir_all(&directory)
                    .with_context(|| format!("removing {}", directory.display()))?;
            }
            Err(error) => {
                println!(
                    "  FAILED  {}: {error:#} (logs in {})",
                    kind.name,
                    directory.display()
                );
                rows.push(Row {
                    holds: Some(false),
                    ..Row::figure("machine", kind.words, seconds, "s", kind.name)
                });
                bad.push(kind.name);
            }
        }
    }
    let name = if args.bench {
        "bench-node-vm"
    } else {
        "e2e-vm"
    };
    report::publish(name, &rows)?;
    let held = |wanted: Option<bool>| rows.iter().filter(|row| row.holds == wanted).count();
    let skipped = rows
        .iter()
        .filter(|row| row.bar.starts_with("SKIPPED"))
        .count();
    println!(
        "{} rows hold, {} fail, {skipped} skipped; {:.0} s",
        held(Some(true)),
        held(Some(false)),
        began.elapsed().as_secs_f64()
    );
    if !bad.is_empty() {
        println!("failed in: {}", bad.join(", "));
    }
    Ok(u8::from(!bad.is_empty()))
}

/// One machine from boot to power-off: the rows that its scenarios gave, and their exit status.
fn boot(
    kind: &Kind,
    args: &MachinesArgs,
    program: &[u8],
    assets: &Assets,
    directory: &Path,
) -> anyhow::Result<(Vec<Row>, i32)> {
    let emulated = if args.accelerator == Accelerator::Tcg {
        "--emulated"
    } else {
        ""
    };
    let only: Vec<&str> = args.only.iter().flat_map(|text| ["--only", text]).collect();
    let only = only.join(" ");
    let bench = if args.bench {
        "--bench --driver cgroupfs"
    } else {
        ""
    };
    let script = format!(
        "exec {PROGRAM} run --alone {emulated} --place {} {bench} {only}\n",
        kind.name
    );
    let work = BareRun {
        script,
        files: vec![(PROGRAM.to_owned(), program.to_vec())],
    };
    let machine = Machine {
        accelerator: args.accelerator,
        ..(kind.build)()
    };
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    let ended = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        let shown = scope.spawn(|| show(&directory.join("output"), &ended));
        let outcome = bare::run(
            &machine,
            work,
            assets,
            directory,
            Duration::from_secs(args.limit),
        );
        ended.store(true, Ordering::Relaxed);
        shown.join().ok();
        outcome
    })?;
    let line = outcome
        .output
        .lines()
        .find_map(|line| line.strip_prefix(ROWS));
    let Some(line) = line else {
        anyhow::bail!(
            "no report; the end of the console: {}",
            crate::program::last_lines(&outcome.console, 8)
        );
    };
    let rows = serde_json::from_str(line).context("the report of the machine")?;
    Ok((rows, outcome.status.unwrap_or(-1)))
}

/// Prints the lines of a growing file until `ended`.
fn show(file: &Path, ended: &AtomicBool) {
    const POLL: Duration = Duration::from_millis(200);
    let mut at = 0;
    let mut line = Vec::new();
    loop {
        let last = ended.load(Ordering::Relaxed);
        if let Ok(mut open) = fs::File::open(file)
            && open.seek(SeekFrom::Start(at)).is_ok()
        {
            let mut bytes = Vec::new();
            at += open.read_to_end(&mut bytes).unwrap_or(0) as u64;
            for byte in bytes {
                if byte == b'\n' {
                    let text = String::from_utf8_lossy(&line);
                    if !text.starts_with(ROWS) {
                        println!("{text}");
                    }
                    line.clear();
                } else if byte != b'\r' {
                    line.push(byte);
                }
            }
        }
        if last {
            return;
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_can_be_described_to_the_emulator() {
        for kind in &KINDS {
            let machine = (kind.build)();
            let files = crate::vm::qemu::Files {
                kernel: "/k".into(),
                initramfs: "/i".into(),
                root_disk: "/r".into(),
                seed_disk: "/s".into(),
                console: "/c".into(),
                ports: Vec::new(),
            };
            assert!(
                crate::vm::qemu::arguments(&machine, &files).is_ok(),
                "{}",
                kind.name
            );
        }
    }

    #[test]
    fn the_far_machine_has_a_node_without_cpus_and_unequal_distances() {
        let machine = four_nodes();
        assert_eq!(machine.numa.last().map(|node| node.cpus), Some(0));
        let mut distances: Vec<u8> = machine
            .distances
            .iter()
            .map(|(_, _, distance)| *distance)
            .collect();
        distances.dedup();
        assert!(distances.len() > 2, "{distances:?}");
    }
}
