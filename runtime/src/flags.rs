//! Command line flags that every binary shares, as clap structs to `#[command(flatten)]`.
//!
//! Every flag can also be given as an environment variable named `KATALYST_*`; the flag wins. Durations are
//! written like `15s`, `1m 30s` or `PT15S`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, ValueEnum};

/// kube's client logs an error for each failed connection attempt; the loops say once that the API server is away and once that it is back.
pub const DEFAULT_LOG_FILTER: &str = "info,kube_client::client::builder=off";

/// What every binary needs: logs, the admin server, the API client and the shutdown limits.
#[derive(Args, Clone, Debug)]
pub struct RuntimeArgs {
    /// Log level and format.
    #[command(flatten)]
    pub log: LogArgs,
    /// Admin server.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// API client.
    #[command(flatten)]
    pub client: ClientArgs,
    /// Limits of the orderly stop.
    #[command(flatten)]
    pub shutdown: ShutdownArgs,
}

/// Log level and format.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// Log filter: a level, or directives such as `info,katalyst_runtime=debug`. Can be changed at run time with
    /// `PUT /log-level` on the admin address.
    #[arg(
        long = "log-level",
        env = "KATALYST_LOG",
        default_value = DEFAULT_LOG_FILTER,
        value_name = "FILTER"
    )]
    pub level: String,
    /// How log lines are written to standard error.
    #[arg(long = "log-format", env = "KATALYST_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub format: LogFormat,
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

/// Where the admin server listens.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Admin server")]
pub struct AdminArgs {
    /// Address of health, metrics and debug endpoints, for example `127.0.0.1:10263`. Without it the component's
    /// own default is used.
    #[arg(
        long = "admin-addr",
        env = "KATALYST_ADMIN_ADDR",
        value_name = "IP:PORT"
    )]
    pub addr: Option<SocketAddr>,
}

/// How the Kubernetes API is reached.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kubernetes API")]
pub struct ClientArgs {
    /// Kubeconfig file. Without it: `$KUBECONFIG`, then `~/.kube/config`, then the pod's service account.
    #[arg(long, env = "KATALYST_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Limit for TCP connect and TLS handshake.
    #[arg(long, env = "KATALYST_API_CONNECT_TIMEOUT", default_value = "10s", value_parser = duration)]
    pub api_connect_timeout: Duration,
    /// Limit for one whole request, retries and body included. Watches and log streams are exempt.
    #[arg(long, env = "KATALYST_API_REQUEST_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub api_request_timeout: Duration,
    /// Limit for silence on an open connection. Must exceed the API server's watch bookmark period (about 1 min);
    /// the default is just above the watch length that clients ask for.
    #[arg(long, env = "KATALYST_API_READ_TIMEOUT", default_value = "300s", value_parser = duration)]
    pub api_read_timeout: Duration,
}

impl Default for ClientArgs {
    /// The values that the flags default to.
    fn default() -> Self {
        Self {
            kubeconfig: None,
            api_connect_timeout: Duration::from_secs(10),
            api_request_timeout: Duration::from_secs(30),
            api_read_timeout: Duration::from_secs(300),
        }
    }
}

/// Leader election. Durations default to those of the Kubernetes control plane.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Leader election")]
pub struct LeaseArgs {
    /// Take part in leader election. With `false` this process always acts, so run a single replica.
    #[arg(long, env = "KATALYST_LEADER_ELECT", default_value_t = true, action = ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub leader_elect: bool,
    /// Name of the Lease object; defaults to the component's name.
    #[arg(long, env = "KATALYST_LEASE_NAME", value_name = "NAME")]
    pub lease_name: Option<String>,
    /// Namespace of the Lease object; defaults to the client's own namespace.
    #[arg(long, env = "KATALYST_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,
    /// First part of this process's holder name; a random suffix is added. Defaults to the host name, which is the
    /// pod name inside a pod.
    #[arg(long, env = "KATALYST_LEASE_IDENTITY", value_name = "NAME")]
    pub lease_identity: Option<String>,
    /// How long others wait after the last renewal they saw before they take over. Whole seconds.
    #[arg(long, env = "KATALYST_LEASE_DURATION", default_value = "15s", value_parser = duration)]
    pub lease_duration: Duration,
    /// How long the leader goes on without a successful renewal before it gives up.
    #[arg(long, env = "KATALYST_LEASE_RENEW_DEADLINE", default_value = "10s", value_parser = duration)]
    pub lease_renew_deadline: Duration,
    /// Time between attempts to acquire or renew.
    #[arg(long, env = "KATALYST_LEASE_RETRY_PERIOD", default_value = "2s", value_parser = duration)]
    pub lease_retry_period: Duration,
}

/// Limits of the orderly stop.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Shutdown")]
pub struct ShutdownArgs {
    /// Time between turning unready and refusing new work, so that load balancers can move on.
    #[arg(long, env = "KATALYST_SHUTDOWN_DELAY", default_value = "0s", value_parser = duration)]
    pub shutdown_delay: Duration,
    /// Limit for finishing work in flight; keep it below the pod's termination grace period.
    #[arg(long, env = "KATALYST_DRAIN_TIMEOUT", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,
}

/// Parses a flag's duration: jiff's friendly or ISO 8601 form, not negative.
///
/// Public so that a binary's own duration flags read the same: `#[arg(value_parser = flags::duration)]`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration = text
        .parse()
        .map_err(|error| format!("`{text}` is not a duration like `15s` or `1m 30s`: {error}"))?;
    Duration::try_from(signed).map_err(|_| format!("duration `{text}` is negative"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        runtime: RuntimeArgs,
        #[command(flatten)]
        lease: LeaseArgs,
    }

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"test").chain(args))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_variable_with_our_prefix() {
        for arg in Cli::command().get_arguments() {
            if matches!(arg.get_id().as_str(), "help" | "version") {
                continue;
            }
            let env = arg
                .get_env()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            assert!(
                env.starts_with("KATALYST_"),
                "flag {} has env {env:?}",
                arg.get_id()
            );
        }
    }

    #[test]
    fn defaults_follow_the_control_plane() {
        let cli = parse(&[]).unwrap();
        assert_eq!(cli.runtime.log.level, DEFAULT_LOG_FILTER);
        assert_eq!(cli.runtime.admin.addr, None);
        let defaults = ClientArgs::default();
        assert_eq!(
            cli.runtime.client.api_connect_timeout,
            defaults.api_connect_timeout
        );
        assert_eq!(
            cli.runtime.client.api_request_timeout,
            defaults.api_request_timeout
        );
        assert_eq!(
            cli.runtime.client.api_read_timeout,
            defaults.api_read_timeout
        );
        assert!(cli.lease.leader_elect);
        assert_eq!(cli.lease.lease_duration, Duration::from_secs(15));
        assert_eq!(cli.lease.lease_renew_deadline, Duration::from_secs(10));
        assert_eq!(cli.lease.lease_retry_period, Duration::from_secs(2));
    }

    #[test]
    fn leader_election_can_be_switched_off_and_named() {
        assert!(parse(&["--leader-elect"]).unwrap().lease.leader_elect);
        assert!(!parse(&["--leader-elect=false"]).unwrap().lease.leader_elect);
    }

    #[test]
    fn durations_are_read_and_bad_ones_named() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(duration("-3s").unwrap_err().contains("negative"));
        assert!(duration("soon").unwrap_err().contains("`soon`"));
    }
}
