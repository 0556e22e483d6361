//! Flags.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand};
use katalyst_core::{
    cpu_set::CpuSet,
    hold::CeilingParams,
    quantity::{parse_bytes, parse_millicpu},
    units::{Bytes, Millicpu},
};
use katalyst_runtime::flags::{RuntimeArgs, duration};

use crate::{
    devices::{GuardConfig, Injection},
    nri::NriArgs,
    rebind::RebindArgs,
    restore::RestoreOnExit,
    sample::MachineUsage,
};

/// Senses the node, reports what services use, and holds reclaimed pods under the ceiling that services leave.
#[derive(Parser, Clone, Debug)]
#[command(name = "katalyst-node-agent", version)]
pub struct Args {
    /// Chassis.
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    /// The node.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Sampling and holding.
    #[command(flatten)]
    pub hold: HoldArgs,
    /// CPU pools.
    #[command(flatten)]
    pub pools: PoolArgs,
    /// NUMA nodes that run out of memory.
    #[command(flatten)]
    pub rebind: RebindArgs,
    /// The container runtime's hook.
    #[command(flatten)]
    pub nri: NriArgs,
    /// Devices.
    #[command(flatten)]
    pub devices: DeviceArgs,
    /// Report.
    #[command(flatten)]
    pub report: ReportArgs,
    /// Eviction.
    #[command(flatten)]
    pub eviction: EvictionArgs,
    /// Another thing to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of running.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Put every cgroup file back to what it held before the agent, forget the records, and make a running agent stop writing until it
    /// starts again. For uninstalling by hand; deleting the DaemonSet does the same by itself (see --restore-on-exit).
    Restore,
}

/// The node.
#[derive(ClapArgs, Clone, Debug)]
#[command(next_help_heading = "Node")]
pub struct NodeArgs {
    /// Name of the node.
    #[arg(
        long,
        env = "NODE_NAME",
        global = true,
        default_value = "",
        hide_default_value = true
    )]
    pub node_name: String,
    /// Directory where the node's /proc and /sys start.
    #[arg(
        long,
        env = "KATALYST_ROOT",
        default_value = "/",
        global = true,
        value_name = "DIR"
    )]
    pub root: PathBuf,
    /// Directory for the record of old cgroup values; must outlive the container.
    #[arg(
        long,
        env = "KATALYST_STATE_DIR",
        default_value = "/var/lib/katalyst/node-agent",
        global = true,
        value_name = "DIR"
    )]
    pub state_dir: PathBuf,
    /// kubelet's group of pods relative to the cgroup mounts, such as /kubelet.slice/kubelet-kubepods.slice; found by itself where absent.
    #[arg(long, env = "KATALYST_KUBEPODS_PATH", value_name = "PATH")]
    pub kubepods_path: Option<PathBuf>,
    /// Whether values are put back when the process ends: when its DaemonSet was deleted, always, or never.
    #[arg(long, env = "KATALYST_RESTORE_ON_EXIT", value_enum, default_value_t = RestoreOnExit::Uninstall)]
    pub restore_on_exit: RestoreOnExit,
    /// DaemonSet whose deletion is the uninstall, in the pod's own namespace.
    #[arg(
        long,
        env = "KATALYST_DAEMONSET",
        default_value = "katalyst-node-agent",
        value_name = "NAME"
    )]
    pub daemonset: String,
    /// This agent's own pod, to tell an uninstall from a pod that was deleted by force.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
}

