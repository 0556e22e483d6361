//! The standard `process_*` metrics, read from procfs at each scrape.
//!
//! Source of the fields: proc(5), `/proc/[pid]/stat`, `/proc/stat` (`btime`) and `/proc/[pid]/fd`. A file that cannot
//! be read or parsed leaves out its metrics and nothing else.

use std::{fmt, fs, path::PathBuf};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Reads one process's own numbers under a procfs root.
#[derive(Debug)]
pub(crate) struct ProcessCollector {
    proc_root: PathBuf,
    /// Length of a kernel clock tick, in ticks a second.
    ticks_per_second: f64,
    page_bytes: u64,
}

impl ProcessCollector {
    pub(crate) fn new(proc_root: PathBuf) -> Self {
        Self {
            proc_root,
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            page_bytes: rustix::param::page_size() as u64,
        }
    }

    fn stat(&self) -> Option<Stat> {
        let text = fs::read_to_string(self.proc_root.join("self/stat")).ok()?;
        Stat::parse(&text)
    }

    /// Seconds since the epoch at which the machine started.
    fn boot_time(&self) -> Option<f64> {
        let text = fs::read_to_string(self.proc_root.join("stat")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
        line.trim().parse().ok()
    }

    fn open_fds(&self) -> Option<u64> {
        let entries = fs::read_dir(self.proc_root.join("self/fd")).ok()?;
        Some(entries.count() as u64)
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(stat) = self.stat() {
            put(
                &mut encoder,
                "process_cpu_seconds",
                "User and system CPU time spent, in seconds",
                &ConstCounter::new(stat.cpu_ticks as f64 / self.ticks_per_second),
            )?;
            put(
                &mut encoder,
                "process_resident_memory_bytes",
                "Resident memory size in bytes",
                &ConstGauge::new(stat.resident_pages.saturating_mul(self.page_bytes)),
            )?;
            put(
                &mut encoder,
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes",
                &ConstGauge::new(stat.virtual_bytes),
            )?;
            put(
                &mut encoder,
                "process_threads",
                "Number of threads",
                &ConstGauge::new(stat.threads),
            )?;
            if let Some(boot) = self.boot_time() {
                put(
                    &mut encoder,
                    "process_start_time_seconds",
                    "Start time since the Unix epoch, in seconds",
                    &ConstGauge::new(boot + stat.start_ticks as f64 / self.ticks_per_second),
                )?;
            }
        }
        if let Some(open) = self.open_fds() {
            put(
                &mut encoder,
                "process_open_fds",
                "Number of open file descriptors",
                &ConstGauge::new(open),
            )?;
        }
        Ok(())
    }
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    let encoder = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(encoder)
}

/// The fields of `/proc/[pid]/stat` that are used here.
#[derive(Debug, Eq, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    /// The second field, the command name, may itself hold spaces and parentheses, so count from the last `)`.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Field numbers as in proc(5), where the state right after the name is number 3.
        let field = |number: usize| -> Option<u64> { fields.get(number - 3)?.parse().ok() };
        Some(Self {
            cpu_ticks: field(14)?.checked_add(field(15)?)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Metrics;

    const STAT: &str = "4242 (a (b) c) S 1 4242 4242 0 -1 4194560 1000 0 3 0 250 150 0 0 20 0 9 0 12345 104857600 2560 \
                        18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0\n";

    #[test]
    fn a_captured_stat_line_is_read_past_a_hostile_name() {
        let expected = Stat {
            cpu_ticks: 400,
            threads: 9,
            start_ticks: 12345,
            virtual_bytes: 104_857_600,
            resident_pages: 2560,
        };
        assert_eq!(Stat::parse(STAT), Some(expected));
        assert_eq!(Stat::parse("1 (x) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn a_fixture_tree_gives_every_metric() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("self/fd")).unwrap();
        fs::write(root.path().join("self/stat"), STAT).unwrap();
        fs::write(
            root.path().join("stat"),
            "cpu 1 2 3\nbtime 1700000000\nprocesses 5\n",
        )
        .unwrap();
        for fd in 0..3 {
            fs::write(root.path().join(format!("self/fd/{fd}")), "").unwrap();
        }
        let text = Metrics::with_proc("t", "0", root.path().to_owned())
            .encode()
            .unwrap();
        let page = rustix::param::page_size() as u64;
        let resident = format!("process_resident_memory_bytes {}", 2560 * page);
        for line in ["process_open_fds 3", "process_threads 9", &resident] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.contains("process_cpu_seconds_total "), "{text}");
        assert!(
            text.contains("process_start_time_seconds 1700000"),
            "{text}"
        );
    }

    #[test]
    fn the_running_process_reads_itself() {
        let text = Metrics::new("t", "0").encode().unwrap();
        let names = [
            "process_cpu_seconds_total",
            "process_start_time_seconds",
            "process_open_fds",
        ];
        for name in names {
            assert!(text.contains(name), "{name} in {text}");
        }
    }

    #[test]
    fn a_missing_procfs_leaves_only_those_metrics_out() {
        let text = Metrics::with_proc("t", "0", PathBuf::from("/nonexistent"))
            .encode()
            .unwrap();
        assert!(!text.contains("process_"), "{text}");
        assert!(text.contains("katalyst_build_info"), "{text}");
    }

    proptest! {
        #[test]
        fn no_stat_text_panics(text in ".*") {
            let _parsed = Stat::parse(&text);
        }
    }
}
