//! What a machine is.

use std::env;
use std::net::Ipv4Addr;

use clap::ValueEnum as _;

use super::error::VmError;

/// Distance between two NUMA nodes when nothing else is said; the same node is 10 (ACPI SLIT convention).
pub const REMOTE_DISTANCE: u8 = 21;

/// One NUMA node of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumaNode {
    /// Its memory in MiB.
    pub memory_mib: u32,
    /// Its logical CPUs. Zero makes a node of memory only.
    pub cpus: u16,
}

/// How instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Accelerator {
    /// Emulated: works everywhere, slow.
    #[default]
    Tcg,
    /// On the processor itself; needs a usable `/dev/kvm`.
    Kvm,
}

/// Environment variable that chooses how machines are executed.
pub const ACCELERATOR_VARIABLE: &str = "KATALYST_VM_ACCELERATOR";

impl Accelerator {
    /// The choice of the environment, emulation when there is none.
    ///
    /// # Errors
    /// When the variable has a value that is no accelerator.
    pub fn from_env() -> Result<Self, VmError> {
        match env::var(ACCELERATOR_VARIABLE) {
            Ok(value) if !value.is_empty() => {
                Self::from_str(&value, true).map_err(|_| VmError::Accelerator { value })
            }
            _ => Ok(Self::default()),
        }
    }
}

/// A machine's place in the cluster's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Its address, in a network with a prefix of 24 bits.
    pub address: Ipv4Addr,
    /// Where it sends everything else.
    pub gateway: Ipv4Addr,
    /// The addresses of its pods, as `10.123.46.0/24`.
    pub pod_subnet: String,
    /// The existing tap device its network card is connected to.
    pub tap: String,
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its name, also as a cluster node.
    pub name: String,
    /// Its network; without one it is alone.
    pub network: Option<Network>,
    /// Its NUMA nodes, in order of their number.
    pub numa: Vec<NumaNode>,
    /// Hardware threads a core; 1 without hyper-threading.
    pub threads_per_core: u16,
    /// Distances between NUMA nodes `(from, to, distance)` where they differ from [`REMOTE_DISTANCE`]; they hold both ways.
    pub distances: Vec<(u16, u16, u8)>,
    /// Compressed swap in memory, in MiB of uncompressed size; zero for none.
    pub zram_mib: u32,
    /// Whether its kernel offers pressure stall information.
    pub psi: bool,
    /// How it is executed.
    pub accelerator: Accelerator,
}

impl Machine {
    /// A machine of two NUMA nodes, each with 1 GiB and one core of two threads: the smallest that shows every effect of topology.
    pub fn two_nodes(name: &str, network: Option<Network>) -> Self {
        Self {
            name: name.to_owned(),
            network,
            numa: vec![
                NumaNode {
                    memory_mib: 1024,
                    cpus: 2
                };
                2
            ],
            threads_per_core: 2,
            distances: Vec::new(),
            zram_mib: 0,
            psi: true,
            accelerator: Accelerator::default(),
        }
    }

    pub(super) fn cpus(&self) -> u16 {
        self.numa.iter().map(|node| node.cpus).sum()
    }

    pub(super) fn memory_mib(&self) -> u32 {
        self.numa.iter().map(|node| node.memory_mib).sum()
    }

    pub(super) fn check(&self) -> Result<(), VmError> {
        let wrong = |reason: String| {
            Err(VmError::Machine {
                name: self.name.clone(),
                reason,
            })
        };
        if self.cpus() == 0 {
            return wrong("no NUMA node has a CPU".to_owned());
        }
        if self.threads_per_core == 0 {
            return wrong("threads_per_core is 0".to_owned());
        }
        if let Some(node) = self
            .numa
            .iter()
            .find(|node| node.cpus % self.threads_per_core != 0)
        {
            return wrong(format!(
                "{} CPUs of a NUMA node are no whole cores of {} threads",
                node.cpus, self.threads_per_core
            ));
        }
        let nodes = self.numa.len();
        match self.distances.iter().find(|(from, to, distance)| {
            from == to || usize::from(*from.max(to)) >= nodes || *distance <= 10
        }) {
            Some((from, to, distance)) => wrong(format!(
                "distance {distance} between NUMA nodes {from} and {to} of {nodes}"
            )),
            None => Ok(()),
        }
    }

    /// Sockets, cores a socket, threads a core. A socket a NUMA node where all that have CPUs are alike, else a socket a core.
    pub(super) fn topology(&self) -> (u16, u16, u16) {
        let mut with_cpus = self
            .numa
            .iter()
            .map(|node| node.cpus)
            .filter(|&cpus| cpus > 0);
        let threads = self.threads_per_core;
        let first = with_cpus.next().unwrap_or(threads);
        if with_cpus.all(|cpus| cpus == first) {
            (self.cpus() / first, first / threads, threads)
        } else {
            (self.cpus() / threads, 1, threads)
        }
    }

    pub(super) fn distance(&self, from: usize, to: usize) -> u8 {
        self.distances
            .iter()
            .find(|&&(a, b, _)| {
                let (a, b) = (usize::from(a), usize::from(b));
                (a, b) == (from, to) || (b, a) == (from, to)
            })
            .map_or(REMOTE_DISTANCE, |&(_, _, distance)| distance)
    }
}