/// Sampling and holding.
#[derive(ClapArgs, Clone, Debug)]
#[command(next_help_heading = "Sampling and holding")]
pub struct HoldArgs {
    /// Time between samples; the ceiling follows each.
    #[arg(long, env = "KATALYST_SAMPLE_INTERVAL", default_value = "1s", value_parser = duration)]
    pub sample_interval: Duration,
    /// What counts as the machine's use. `kubepods` is for several nodes on one kernel, as in kind.
    #[arg(long, env = "KATALYST_MACHINE_USAGE", value_enum, default_value_t = MachineUsage::Proc)]
    pub machine_usage: MachineUsage,
    /// CPU capacity where it is less than the online CPUs, such as `3500m`.
    #[arg(long, env = "KATALYST_CAPACITY_CPU", value_parser = millicpu, value_name = "QUANTITY")]
    pub capacity_cpu: Option<Millicpu>,
    /// Memory capacity where it is less than the machine's, such as `8Gi`.
    #[arg(long, env = "KATALYST_CAPACITY_MEMORY", value_parser = bytes, value_name = "QUANTITY")]
    pub capacity_memory: Option<Bytes>,
    /// Services' highest use of this long counts for the ceiling.
    #[arg(long, env = "KATALYST_RECENT_PEAK_WINDOW", default_value = "10s", value_parser = duration)]
    pub recent_peak_window: Duration,
    /// Part of the machine kept free of batch.
    #[arg(long, env = "KATALYST_CEILING_RESERVE", default_value_t = CeilingParams::default().reserve, value_parser = fraction)]
    pub ceiling_reserve: f64,
    /// Room on top of the services' use, as a part of it.
    #[arg(long, env = "KATALYST_CEILING_MARGIN", default_value_t = CeilingParams::default().margin, value_parser = fraction)]
    pub ceiling_margin: f64,
    /// Part of the machine by which the ceiling may rise in a second.
    #[arg(long, env = "KATALYST_CEILING_RAISE", default_value_t = CeilingParams::default().raise_per_second, value_parser = fraction)]
    pub ceiling_raise: f64,
    /// Part of the machine that batch keeps in a surge.
    #[arg(long, env = "KATALYST_CEILING_FLOOR", default_value_t = CeilingParams::default().floor, value_parser = fraction)]
    pub ceiling_floor: f64,
    /// Also set cpu.idle on reclaimed pods, where the kernel has it: other best-effort pods go first.
    #[arg(long, env = "KATALYST_CPU_IDLE", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub cpu_idle: bool,
    /// Print what would be written to cgroups, and write nothing.
    #[arg(long, env = "KATALYST_DRY_RUN", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub dry_run: bool,
}

/// CPU pools.
#[derive(ClapArgs, Clone, Debug)]
#[command(next_help_heading = "CPU pools")]
pub struct PoolArgs {
    /// Place pods on CPUs and memory nodes as their annotations wish. A node where no pod wishes anything and no CPU is reserved has
    /// nothing written. Switched off, what was written before is put back.
    #[arg(long, env = "KATALYST_POOLS", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub pools: bool,
    /// CPUs kept free of pods, such as `0-1`; `reservedSystemCPUs` of kubelet's configuration where absent.
    #[arg(long, env = "KATALYST_RESERVED_CPUS", value_parser = cpus, value_name = "CPUS")]
    pub reserved_cpus: Option<CpuSet>,
    /// kubelet's directory below --root, with the state of its CPU and memory managers. Where it cannot be read, exclusive CPUs are
    /// recognised by the cpusets of containers.
    #[arg(
        long,
        env = "KATALYST_KUBELET_ROOT_DIR",
        default_value = "/var/lib/kubelet",
        value_name = "DIR"
    )]
    pub kubelet_root_dir: PathBuf,
    /// Time between plans while no pod comes or goes.
    #[arg(long, env = "KATALYST_POOLS_INTERVAL", default_value = "5s", value_parser = duration)]
    pub pools_interval: Duration,
    /// Give shared pods that run wild CPUs of their own while services crowd the machine: pods that use far more than they request, or
    /// whose limit holds them back most of the time. At most a fifth of the shared CPUs and half of the pods.
    #[arg(long, env = "KATALYST_ISOLATE_WILD_PODS", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub isolate_wild_pods: bool,
}

/// Devices.
#[derive(ClapArgs, Clone, Debug)]
#[command(next_help_heading = "Devices")]
pub struct DeviceArgs {
    /// How the GPUs of a pod's record come into its containers: as device nodes and environment, as names of the Container Device Interface, or as
    /// environment for NVIDIA's container runtime alone.
    #[arg(long, env = "KATALYST_DEVICE_INJECTION", value_enum, default_value_t = Injection::Nodes)]
    pub device_injection: Injection,
    /// What GPUs are called in the Container Device Interface, before `=UUID`.
    #[arg(
        long,
        env = "KATALYST_CDI_KIND",
        default_value = "nvidia.com/gpu",
        value_name = "VENDOR/CLASS"
    )]
    pub cdi_kind: String,
}

