//! Command line flags.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use katalyst_core::placement::Strategy;
use katalyst_runtime::flags::{LeaseArgs, RuntimeArgs, duration};

/// Scheduler extender: places pods that request reclaimed resources.
#[derive(Parser, Clone, Debug)]
#[command(name = "katalyst-scheduler-extender", version)]
pub struct Args {
    /// Flags of every binary.
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    /// Leader election. Only the leader is ready: two extenders with memories of their own would give the same room twice.
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// Which of the nodes that have room are best.
    #[arg(long, env = "KATALYST_STRATEGY", value_enum, default_value_t = StrategyArg::Spread)]
    pub strategy: StrategyArg,
    /// How many of them filter returns. Long lists cost kube-scheduler more than anything the extender does.
    #[arg(long, env = "KATALYST_MAX_NODES", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_nodes: u16,
    /// Report nodes as worth a preemption where pods of lower priority hold the room. Useless up to kube-scheduler 1.36, which
    /// gives such a preemption up with an error.
    #[arg(long, env = "KATALYST_SUGGEST_PREEMPTION")]
    pub suggest_preemption: bool,
    /// A node whose agent has not reported for so long takes no new pod, even when the controllers have not noticed.
    #[arg(long, env = "KATALYST_STALE_AFTER", default_value = "90s", value_parser = duration)]
    pub stale_after: Duration,
    /// Limit for the API server's answer to a Binding.
    #[arg(long, env = "KATALYST_BIND_TIMEOUT", default_value = "3s", value_parser = duration)]
    pub bind_timeout: Duration,
    /// Limit for the API server's answer to a look at a pod. Together with the limit above it must stay below the `httpTimeout` of
    /// kube-scheduler's configuration.
    #[arg(long, env = "KATALYST_LOOK_TIMEOUT", default_value = "1s", value_parser = duration)]
    pub look_timeout: Duration,
}

/// See [`Strategy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StrategyArg {
    /// The emptiest node first.
    Spread,
    /// The fullest node first.
    Binpack,
}

impl From<StrategyArg> for Strategy {
    fn from(arg: StrategyArg) -> Self {
        match arg {
            StrategyArg::Spread => Self::Spread,
            StrategyArg::Binpack => Self::Binpack,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_are_consistent_and_have_environment_variables() {
        Args::command().debug_assert();
        let args = Args::parse_from(["test"]);
        assert_eq!(
            (args.max_nodes, args.stale_after),
            (8, Duration::from_secs(90))
        );
        assert!(Args::try_parse_from(["test", "--max-nodes=0"]).is_err());
    }
}
