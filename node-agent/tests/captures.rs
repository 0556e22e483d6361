//! Kernel files of several kernels (`tests/fixtures`), through every parser and through the readers that use them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "fixtures of tests: a panic is the test's failure"
)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use katalyst_node_agent::{
    cgroup::{Hierarchy, read_group},
    kernel::{
        capture::sections,
        catalogue::PARSERS,
        cpu_stat, cpuacct,
        cpuset::{self, Partition},
        io_stat, meminfo, memory_events,
        memory_numa_stat::NumaStat,
        memory_stat, pressure, proc_stat, vmstat, zoneinfo,
    },
    topology::{self, devices},
};

fn captures() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut captures: Vec<(String, String)> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    captures.sort();
    assert_eq!(captures.len(), 5);
    captures
}

/// One capture.
struct Capture(String);

impl Capture {
    fn of(name: &str) -> Self {
        let (_, text) = captures()
            .into_iter()
            .find(|(file, _)| file == name)
            .unwrap();
        Self(text)
    }

    fn text(&self, end: &str) -> &str {
        sections(&self.0)
            .find(|(path, _)| path.ends_with(end))
            .unwrap_or_else(|| panic!("no {end} in the capture"))
            .1
    }

    /// The files in a tree.
    fn tree(&self) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let place = |path: &str| -> PathBuf {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        let mut links = Vec::new();
        for (path, text) in sections(&self.0) {
            if let Some(link) = path.strip_prefix("link ") {
                links.push((link, text.trim()));
            }
        }
        for (link, target) in &links {
            let name = target.trim_start_matches("../");
            fs::create_dir_all(root.path().join("sys").join(name)).unwrap();
            symlink(target, place(link)).unwrap();
        }
        for (path, text) in sections(&self.0) {
            if path.starts_with('/') {
                fs::write(place(path), format!("{text}\n")).unwrap();
            }
        }
        root
    }
}

#[test]
fn every_parser_meets_its_files_and_none_panics() {
    let mut met = vec![false; PARSERS.len()];
    for (_, capture) in captures() {
        for (path, text) in sections(&capture) {
            for (parser, met) in PARSERS.iter().zip(&mut met) {
                if parser.reads(path) {
                    (parser.run)(text);
                    *met = true;
                }
            }
        }
    }
    let missing: Vec<_> = PARSERS
        .iter()
        .zip(met)
        .filter(|(_, met)| !met)
        .map(|(parser, _)| parser.files[0])
        .collect();
    assert_eq!(
        missing,
        [
            "*/infiniband/*/ports/*/state",
            "/proc/driver/nvidia/gpus/*/information"
        ],
        "no machine with such hardware was captured"
    );
}

#[test]
fn linux_6_18_with_version_1() {
    let capture = Capture::of("linux-6.18-v1.txt");
    let stat = proc_stat::parse(capture.text("/proc/stat")).unwrap();
    assert_eq!(stat.online_cpus, 2);
    let each: u64 = proc_stat::cpus(capture.text("/proc/stat"))
        .map(|(_, times)| times.busy())
        .sum();
    assert!(
        stat.busy_ticks.abs_diff(each) <= 16,
        "the lines of the CPUs add up"
    );
    let memory = meminfo::parse(capture.text("/proc/meminfo")).unwrap();
    let node = meminfo::parse_node(capture.text("node0/meminfo")).unwrap();
    assert_eq!(node.total, memory.total);
    let zones: Vec<_> = zoneinfo::zones(capture.text("/proc/zoneinfo")).collect();
    assert_eq!(zones.len(), 5);
    let managed: u64 = zones.iter().map(|zone| zone.managed).sum();
    assert_eq!(managed * 4096, memory.total);
    assert!(
        zones
            .iter()
            .all(|zone| zone.min <= zone.low && zone.low <= zone.high)
    );
    assert!(
        vmstat::parse(capture.text("/proc/vmstat"))
            .allocstall
            .is_some()
    );

    let stat = cpu_stat::parse_v1(capture.text("capture/cpu.stat"));
    assert_eq!((stat.nr_periods, stat.nr_throttled), (Some(13), Some(9)));
    let per_cpu: u64 = cpuacct::per_cpu(capture.text("cpuacct.usage_percpu"))
        .map(|(_, nanos)| nanos)
        .sum();
    let whole: u64 = capture.text("cpuacct.usage").trim().parse().unwrap();
    assert!(whole.abs_diff(per_cpu) < 100_000_000);
    let stat = memory_stat::parse_v1(capture.text("capture/memory.stat"));
    assert_eq!((stat.file, stat.inactive_file), (25_321_472, 25_313_280));
    let mut numa = NumaStat::new();
    assert!(numa.read_v1(capture.text("memory.numa_stat"), 4096));
    assert_eq!(numa.nodes()[0].file, stat.file);
    let oom = memory_events::parse_oom_control(capture.text("memory.oom_control")).unwrap();
    assert_eq!(oom.oom_kill, Some(0));

    let root = capture.tree();
    let (machine, notes) = topology::read(root.path());
    assert_eq!(notes, []);
    assert_eq!(machine.all_cpus().to_string(), "0-1");
    let (devices, notes) = devices::read(root.path(), &machine, &std::collections::BTreeMap::new());
    assert_eq!(notes, []);
    assert_eq!(devices.nics[0].interfaces[0].name, "eth0");
    assert_eq!(devices.nics[0].place.numa, Some(0));
    // Only the group was captured, and a mount is recognised by its root group's files.
    for mark in [
        "cpu/cpu.shares",
        "cpuacct/cpuacct.usage",
        "memory/memory.usage_in_bytes",
    ] {
        fs::write(root.path().join("sys/fs/cgroup").join(mark), "0\n").unwrap();
    }
    let hierarchy = Hierarchy::detect(root.path()).unwrap();
    let usage = read_group(&hierarchy, Path::new("capture")).unwrap();
    assert_eq!(usage.throttling.unwrap().throttled, 9);
}