/// Report.
#[derive(ClapArgs, Clone, Debug)]
#[command(next_help_heading = "Report")]
pub struct ReportArgs {
    /// Window of the service peak that the offer follows.
    #[arg(long, env = "KATALYST_PEAK_WINDOW", default_value = "1h", value_parser = duration)]
    pub peak_window: Duration,
    /// Shortest time between reports.
    #[arg(long, env = "KATALYST_REPORT_MIN_INTERVAL", default_value = "10s", value_parser = duration)]
    pub report_min_interval: Duration,
    /// Longest time between reports; spread by 20 %. Keep it well below the minute after which a node counts as silent.
    #[arg(long, env = "KATALYST_REPORT_MAX_INTERVAL", default_value = "20s", value_parser = duration)]
    pub report_max_interval: Duration,
}

/// Eviction.
#[derive(ClapArgs, Clone, Debug)]
#[command(next_help_heading = "Eviction")]
pub struct EvictionArgs {
    /// How long the offer must stay below what is allocated before pods are evicted.
    #[arg(long, env = "KATALYST_EVICTION_TOLERANCE", default_value = "60s", value_parser = duration)]
    pub eviction_tolerance: Duration,
    /// Pods that may leave in one round.
    #[arg(
        long,
        env = "KATALYST_EVICTION_BUDGET",
        default_value_t = 2,
        value_name = "PODS"
    )]
    pub eviction_budget: usize,
    /// Time between rounds.
    #[arg(long, env = "KATALYST_EVICTION_PAUSE", default_value = "10s", value_parser = duration)]
    pub eviction_pause: Duration,
    /// Only write down who would be evicted.
    #[arg(long, env = "KATALYST_EVICTION_DRY_RUN", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub eviction_dry_run: bool,
}

impl DeviceArgs {
    /// Settings of the guard; `root` is where the node's `/proc`, `/sys` and `/dev` start.
    pub fn config(&self, root: &Path) -> GuardConfig {
        GuardConfig {
            root: root.to_owned(),
            injection: self.device_injection,
            cdi_kind: self.cdi_kind.clone(),
        }
    }
}

impl HoldArgs {
    /// The ceiling's parameters.
    pub fn ceiling(&self) -> CeilingParams {
        CeilingParams {
            reserve: self.ceiling_reserve,
            margin: self.ceiling_margin,
            raise_per_second: self.ceiling_raise,
            floor: self.ceiling_floor,
            ..CeilingParams::default()
        }
    }
}

fn cpus(text: &str) -> Result<CpuSet, String> {
    CpuSet::parse(text).map_err(|error| error.to_string())
}

fn millicpu(text: &str) -> Result<Millicpu, String> {
    parse_millicpu(text).map_err(|error| error.to_string())
}

fn bytes(text: &str) -> Result<Bytes, String> {
    parse_bytes(text).map_err(|error| error.to_string())
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err(format!("`{text}` is not a fraction between 0 and 1")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn defaults_and_refusals() {
        let args = Args::parse_from(["katalyst-node-agent", "--node-name=n"]);
        assert_eq!(args.hold.ceiling(), CeilingParams::default());
        assert!(args.hold.cpu_idle && !args.hold.dry_run && args.command.is_none());
        assert!(Args::try_parse_from(["katalyst-node-agent", "--ceiling-reserve=2"]).is_err());
        let reserving = Args::parse_from(["katalyst-node-agent", "--reserved-cpus=0-1"]);
        assert!(reserving.pools.pools);
        assert_eq!(
            reserving.pools.reserved_cpus.map(|cpus| cpus.len()),
            Some(2)
        );
        assert!(Args::try_parse_from(["katalyst-node-agent", "--reserved-cpus=1-0"]).is_err());
        let restore = Args::parse_from(["katalyst-node-agent", "restore", "--state-dir=/s"]);
        assert_eq!(
            (restore.command, restore.node.state_dir),
            (Some(Command::Restore), PathBuf::from("/s"))
        );
    }
}
