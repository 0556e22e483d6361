//! `katalyst-e2e kind ...`: what a person can ask for.

use std::{ffi::OsString, os::unix::process::CommandExt as _, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::{
    clear, create,
    docker::{Docker, control_plane},
    engine,
    lock::Lock,
    oci_runtime,
    progress::Progress,
    settings::{Settings, Shape},
    state::{Engine, Identity, State},
    supervisor,
    up::{self, Up},
};
use crate::image::catalogue;

/// A kind cluster with the scheduler set up for the extender, and our images in it.
#[derive(Debug, Args)]
pub struct KindCommand {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start a cluster and wait until it can be used.
    Up(Up),
    /// Remove the cluster and all that it left on this machine.
    Down,
    /// Tell what runs.
    Status,
    /// Print the path of the administrator's kubeconfig.
    Kubeconfig,
    /// Run a program in a node's container.
    Exec {
        /// Name of the node; its part after the cluster's name is enough.
        node: String,
        /// The program with its arguments.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Load image archives into every node; without any, all of the cache.
    Load {
        /// OCI or Docker archives.
        archives: Vec<PathBuf>,
    },
    #[command(hide = true)]
    Supervise {
        #[command(flatten)]
        shape: Shape,
        #[arg(long)]
        elapsed: u64,
    },
    #[command(hide = true)]
    Engine {
        #[arg(long)]
        port: u16,
    },
    #[command(hide = true)]
    OciRuntime {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    #[command(hide = true)]
    ClearAfter { id: u32, birth: u64 },
}

/// Does what the command says.
pub fn run(command: KindCommand) -> anyhow::Result<()> {
    let KindCommand { settings, action } = command;
    match action {
        Action::Up(options) => up::run(&settings, &options),
        Action::Down => down(&settings),
        Action::Status => status(&settings),
        Action::Kubeconfig => {
            println!("{}", settings.kubeconfig().display());
            Ok(())
        }
        Action::Exec { node, words } => exec(&settings, &node, &words),
        Action::Load { archives } => load(&settings, archives),
        Action::Supervise { shape, elapsed } => supervisor::supervise(
            &settings,
            &shape,
            &Progress::since(Duration::from_millis(elapsed)),
        ),
        Action::Engine { port } => engine::run(&settings, port),
        Action::OciRuntime { arguments } => Err(oci_runtime::become_runtime(&arguments).into()),
        Action::ClearAfter { id, birth } => clear::after(&settings, Identity { id, birth }),
    }
}

fn down(settings: &Settings) -> anyhow::Result<()> {
    // Whoever holds the lock may be the starting command itself, which gives up when its supervisor is gone.
    let state = State::read(settings);
    if let Some(State {
        engine: Engine::Private(supervisor),
        ..
    }) = &state
    {
        supervisor.end()?;
    }
    let _lock = Lock::take(&settings.lock_file(), Duration::from_secs(60))
        .context("another command works on this cluster")?;
    if let Some(State {
        engine: Engine::Reachable,
        ..
    }) = state
    {
        create::delete(settings, &Docker::of_environment(&Settings::cache()?.0))?;
    }
    clear::clear(settings, false)
}

fn status(settings: &Settings) -> anyhow::Result<()> {
    let Some(state) = State::read(settings).filter(State::lives) else {
        println!("no kind cluster is running");
        return Ok(());
    };
    let engine = match state.engine {
        Engine::Reachable => "the environment's engine".to_owned(),
        Engine::Private(supervisor) => format!("a private engine (supervisor {})", supervisor.id),
    };
    let ready = if state.ready { "ready" } else { "starting" };
    println!("kind cluster: {ready}, in {engine}");
    println!("kubeconfig: {}", settings.kubeconfig().display());
    println!("node image: {}", state.node_image);
    if state.ready {
        let docker = Docker::of(&state.engine, settings, &Settings::cache()?.0);
        print!(
            "{}",
            docker
                .kubectl()
                .args(["get", "nodes", "--output", "wide"])
                .run()?
        );
    }
    Ok(())
}

/// The engine of the running cluster.
fn running(settings: &Settings) -> anyhow::Result<Docker> {
    match State::read(settings).filter(|state| state.ready && state.lives()) {
        Some(state) => Ok(Docker::of(&state.engine, settings, &Settings::cache()?.0)),
        None => bail!("no kind cluster is running: `katalyst-e2e kind up`"),
    }
}

fn exec(settings: &Settings, node: &str, words: &[String]) -> anyhow::Result<()> {
    let docker = running(settings)?;
    let nodes = docker.nodes()?;
    let full = format!("{}-{node}", super::settings::CLUSTER);
    let node = nodes
        .iter()
        .find(|name| *name == node || **name == full)
        .with_context(|| {
            format!(
                "no node {node}; there are {nodes:?}, first {}",
                control_plane()
            )
        })?;
    Err(docker.interactive(node, words).exec()).context("start docker")
}

fn load(settings: &Settings, archives: Vec<PathBuf>) -> anyhow::Result<()> {
    let docker = running(settings)?;
    let archives = if archives.is_empty() {
        catalogue::archives(&Settings::cache()?.0)
    } else {
        archives
    };
    docker.load_archives(&archives)
}
