//! `katalyst-e2e cluster`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::{
    cache::Cache,
    cluster::{
        ClusterError, ClusterOptions, RunDir, api, commands,
        component::ComponentStatus,
        config::DEFAULT_NAME,
        control::{Ending, Request},
        hollow, init, inside, outside,
    },
};

/// Commands about a cluster.
#[derive(Debug, Args)]
pub(super) struct ClusterCommand {
    /// Which cluster; several can run beside each other on different ports.
    #[arg(long, global = true, env = "KATALYST_CLUSTER", default_value = DEFAULT_NAME)]
    name: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start it and wait until it is usable.
    ///
    /// Builds and installs what is missing first. A start that fails or is interrupted leaves nothing but logs.
    Up(ClusterOptions),
    /// Stop it and remove everything but its logs. Stopping nothing is fine.
    Down,
    /// Show components and nodes; ends with 1 when something is not well and 3 when nothing runs.
    Status,
    /// Print the path of its kubeconfig, which works inside and outside of the cluster's namespaces.
    Kubeconfig,
    /// Run a command in its mount, network and process namespaces.
    Exec {
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Load image archives into every node.
    LoadImage {
        /// Into this node only.
        #[arg(long)]
        node: Option<String>,
        /// OCI or docker archives.
        #[arg(required = true, value_name = "TAR")]
        archives: Vec<PathBuf>,
    },
    /// Break something on purpose, and mend it.
    #[command(subcommand)]
    Fault(Fault),
    /// The supervisor outside of the namespaces; started by `up`.
    #[command(hide = true)]
    Outside(RunDirOption),
    /// The first process of the namespaces; started by `outside`.
    #[command(hide = true)]
    Init(RunDirOption),
    /// The supervisor inside the namespaces; started by `init`.
    #[command(hide = true)]
    Inside(RunDirOption),
}

#[derive(Debug, Args)]
struct RunDirOption {
    #[arg(long)]
    run_dir: PathBuf,
}

/// Faults. Components are those that `status` lists, among them `vm-1` and so on, whose end is a power cut.
#[derive(Debug, Subcommand)]
enum Fault {
    /// End a component, for good or for a time.
    Stop {
        /// Component.
        component: String,
        /// How.
        #[arg(long, value_enum, default_value_t)]
        signal: Ending,
        /// Start it again after this time (`500ms`, `90s`, `2m`); the command does not wait for that.
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        duration: Option<Duration>,
    },
    /// Start a component that ended.
    Start {
        /// Component.
        component: String,
    },
    /// End a component and start it again at once.
    Restart {
        /// Component.
        component: String,
        /// How it ends.
        #[arg(long, value_enum, default_value_t)]
        signal: Ending,
    },
    /// Freeze a component: it keeps its connections and answers nothing.
    Pause {
        /// Component.
        component: String,
        /// Thaw it after this time (`500ms`, `90s`, `2m`); the command does not wait for that.
        #[arg(long = "for", value_name = "TIME", value_parser = duration)]
        duration: Option<Duration>,
    },
    /// Thaw a component.
    Resume {
        /// Component.
        component: String,
    },
}

impl ClusterCommand {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let run = || RunDir::for_cluster(&self.name);
        match self.action {
            Action::Up(options) => up(&options, &self.name),
            Action::Down => {
                let text = if commands::down(&run()?)? {
                    "stopped"
                } else {
                    "is not running"
                };
                println!("cluster {} {text}", self.name);
                Ok(0)
            }
            Action::Status => status(&run()?),
            Action::Kubeconfig => {
                let run = run()?;
                commands::request(&run, &Request::Status)?;
                println!("{}", run.kubeconfig().display());
                Ok(0)
            }
            Action::Exec { command } => Err(commands::exec(&run()?, &command).into()),
            Action::LoadImage { node, archives } => {
                commands::load_images(&run()?, &archives, node.as_deref())?;
                Ok(0)
            }
            Action::Fault(fault) => {
                let components = commands::request(&run()?, &fault.into_request())?;
                print_components(&components);
                Ok(0)
            }
            Action::Outside(option) => {
                let run = RunDir::at(option.run_dir)?;
                Ok(runtime()?.block_on(outside::run(&run)).map(|()| 0)?)
            }
            Action::Init(option) => Ok(init::run(&RunDir::at(option.run_dir)?)?),
            Action::Inside(option) => {
                let run = RunDir::at(option.run_dir)?;
                Ok(runtime()?.block_on(inside::run(&run)).map(|()| 0)?)
            }
        }
    }
}

