//! Command line flags.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use katalyst_core::packing::PolicyName;
use katalyst_core::placement::Strategy;
use katalyst_runtime::flags::{LeaseArgs, RuntimeArgs, duration};
use katalyst_runtime::tls::TlsArgs;

/// Scheduler extender: places pods that request reclaimed resources.
#[derive(Parser, Clone, Debug)]
#[command(name = "katalyst-scheduler-extender", version)]
pub struct Args {
    /// Flags of every binary.
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    /// Leader election. Only the leader binds: two extenders with memories of their own would give the same room twice.
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// TLS for the verbs.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Address of this replica, normally the pod's. While it leads, it makes this the only endpoint of the Service. Without it the
    /// Service is left alone, which suits one replica behind an address of its own.
    #[arg(long, env = "KATALYST_ADVERTISE_ADDRESS", value_name = "IP")]
    pub advertise_address: Option<IpAddr>,
    /// The Service that kube-scheduler asks, in this process's namespace.
    #[arg(
        long,
        env = "KATALYST_SERVICE_NAME",
        default_value = "katalyst-scheduler-extender",
        value_name = "NAME"
    )]
    pub service_name: String,
    /// Largest question that is read. Raise it where kube-scheduler is configured with `nodeCacheCapable: false`.
    #[arg(long, env = "KATALYST_MAX_REQUEST_BYTES", default_value_t = crate::http::MAX_BODY, value_name = "BYTES")]
    pub max_request_bytes: usize,
    /// Which of the nodes that have room are best.
    #[arg(long, env = "KATALYST_STRATEGY", value_enum, default_value_t = StrategyArg::Spread)]
    pub strategy: StrategyArg,
    /// How nodes are ranked for pods that ask for GPUs: by what a policy says will be left unusable, or `none`: by placement's own
    /// score.
    #[arg(long, env = "KATALYST_PACKING_POLICY", value_enum, default_value_t = PackingArg::Rollout)]
    pub packing_policy: PackingArg,
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

/// See [`PolicyName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PackingArg {
    /// No policy.
    None,
    /// The fullest node, the tightest card.
    BestFit,
    /// Least growth of fragmentation, for the pods that arrived lately.
    Fgd,
    /// Least that stays idle when drawn arrivals have filled the node.
    Rollout,
}

impl PackingArg {
    /// The policy's name.
    pub fn policy(self) -> Option<PolicyName> {
        match self {
            Self::None => None,
            Self::BestFit => Some(PolicyName::BestFit),
            Self::Fgd => Some(PolicyName::Fgd),
            Self::Rollout => Some(PolicyName::Rollout),
        }
    }
}

/// Flags that contradict each other.
#[derive(Debug, thiserror::Error)]
#[error(
    "--bind-timeout is {bind:?}, but must not exceed {gap:?}, the time between --lease-renew-deadline and --lease-duration: \
     a Binding of a leader that lost its lease could take effect under the next one"
)]
pub struct ArgsError {
    bind: Duration,
    gap: Duration,
}

impl Args {
    /// Checks what clap cannot.
    pub fn check(&self) -> Result<(), ArgsError> {
        let (bind, lease) = (self.bind_timeout, &self.lease);
        let gap = lease
            .lease_duration
            .saturating_sub(lease.lease_renew_deadline);
        if lease.leader_elect && bind > gap {
            return Err(ArgsError { bind, gap });
        }
        Ok(())
    }
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
        assert!(args.check().is_ok());
        assert!(
            Args::parse_from(["test", "--bind-timeout=6s"])
                .check()
                .is_err()
        );
        assert!(args.tls.files().is_none());
        let certificate = "--tls-cert-file=/tls/tls.crt";
        assert!(
            Args::try_parse_from(["test", certificate, "--tls-key-file=/tls/tls.key"]).is_err(),
            "never without an authority of the clients"
        );
    }
}
