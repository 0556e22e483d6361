//! `katalyst-e2e kind ...`: what a person can ask for.

use std::{ffi::OsString, os::unix::process::CommandExt as _, path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};

use super::{
    clear,
    create::{self, Image},
    docker::{Docker, control_plane},
    engine, engine_data,
    lock::Lock,
    node_image, oci_runtime, packages,
    progress::Progress,
    settings::{Settings, Shape},
    state::{Engine, Identity, State},
    supervisor,
};
use crate::{cache::Cache, image::catalogue, toolchain};

/// The node image that kind 0.33 itself would choose.
const PUBLISHED_IMAGE: &str =
    "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5";

/// Families of the toolchain that a node image is made of, kind itself included.
const FAMILIES: [&str; 7] = [
    "kubernetes",
    "etcd",
    "containerd",
    "runc",
    "cni",
    "coredns",
    "kind",
];

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

#[derive(Debug, Args)]
struct Up {
    #[command(flatten)]
    shape: Shape,
    /// Start a container engine in private namespaces even if one can be reached.
    #[arg(long, env = "KATALYST_KIND_PRIVATE")]
    private: bool,
    /// Published node image to use with a reachable engine.
    #[arg(long, env = "KATALYST_KIND_IMAGE", default_value = PUBLISHED_IMAGE)]
    image: String,
}

/// Does what the command says.
pub fn run(command: KindCommand) -> anyhow::Result<()> {
    let KindCommand { settings, action } = command;
    match action {
        Action::Up(options) => up(&settings, &options),
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

fn up(settings: &Settings, options: &Up) -> anyhow::Result<()> {
    let progress = Progress::start();
    let _lock = Lock::take(&settings.lock_file(), Duration::from_secs(1))
        .context("another command works on this cluster")?;
    if let Some(state) = State::read(settings).filter(|state| state.ready && state.lives()) {
        ensure!(
            state.shape == options.shape,
            "a cluster of another shape runs ({:?}); `kind down` first",
            state.shape
        );
        report(settings, &progress, "was already running");
        return Ok(());
    }
    let (cache, kind_cache) = Settings::cache()?;
    let found = Docker::of_environment(&cache);
    let reachable = !options.private && found.answers();
    if reachable {
        let version = found.version()?;
        progress.step(&format!("container engine {} is reachable", version.trim()));
        toolchain::ensure(&cache, &["kind"])?;
        settings.create()?;
        let image = if found.has_image(&options.image) || pull(&found, &options.image, &progress) {
            Image::Published(options.image.clone())
        } else {
            progress.step("the published node image cannot be pulled; making one");
            toolchain::ensure(&cache, &FAMILIES)?;
            Image::HomeMade(node_image::ensure(&cache, &kind_cache, &progress)?)
        };
        in_reachable_engine(settings, &options.shape, &found, &image, &progress)?;
    } else {
        ensure!(
            rustix::process::geteuid().is_root(),
            "no container engine answers, and starting one in private namespaces needs root"
        );
        clear::clear(settings, false)?;
        Lock::take(&engine_data::lease(&kind_cache), Duration::ZERO).context(
            "a private kind cluster runs in another run folder; there can be one at a time",
        )?;
        if let Err(error) = in_private_engine(settings, &options.shape, &cache, &progress) {
            clear::clear(settings, true).context("clear up after a failed start")?;
            return Err(error);
        }
    }
    report(settings, &progress, "is ready");
    Ok(())
}

fn pull(docker: &Docker, image: &str, progress: &Progress) -> bool {
    progress.step(&format!("pull {image}"));
    docker
        .client()
        .args(["pull", "--quiet", image])
        .within(Duration::from_secs(60 * 10))
        .succeeds()
}

fn in_private_engine(
    settings: &Settings,
    shape: &Shape,
    cache: &Cache,
    progress: &Progress,
) -> anyhow::Result<()> {
    settings.create()?;
    settings.install_program()?;
    toolchain::ensure(cache, &FAMILIES)?;
    packages::ensure(packages::ENGINE, progress)?;
    catalogue::ensure_base(cache)?;
    node_image::ensure(cache, &cache.kind(), progress)?;
    supervisor::start(settings, shape, progress)
}

fn in_reachable_engine(
    settings: &Settings,
    shape: &Shape,
    docker: &Docker,
    image: &Image,
    progress: &Progress,
) -> anyhow::Result<()> {
    catalogue::ensure_base(&Settings::cache()?.0)?;
    create::delete(settings, docker)?;
    let state = |ready| State {
        engine: Engine::Reachable,
        shape: shape.clone(),
        node_image: image.reference().to_owned(),
        ready,
    };
    state(false).write(settings)?;
    if let Err(error) = create::create(settings, shape, docker, image, progress) {
        create::delete(settings, docker).context("clear up after a failed start")?;
        return Err(error);
    }
    state(true).write(settings)
}

fn report(settings: &Settings, progress: &Progress, what: &str) {
    progress.step(&format!("the kind cluster {what}"));
    println!("export KUBECONFIG={}", settings.kubeconfig().display());
    if let Some(State {
        engine: Engine::Private(_),
        ..
    }) = State::read(settings)
    {
        println!(
            "export DOCKER_HOST=unix://{}",
            settings.engine_socket().display()
        );
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
