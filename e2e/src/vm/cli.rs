//! The commands about virtual machines.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::assets;
use super::bare;
use super::machine::{ACCELERATOR_VARIABLE, Accelerator, Machine, NumaNode};
use super::root_image::Contents;
use super::seed::BareRun;
use crate::cache::Cache;
use crate::image::catalogue;
use crate::node::machines::{self, MachinesArgs};

/// Virtual machines: prepare their files, or boot one alone.
#[derive(Debug, clap::Subcommand)]
pub enum VmCommand {
    /// Install the emulator, download the kernel, build the disks of cluster nodes.
    Prepare,
    /// Boot a machine without Kubernetes, run a script in it, print its output and end with its status.
    Boot(Boot),
    /// Run the scenarios of one node (`katalyst-node-scenarios`) in machines of several kinds.
    Scenarios(MachinesArgs),
}

/// What to run, and in which machine.
#[derive(Debug, clap::Args)]
pub struct Boot {
    /// The script for the machine's shell.
    #[arg(
        long,
        default_value = "uname -a; cat /sys/devices/system/node/node*/distance; cat /sys/fs/cgroup/cgroup.controllers"
    )]
    run: String,
    /// Number of NUMA nodes, each with two CPUs.
    #[arg(long, default_value_t = 2)]
    numa_nodes: usize,
    /// Memory of each NUMA node in MiB.
    #[arg(long, default_value_t = 256)]
    memory_mib: u32,
    /// Compressed swap in MiB.
    #[arg(long, default_value_t = 0)]
    zram_mib: u32,
    /// Copy a static program or a file into the machine, as SOURCE:TARGET. May be given repeatedly.
    #[arg(long, value_name = "SOURCE:TARGET")]
    file: Vec<String>,
    /// How instructions are executed.
    #[arg(long, value_enum, default_value_t, env = ACCELERATOR_VARIABLE)]
    accelerator: Accelerator,
    /// Seconds until a machine that has not powered off is ended.
    #[arg(long, default_value_t = 120)]
    limit: u64,
    /// Print the machine's console too.
    #[arg(long)]
    console: bool,
}

impl VmCommand {
    /// Runs the command with the given cache and returns the process's exit status.
    ///
    /// # Errors
    /// When a file cannot be prepared or the machine does not come to its end.
    pub fn run(self, cache: &Cache) -> anyhow::Result<u8> {
        match self {
            Self::Prepare => {
                let start = Instant::now();
                let assets = assets::prepare(cache, &Contents::Node(catalogue::archives(cache)))?;
                println!(
                    "{} is current after {:.1} s",
                    assets.root_image.display(),
                    start.elapsed().as_secs_f32()
                );
                Ok(0)
            }
            Self::Boot(boot) => boot.run(cache),
            Self::Scenarios(args) => machines::run(&args, cache),
        }
    }
}

impl Boot {
    fn run(self, cache: &Cache) -> anyhow::Result<u8> {
        let assets = assets::prepare(cache, &Contents::Bare)?;
        let machine = Machine {
            numa: vec![
                NumaNode {
                    memory_mib: self.memory_mib,
                    cpus: 2
                };
                self.numa_nodes
            ],
            zram_mib: self.zram_mib,
            accelerator: self.accelerator,
            ..Machine::two_nodes("bare", None)
        };
        let mut work = BareRun {
            script: self.run,
            files: Vec::new(),
        };
        for pair in &self.file {
            let (source, target) = pair
                .split_once(':')
                .with_context(|| format!("--file {pair}: not SOURCE:TARGET"))?;
            work.files.push((
                target.to_owned(),
                fs::read(source).with_context(|| format!("--file {pair}"))?,
            ));
        }
        let directory = scratch(cache)?;
        let outcome = bare::run(
            &machine,
            work,
            &assets,
            &directory,
            Duration::from_secs(self.limit),
        );
        fs::remove_dir_all(&directory)
            .with_context(|| format!("removing {}", directory.display()))?;
        let outcome = outcome?;
        if self.console || outcome.status.is_none() {
            eprint!("{}", outcome.console);
        }
        print!("{}", outcome.output);
        let status = outcome
            .status
            .context("the machine ended without the script's status")?;
        Ok(u8::try_from(status).unwrap_or(1))
    }
}

/// A directory of this process's own.
fn scratch(cache: &Cache) -> anyhow::Result<PathBuf> {
    let directory = cache.vm().join(format!("boot-{}", std::process::id()));
    fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    Ok(directory)
}
