//! The machine kept between looks: read again when it changed, and now and then.
//!
//! Reading everything opens about fourteen files for each CPU and four for each PCI function, 40 ms on a machine with 384 CPUs. Most looks find
//! the same machine, so one look reads only the lists of what is online and present; the rest follows when they differ or after [`REFRESH`] (a link
//! that came up, an interface that moved, memory that was added).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use katalyst_core::topology::{
    Topology,
    devices::{Devices, PciAddress},
};

use super::{
    Note,
    devices::{
        self,
        gpu::{GpuFacts, GpuLibrary},
    },
};
use crate::cgroup::file;

/// Longest time between full readings.
const REFRESH: Duration = Duration::from_secs(60);
/// Longest time between questions to the GPU library, which opens device nodes.
const ASK_LIBRARY: Duration = Duration::from_secs(600);

/// What is known of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sensed {
    /// CPUs and NUMA nodes.
    pub topology: Topology,
    /// GPUs, network cards, RDMA devices.
    pub devices: Devices,
    /// What the machine does not tell.
    pub notes: Vec<Note>,
}

/// Reads the machine, and remembers.
pub struct Sensor {
    root: PathBuf,
    library: Box<dyn GpuLibrary>,
    last: Option<(Signs, Duration, Arc<Sensed>)>,
    facts: Option<(Vec<PciAddress>, Duration, Facts)>,
}

/// What the library answered, and what to note where it did not.
type Facts = (BTreeMap<PciAddress, GpuFacts>, Option<String>);

/// By what a change is noticed.
#[derive(Debug, PartialEq, Eq)]
struct Signs {
    cpus: Option<String>,
    nodes: Option<String>,
    functions: Vec<std::ffi::OsString>,
}

impl Signs {
    fn read(root: &Path) -> Self {
        let text = |name: &str| file::read(&root.join("sys/devices/system").join(name)).ok();
        let mut functions: Vec<_> = fs::read_dir(root.join("sys/bus/pci/devices"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .collect();
        functions.sort();
        Self {
            cpus: text("cpu/online"),
            nodes: text("node/online"),
            functions,
        }
    }
}

impl Sensor {
    /// Nothing read yet.
    pub fn new(root: impl Into<PathBuf>, library: Box<dyn GpuLibrary>) -> Self {
        Self {
            root: root.into(),
            library,
            last: None,
            facts: None,
        }
    }

    /// The machine at `now` (on any monotonic clock); the same value while nothing was read anew.
    pub fn look(&mut self, now: Duration) -> Arc<Sensed> {
        let signs = Signs::read(&self.root);
        let current = match self.last.take() {
            Some(last) if last.0 == signs && now.saturating_sub(last.1) < REFRESH => last,
            _ => (signs, now, Arc::new(self.read(now))),
        };
        self.last.insert(current).2.clone()
    }

    fn read(&mut self, now: Duration) -> Sensed {
        let (topology, mut notes) = super::read(&self.root);
        let (devices, device_notes) = devices::read(&self.root, &topology, &BTreeMap::new());
        let gpus: Vec<PciAddress> = devices.gpus.iter().map(|gpu| gpu.place.address).collect();
        if gpus.is_empty() {
            notes.extend(device_notes);
            return Sensed {
                topology,
                devices,
                notes,
            };
        }
        let root = self.root.clone();
        let (facts, reason) = self.facts(gpus, now);
        let (devices, device_notes) = devices::read(&root, &topology, facts);
        notes.extend(device_notes);
        notes.extend(reason.clone().map(|text| Note {
            subject: devices::gpu::SUBJECT,
            text,
        }));
        Sensed {
            topology,
            devices,
            notes,
        }
    }

    fn facts(&mut self, gpus: Vec<PciAddress>, now: Duration) -> &Facts {
        let current = match self.facts.take() {
            Some(last) if last.0 == gpus && now.saturating_sub(last.1) < ASK_LIBRARY => last,
            _ => {
                let answer = match self.library.gpus() {
                    Ok(facts) => (facts, None),
                    Err(reason) => (BTreeMap::new(), Some(reason)),
                };
                (gpus, now, answer)
            }
        };
        &self.facts.insert(current).2
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use katalyst_core::units::Bytes;

    use super::*;
    use crate::topology::tree::{GPU, Spec, Tree, eight_gpus};

    struct Counting {
        asked: Arc<AtomicUsize>,
        answer: Result<BTreeMap<PciAddress, GpuFacts>, String>,
    }

    impl GpuLibrary for Counting {
        fn gpus(&self) -> Result<BTreeMap<PciAddress, GpuFacts>, String> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.answer.clone()
        }
    }

    fn sensor(
        tree: &Tree,
        answer: Result<BTreeMap<PciAddress, GpuFacts>, String>,
    ) -> (Sensor, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let library = Counting {
            asked: asked.clone(),
            answer,
        };
        (Sensor::new(tree.root(), Box::new(library)), asked)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_change_is_seen_at_once_and_the_rest_within_a_minute() {
        let tree = Tree::machine(&Spec::default());
        let (mut sensor, _) = sensor(&tree, Err("none".to_owned()));
        assert_eq!(sensor.look(SECOND).topology.all_cpus().len(), 4);

        tree.file("sys/devices/system/cpu/online", "0-2\n");
        assert_eq!(sensor.look(2 * SECOND).topology.all_cpus().len(), 3);

        tree.file(
            "sys/devices/system/node/node0/meminfo",
            "Node 0 MemTotal: 4 kB\n",
        );
        let memory = |sensed: &Sensed| sensed.topology.numa_node(0).unwrap().memory;
        assert_ne!(memory(&sensor.look(3 * SECOND)), Bytes::new(4096));
        assert_eq!(memory(&sensor.look(2 * SECOND + REFRESH)), Bytes::new(4096));

        tree.function("pci0000:00", "0000:00:02.0", GPU, "0x10de", 0);
        assert_eq!(
            sensor.look(3 * SECOND + REFRESH).devices.gpus.len(),
            1,
            "a device that was plugged in"
        );
    }

    #[test]
    fn the_library_is_asked_seldom_and_only_about_gpus() {
        let tree = eight_gpus();
        let facts = GpuFacts {
            memory: Some(Bytes::new(1)),
            ..GpuFacts::default()
        };
        let known = BTreeMap::from([("0000:13:00.0".parse().unwrap(), facts)]);
        let (mut known, asked) = sensor(&tree, Ok(known));
        for seconds in 0..300 {
            known.look(seconds * SECOND);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(
            known.look(301 * SECOND).devices.gpus[0].memory,
            Some(Bytes::new(1))
        );

        let (mut silent, asked) = sensor(&tree, Err("NVML: no driver".to_owned()));
        assert!(
            silent
                .look(SECOND)
                .notes
                .iter()
                .any(|note| note.text == "NVML: no driver")
        );
        silent.look(SECOND + ASK_LIBRARY + REFRESH);
        assert_eq!(asked.load(Ordering::Relaxed), 2);

        let plain = Tree::machine(&Spec::default());
        let (mut none, asked) = sensor(&plain, Err("no".to_owned()));
        none.look(SECOND);
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    }
}
