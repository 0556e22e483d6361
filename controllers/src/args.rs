//! Command line flags.

use std::time::Duration;

use clap::{Args as FlagGroup, Parser, Subcommand};
use katalyst_core::capacity::Params;
use katalyst_runtime::flags::{ClientArgs, LeaseArgs, RuntimeArgs, duration};

use crate::capacity::Pace;
use crate::plan::Rules;

/// The central loops: one CNR for each node, and what each node offers to batch pods.
///
/// Runs with any number of replicas; one leads and writes, the others keep their caches warm. A leader that loses its lease ends
/// with a non-zero exit code and starts afresh as a follower.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "katalyst-controllers",
    version,
    args_conflicts_with_subcommands = true
)]
pub struct Args {
    /// What to do instead of running the controllers.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of the controllers.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What to do instead of running the controllers.
#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Shows in a table why a node offers what it offers, from its CNR.
    Explain(ExplainArgs),
}

/// Flags of `explain`.
#[derive(FlagGroup, Clone, Debug)]
pub struct ExplainArgs {
    /// Name of the node.
    pub node: String,
    /// How the Kubernetes API is reached.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Flags of the controllers.
#[derive(FlagGroup, Clone, Debug)]
pub struct RunArgs {
    /// The chassis.
    #[command(flatten)]
    pub runtime: RuntimeArgs,
    /// Leader election.
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// The capacity controller.
    #[command(flatten)]
    pub capacity: CapacityArgs,
    /// Print intended writes instead of sending them. Takes no part in the leader election, so it can run beside the real one.
    #[arg(long, env = "KATALYST_DRY_RUN")]
    pub dry_run: bool,
}

/// Flags of the capacity controller.
#[derive(FlagGroup, Clone, Debug)]
#[command(next_help_heading = "Capacity")]
pub struct CapacityArgs {
    /// Kept free on top of the services' peak, as a fraction of that peak.
    #[arg(long, env = "KATALYST_MARGIN", default_value_t = Params::default().margin, value_parser = fraction)]
    pub margin: f64,
    /// Fraction of the machine that is never offered.
    #[arg(long, env = "KATALYST_RESERVE", default_value_t = Params::default().reserve, value_parser = fraction)]
    pub reserve: f64,
    /// Fraction of the machine by which an offer may grow in a minute. It falls at once.
    #[arg(long, env = "KATALYST_RAISE_PER_MINUTE", default_value_t = Params::default().raise_per_minute, value_parser = positive)]
    pub raise_per_minute: f64,
    /// A node whose agent did not report for longer is stale: it keeps what runs and offers nothing more.
    #[arg(long, env = "KATALYST_STALE_AFTER", default_value = "60s", value_parser = duration)]
    pub stale_after: Duration,
    /// Below this fraction of what is allocated the estimate is published as it is, and the agent evicts; above it the offer
    /// stays at what is allocated.
    #[arg(long, env = "KATALYST_RISK_FRACTION", default_value_t = Params::default().risk_fraction, value_parser = fraction)]
    pub risk_fraction: f64,
    /// How often every node is looked at even if nothing happened.
    #[arg(long, env = "KATALYST_RESYNC", default_value = "5s", value_parser = period)]
    pub resync: Duration,
    /// Least time between two writes to one node's CNR for a raised offer or for pods that came or went. A lowered offer is
    /// written at once.
    #[arg(long, env = "KATALYST_RAISE_INTERVAL", default_value = "10s", value_parser = duration)]
    pub raise_interval: Duration,
    /// Least time between two writes to one node's CNR when only the explanation changed.
    #[arg(long, env = "KATALYST_EXPLANATION_INTERVAL", default_value = "60s", value_parser = duration)]
    pub explanation_interval: Duration,
    /// After this process took the lead: how long an agent that it never saw report has to do so before it is called silent.
    #[arg(long, env = "KATALYST_STARTUP_GRACE", default_value = "45s", value_parser = duration)]
    pub startup_grace: Duration,
    /// Writes in flight at once.
    #[arg(long, env = "KATALYST_WRITE_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub write_concurrency: u16,
    /// Limit for one write; a failed one is planned anew with backoff.
    #[arg(long, env = "KATALYST_WRITE_TIMEOUT", default_value = "5s", value_parser = period)]
    pub write_timeout: Duration,
}

impl CapacityArgs {
    /// The planner's rules.
    pub fn rules(&self) -> Rules {
        Rules {
            params: Params {
                margin: self.margin,
                reserve: self.reserve,
                raise_per_minute: self.raise_per_minute,
                stale_after_seconds: self.stale_after.as_secs_f64(),
                risk_fraction: self.risk_fraction,
            },
            pace: Pace {
                soon_seconds: self.raise_interval.as_secs_f64(),
                lazy_seconds: self.explanation_interval.as_secs_f64(),
            },
            grace_seconds: self.startup_grace.as_secs_f64(),
        }
    }
}

fn fraction(text: &str) -> Result<f64, String> {
    positive(text).and_then(|value| {
        if value <= 1.0 {
            Ok(value)
        } else {
            Err(format!("{text} is more than 1"))
        }
    })
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err(format!("{text} is not a number of zero or more")),
    }
}

fn period(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|value| {
        if value.is_zero() {
            Err("must be more than zero".to_owned())
        } else {
            Ok(value)
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once(&"katalyst-controllers").chain(args))
    }

    #[test]
    fn the_definition_is_consistent_and_every_flag_has_a_variable_and_a_text() {
        Args::command().debug_assert();
        for arg in Args::command()
            .get_arguments()
            .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"))
        {
            let env = arg
                .get_env()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            assert!(
                env.starts_with("KATALYST_"),
                "{} has env {env:?}",
                arg.get_id()
            );
            assert!(arg.get_help().is_some(), "{} has no text", arg.get_id());
        }
    }

    #[test]
    fn defaults_are_those_of_the_estimator() {
        let rules = parse(&[]).unwrap().run.capacity.rules();
        assert_eq!(rules.params, Params::default());
        assert_eq!(rules.pace, Pace::default());
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            ["--margin", "1.5"],
            ["--reserve", "-0.1"],
            ["--raise-per-minute", "NaN"],
            ["--resync", "0s"],
            ["--write-concurrency", "0"],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
        assert!(
            parse(&["--raise-per-minute", "10"]).is_ok(),
            "test clusters raise the whole machine in seconds"
        );
    }

    #[test]
    fn explain_takes_a_node() {
        let Some(Command::Explain(explain)) = parse(&["explain", "n1"]).unwrap().command else {
            panic!()
        };
        assert_eq!(explain.node, "n1");
        assert!(parse(&["explain"]).is_err());
    }
}