impl Fault {
    fn into_request(self) -> Request {
        let millis = |time: Option<Duration>| {
            time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        };
        match self {
            Self::Stop {
                component,
                signal,
                duration,
            } => Request::Stop {
                component,
                ending: signal,
                start_after_millis: millis(duration),
            },
            Self::Start { component } => Request::Start { component },
            Self::Restart { component, signal } => Request::Restart {
                component,
                ending: signal,
            },
            Self::Pause {
                component,
                duration,
            } => Request::Pause {
                component,
                resume_after_millis: millis(duration),
            },
            Self::Resume { component } => Request::Resume { component },
        }
    }
}

fn up(options: &ClusterOptions, name: &str) -> anyhow::Result<u8> {
    let config = options.resolve(name)?;
    let run = commands::up(&config, &mut |step| {
        say(&format!("{:6.1} s  {}", step.seconds, step.label));
    })?;
    say(&format!(
        "\ncluster {name} is up. Logs are in {logs}.\n\n  export KUBECONFIG={kubeconfig}\n  export PATH={bin}:$PATH   # kubectl\n\nStop it with `katalyst-e2e cluster down{flag}`.",
        logs = run.logs().display(),
        kubeconfig = run.kubeconfig().display(),
        bin = Cache::from_env()?.bin().display(),
        flag = if name == DEFAULT_NAME {
            String::new()
        } else {
            format!(" --name {name}")
        },
    ));
    Ok(0)
}

fn status(run: &RunDir) -> anyhow::Result<u8> {
    let status = match commands::status(run) {
        Err(error @ ClusterError::NotRunning { .. }) => {
            say(&error.to_string());
            return Ok(3);
        }
        other => other?,
    };
    say(&format!(
        "cluster {} is {:?}; supervisor {}, namespaces of process {}, kubeconfig {}",
        run.name(),
        status.progress.phase,
        status.supervisor.pid,
        status.supervisor.namespace_pid,
        run.kubeconfig().display(),
    ));
    print_components(&status.components);
    let kubectl = Cache::from_env()?.program("kubectl");
    let nodes = Command::new(&kubectl)
        .args(["get", "nodes", "-o", "wide", "--request-timeout=5s"])
        // Hollow nodes are many and alike; they get one line.
        .arg(format!("--selector={}!=true", hollow::LABEL))
        .env("KUBECONFIG", run.kubeconfig())
        .status()
        .with_context(|| format!("cannot run {}", kubectl.display()))?;
    let hollow = hollow_nodes(run);
    match &hollow {
        Ok((0, 0)) => {}
        Ok((ready, all)) => say(&format!("and {all} hollow nodes, {ready} of them Ready")),
        Err(error) => say(&format!("hollow nodes: {error}")),
    }
    let healthy = status.is_healthy() && nodes.success() && hollow.is_ok();
    Ok(u8::from(!healthy))
}

/// How many hollow nodes are Ready, and how many there are.
fn hollow_nodes(run: &RunDir) -> anyhow::Result<(usize, usize)> {
    const LIMIT: Duration = Duration::from_secs(5);
    let ask = async {
        let client = api::client(&run.kubeconfig()).await?;
        let label = format!("{}=true", hollow::LABEL);
        anyhow::Ok(api::count_nodes(&client, &label).await?)
    };
    runtime()?
        .block_on(async { tokio::time::timeout(LIMIT, ask).await })
        .context("no answer from the API server")?
}

/// Writes a line for a person. Whoever reads may have read enough.
fn say(line: &str) {
    writeln!(io::stdout(), "{line}").unwrap_or_default();
}

fn print_components(components: &[ComponentStatus]) {
    for ComponentStatus {
        name,
        state,
        starts,
    } in components
    {
        let again = match starts {
            0 | 1 => String::new(),
            more => format!(", started {more} times"),
        };
        say(&format!("  {name:<24} {state}{again}"));
    }
}

/// A time such as `500ms`, `90s` or `2m`; a number alone is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let millis = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        other => return Err(format!("unit {other:?} is none of ms, s, m")),
    };
    let count: u64 = digits
        .parse()
        .map_err(|error| format!("{digits:?}: {error}"))?;
    count
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text} is too long"))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "2h", "m", "-1s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn delayed_start_is_in_the_request() {
        let fault = Fault::Stop {
            component: "kube-apiserver".to_owned(),
            signal: Ending::Kill,
            duration: Some(Duration::from_secs(120)),
        };
        let Request::Stop {
            start_after_millis, ..
        } = fault.into_request()
        else {
            panic!("another request");
        };
        assert_eq!(start_after_millis, Some(120_000));
    }
}