#[test]
fn linux_6_12_with_version_2_and_two_numa_nodes() {
    let capture = Capture::of("linux-6.12-v2-two-numa.txt");
    let root = capture.tree();
    let (machine, notes) = topology::read(root.path());
    assert_eq!(notes, []);
    let cpus: Vec<_> = machine
        .cpus()
        .map(|cpu| (cpu.id, cpu.core, cpu.l3, cpu.numa, cpu.socket))
        .collect();
    assert_eq!(
        cpus,
        [
            (0, 0, 0, 0, 0),
            (1, 0, 0, 0, 0),
            (2, 2, 2, 1, 1),
            (3, 2, 2, 1, 1)
        ]
    );
    assert_eq!((machine.distance(0, 1), machine.distance(1, 1)), (21, 10));
    let mut numa = NumaStat::new();
    assert!(numa.read_v2(capture.text("capture/memory.numa_stat")));
    let stat = memory_stat::parse_v2(capture.text("capture/memory.stat"));
    let sums: (u64, u64) = numa.nodes().iter().fold((0, 0), |(anon, file), node| {
        (anon + node.anon, file + node.file)
    });
    assert_eq!(sums.1, stat.file);
    // The kernel folds counters of processes in batches, and the two files were read one after the other.
    assert!(sums.0.abs_diff(stat.anon) <= 64 << 10, "{sums:?} {stat:?}");
    let stat = cpu_stat::parse_v2(capture.text("capture/cpu.stat"));
    assert_eq!(stat.usage_nanos, Some(6_259_565_000));
    assert_eq!(
        cpuset::parse_partition(capture.text("cpuset.cpus.partition")),
        Some(Partition::Member)
    );
    assert_eq!(io_stat::devices(capture.text("capture/io.stat")).count(), 1);
    let zones: Vec<_> = zoneinfo::zones(capture.text("/proc/zoneinfo")).collect();
    assert!(zones.iter().any(|zone| zone.node == 1 && zone.managed > 0));
    let (devices, _) = devices::read(root.path(), &machine, &std::collections::BTreeMap::new());
    assert!(devices.is_empty(), "{devices:?}");
}

#[test]
fn what_older_kernels_write_differently() {
    let old = Capture::of("reduced-5.4-v1.txt");
    assert_eq!(pressure::parse(old.text("/proc/pressure/cpu")).full, None);
    let stat = vmstat::parse(old.text("/proc/vmstat"));
    assert_eq!(stat.workingset_refault_file, Some(812));
    assert_eq!(stat.allocstall, Some(7));
    assert_eq!(
        cpu_stat::parse_v1(old.text("capture/cpu.stat")).nr_bursts,
        None
    );
    assert_eq!(
        io_stat::blkio_total(old.text("blkio.throttle.io_service_bytes")),
        (405_504, 25_165_824)
    );
    let (machine, notes) = topology::read(old.tree().path());
    assert_eq!(machine.core_cpus(0).to_string(), "0-1");
    assert_eq!(notes.len(), 1, "no caches were written down: {notes:?}");

    let middle = Capture::of("reduced-5.10-v2.txt");
    let io: Vec<_> = io_stat::devices(middle.text("io.stat")).collect();
    assert_eq!((io.len(), io[0].0.minor), (1, 0));
    assert_eq!(
        memory_events::parse(middle.text("memory.events"))
            .unwrap()
            .high,
        3
    );

    let newer = Capture::of("reduced-5.15-v2.txt");
    assert_eq!(
        cpuset::parse_partition(newer.text("cpuset.cpus.partition")),
        Some(Partition::Invalid)
    );
    assert_eq!(
        cpu_stat::parse_v2(newer.text("cpu.stat")).nr_bursts,
        Some(2)
    );
}
