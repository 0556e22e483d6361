//! Every parser with the kernel files it reads: for fuzzing, for property tests, and for whoever looks for what the agent reads.

use super::{
    cpu_limit, cpu_stat, cpu_topology, cpuacct, cpuset, infiniband, io_stat, loadavg, meminfo,
    memory_events, memory_numa_stat::NumaStat, memory_stat, node_distance, number, nvidia, pci,
    pressure, proc_stat, vmstat, zoneinfo,
};

/// One parser.
#[derive(Debug, Clone, Copy)]
pub struct Parser {
    /// Paths of the files it reads; `*` stands for any text. Both parsers of a file that the two cgroup versions write differently have it.
    pub files: &'static [&'static str],
    /// Runs it over any text to its end, and checks what must hold of any answer.
    pub run: fn(&str),
}

impl Parser {
    /// Whether it reads the file at `path`.
    pub fn reads(&self, path: &str) -> bool {
        self.files.iter().any(|pattern| matches(pattern, path))
    }
}

/// Whether `path` is `pattern`, with any text for each `*`.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == path;
    };
    path.strip_prefix(before).is_some_and(|rest| {
        (rest.char_indices().map(|(at, _)| at))
            .chain([rest.len()])
            .any(|at| rest.get(at..).is_some_and(|rest| matches(after, rest)))
    })
}

/// All of them. New ones go to the end: the corpus of the fuzzer selects by position.
pub const PARSERS: &[Parser] = &[
    Parser {
        files: &["/proc/stat"],
        run: |text| {
            let online = proc_stat::parse(text).map(|stat| stat.online_cpus);
            let counted = proc_stat::cpus(text).count() as u64;
            assert!(online.is_none_or(|online| online == counted));
        },
    },
    Parser {
        files: &["/proc/meminfo"],
        run: |text| drop_value(meminfo::parse(text)),
    },
    Parser {
        files: &["/sys/devices/system/node/node*/meminfo"],
        run: |text| {
            if let Some(node) = meminfo::parse_node(text) {
                assert!(node.available() <= node.total && node.resident() <= node.total);
            }
        },
    },
    Parser {
        files: &["/proc/vmstat", "/sys/devices/system/node/node*/vmstat"],
        run: |text| drop_value(vmstat::parse(text)),
    },
    Parser {
        files: &["/proc/zoneinfo"],
        run: |text| assert!(zoneinfo::zones(text).count() <= text.lines().count()),
    },
    Parser {
        files: &["/proc/pressure/*", "*.pressure"],
        run: |text| drop_value(pressure::parse(text)),
    },
    Parser {
        files: &["/proc/loadavg"],
        run: |text| {
            assert!(loadavg::parse(text).is_none_or(|load| load.one.is_finite()));
        },
    },
    Parser {
        files: &["*/cpu.stat"],
        run: |text| drop_value(cpu_stat::parse_v1(text)),
    },
    Parser {
        files: &["*/cpu.stat"],
        run: |text| drop_value(cpu_stat::parse_v2(text)),
    },
    Parser {
        files: &["*/cpuacct.usage_percpu", "*/cpuacct.stat"],
        run: |text| {
            drop_value(cpuacct::parse_stat(text));
            assert!(cpuacct::per_cpu(text).count() <= text.len());
        },
    },
    Parser {
        files: &["*/cpu.max", "*/cpu.cfs_quota_us", "*/cpu.cfs_period_us"],
        run: |text| {
            drop_value(cpu_limit::parse_cpu_max(text));
            drop_value(cpu_limit::parse_cfs(text, text));
        },
    },
    Parser {
        files: &["*/memory.stat"],
        run: |text| drop_value(memory_stat::parse_v1(text)),
    },
    Parser {
        files: &["*/memory.stat"],
        run: |text| drop_value(memory_stat::parse_v2(text)),
    },
    Parser {
        files: &["*/memory.numa_stat"],
        run: |text| {
            let mut stat = NumaStat::new();
            let some = stat.read_v1(text, 4_096);
            check_nodes(&stat, some);
        },
    },
    Parser {
        files: &["*/memory.numa_stat"],
        run: |text| {
            let mut stat = NumaStat::new();
            let some = stat.read_v2(text);
            check_nodes(&stat, some);
        },
    },
    Parser {
        files: &["*/memory.events", "*/memory.oom_control"],
        run: |text| {
            drop_value(memory_events::parse(text));
            drop_value(memory_events::parse_oom_control(text));
        },
    },
    Parser {
        files: &[
            "*/memory.current",
            "*/memory.max",
            "*/memory.high",
            "*_in_bytes",
            "*/memory.failcnt",
            "*/cpuacct.usage",
            "*/cpu.shares",
            "*/cpu.weight",
            "*/cpu.idle",
            "*/level",
        ],
        run: |text| {
            let number = number::parse(text);
            assert!(number.is_none() || number::parse_limit(text).is_some());
        },
    },
    Parser {
        files: &["*/io.stat"],
        run: |text| drop_value(io_stat::total(text)),
    },
    Parser {
        files: &[
            "*/blkio.throttle.io_service_bytes",
            "*/blkio.throttle.io_serviced",
        ],
        run: |text| drop_value(io_stat::blkio_total(text)),
    },
    Parser {
        files: &[
            "*/cpuset.cpus*",
            "*/cpuset.mems*",
            "*/online",
            "*/offline",
            "*/possible",
            "*/present",
            "*/cpulist",
            "*_list",
        ],
        run: |text| {
            if let Some(set) = cpuset::parse_cpus(text) {
                assert_eq!(cpuset::parse_cpus(&set.to_string()).as_ref(), Some(&set));
            }
            if let Some(Some(set)) = cpuset::parse_mems(text) {
                assert_eq!(
                    cpuset::parse_mems(&set.to_string()),
                    Some(Some(set.clone()))
                );
            }
            drop_value(cpuset::parse_node_ids(text));
            drop_value(cpuset::parse_partition(text));
        },
    },
    Parser {
        files: &[
            "*/topology/*_id",
            "*/cache/index*/type",
            "*/cache/index*/size",
        ],
        run: |text| {
            drop_value(cpu_topology::parse_id(text));
            drop_value(cpu_topology::parse_cache_kind(text));
            drop_value(cpu_topology::parse_cache_size(text));
        },
    },
    Parser {
        files: &["/sys/devices/system/node/node*/distance"],
        run: |text| drop_value(node_distance::parse(text)),
    },
    Parser {
        files: &[
            "/sys/bus/pci/devices/*/class",
            "/sys/bus/pci/devices/*/vendor",
            "/sys/bus/pci/devices/*/device",
            "/sys/bus/pci/devices/*/numa_node",
        ],
        run: |text| {
            drop_value(pci::parse_class(text));
            drop_value(pci::parse_id(text));
            drop_value(pci::parse_numa_node(text));
            assert!(!(pci::is_address(text) && pci::is_root(text)));
        },
    },
    Parser {
        files: &[
            "*/infiniband/*/ports/*/state",
            "*/infiniband/*/ports/*/rate",
        ],
        run: |text| {
            drop_value(infiniband::parse_active(text));
            drop_value(infiniband::parse_rate(text));
        },
    },
    Parser {
        files: &["/proc/driver/nvidia/gpus/*/information"],
        run: |text| {
            let information = nvidia::parse_information(text);
            let short =
                |text: Option<String>| text.is_none_or(|text| text.chars().count() <= nvidia::TEXT);
            assert!(short(information.model) && short(information.uuid));
        },
    },
];

fn check_nodes(stat: &NumaStat, some: bool) {
    assert_eq!(some, !stat.nodes().is_empty());
    assert!(
        stat.nodes()
            .iter()
            .zip(stat.nodes().iter().skip(1))
            .all(|(a, b)| a.node < b.node)
    );
}

/// Keeps the optimiser from leaving the work out.
fn drop_value<T>(value: T) {
    std::hint::black_box(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(matches("*/cpu.stat", "/sys/fs/cgroup/a/cpu.stat"));
        assert!(!matches("*/cpu.stat", "/sys/fs/cgroup/a/cpu.stat.local"));
        assert!(matches("/a/*/b/*", "/a/1/2/b/"));
        assert!(!matches("/a/*/b/*", "/a/1/2/c/"));
    }
}
